//! Certificates that are about to run out: said in the log, a month before and then each day.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::IdentityFiles;
use evenkeel_rest::CertificateFacts;
use evenkeel_seam::Clock;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// How often the log is told that a certificate is about to run out…
pub(crate) const WARN_EVERY: Duration = Duration::from_secs(DAY.unsigned_abs());
/// …from so long before.
const WARN_BEFORE: i64 = 30 * DAY;

const DAY: i64 = 24 * 3600;

/// How many days a certificate is still valid, if they are few. Less than none once it has run out.
pub(crate) fn few_days(not_after: u64, clock: &dyn Clock) -> Option<i64> {
    let left = not_after.cast_signed() - clock.wall().unix_seconds();
    (left < WARN_BEFORE).then(|| left.div_euclid(DAY))
}

/// The certificates that this daemon meets other nodes with, as the files hold them now.
struct Interconnect(Vec<Expiring>);

struct Expiring {
    what: String,
    not_after: u64,
}

/// Warns now, and each day.
pub(crate) async fn warn_daily(files: IdentityFiles, clock: Arc<dyn Clock>) {
    loop {
        for (what, days) in Interconnect::of(&files).soon_over(clock.as_ref()) {
            tracing::warn!(
                what,
                days,
                "{what} runs out in {days} days, and nodes will not speak to each other then; how it is replaced without a restart: \"Certificates\" in \
                 operations.md"
            );
        }
        tokio::time::sleep(WARN_EVERY).await;
    }
}

impl Interconnect {
    /// Those of the files that are named. What cannot be read is the interconnect's to report.
    fn of(files: &IdentityFiles) -> Self {
        let mut all = certificates(&files.ca, "CA");
        all.extend(certificates(&files.certificate, "certificate of this node"));
        Self(all)
    }

    fn soon_over(&self, clock: &dyn Clock) -> Vec<(&str, i64)> {
        let all = self.0.iter();
        all.filter_map(|it| Some((it.what.as_str(), few_days(it.not_after, clock)?)))
            .collect()
    }
}

fn certificates(path: &Path, whose: &str) -> Vec<Expiring> {
    let what = format!("the interconnect's {whose}, {}", path.display());
    let pem = std::fs::read(path).unwrap_or_default();
    let all = CertificateDer::pem_slice_iter(&pem).flatten();
    let facts = all.filter_map(|der| CertificateFacts::of_der(&der).ok());
    facts
        .map(|facts| Expiring {
            what: what.clone(),
            not_after: facts.not_after,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::BootId;
    use evenkeel_seam::TokioClock;
    use rcgen::{CertificateParams, KeyPair};

    fn certificate(year: i32) -> String {
        let mut parameters = CertificateParams::new(vec!["n1".to_owned()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2000, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().pem()
    }

    #[tokio::test]
    async fn each_certificate_that_runs_out_within_a_month_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (ca, own) = (dir.path().join("ca.pem"), dir.path().join("own.pem"));
        std::fs::write(&ca, certificate(2040) + &certificate(2030)).unwrap();
        std::fs::write(&own, certificate(2029)).unwrap();
        let files = IdentityFiles {
            ca,
            certificate: own,
            key: dir.path().join("key.pem"),
        };
        let loaded = Interconnect::of(&files);
        let at = |text: &str| {
            let wall = serde_json::from_value(serde_json::json!(text)).unwrap();
            let boot = BootId(uuid::Uuid::from_u128(1));
            let clock = TokioClock::new(boot, tokio::time::Instant::now(), wall);
            let soon = loaded.soon_over(&clock);
            soon.into_iter().map(|(_, days)| days).collect::<Vec<_>>()
        };
        assert_eq!(at("2028-11-30T00:00:00Z"), [0_i64; 0]);
        assert_eq!(at("2028-12-22T12:00:00Z"), [9]);
        // The second of the CA's, and one that has run out.
        assert_eq!(at("2029-12-31T12:00:00Z"), [0, -365]);
        let named = loaded.0.last().unwrap();
        assert!(named.what.ends_with("own.pem"), "{}", named.what);
    }
}
