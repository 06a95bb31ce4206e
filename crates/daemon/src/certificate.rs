//! The REST API's certificate: what the configuration names, one that was given over the API, or one made at the
//! first start. A new one is taken up while the daemon runs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_api::{Certificate, CertificateSource, Code, NewCertificate};
use evenkeel_identity::replace;
use evenkeel_model::{NodeName, NodeSettings, Refusal, WallTime, code};
use evenkeel_rest::{
    CertificateFacts, Certificates, TlsError, X509Error, first_certificate, tls_config,
};
use evenkeel_seam::{Clock, watch};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;

use crate::derived::host_of;
use crate::error::chain;
use crate::expiry::{WARN_EVERY, few_days};
use crate::files::{Followed, LOOK_EVERY, Stamp};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("cannot {step} {path}")]
    File {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    #[error("{path} cannot be used")]
    Tls {
        path: PathBuf,
        #[source]
        source: TlsError,
    },
    #[error("{path} cannot be read")]
    X509 {
        path: PathBuf,
        #[source]
        source: X509Error,
    },
}

/// The files that count.
struct Files {
    chain: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    source: CertificateSource,
}

struct Loaded {
    config: Arc<ServerConfig>,
    facts: CertificateFacts,
    pem: String,
    source: CertificateSource,
}

/// The certificate as it is now.
pub(crate) struct RestCertificate {
    settings: NodeSettings,
    /// Where clients reach this node, by the topology, once that is known.
    host: watch::Receiver<Option<String>>,
    clock: Arc<dyn Clock>,
    config: watch::Sender<Option<Arc<ServerConfig>>>,
    shown: Mutex<Option<Loaded>>,
    /// One change at a time.
    changing: Mutex<()>,
}

impl RestCertificate {
    /// Reads the certificate; makes a self-signed one first where there is none, unless the configuration names the
    /// files. One that cannot be used keeps
    /// the API from being served until it can be, and nothing else.
    pub(crate) fn open(
        settings: &NodeSettings,
        host: watch::Receiver<Option<String>>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let certificate = Self {
            settings: settings.clone(),
            host,
            clock,
            config: watch::Sender::new(None),
            shown: Mutex::default(),
            changing: Mutex::default(),
        };
        if let Err(error) = certificate.load() {
            tracing::error!(
                error = chain(&error),
                "the REST API waits for a certificate"
            );
        }
        Arc::new(certificate)
    }

    /// The settings for new connections, once there are any.
    pub(crate) fn configs(&self) -> watch::Receiver<Option<Arc<ServerConfig>>> {
        self.config.subscribe()
    }

    /// Takes new files up, until the daemon ends.
    pub(crate) async fn follow(self: Arc<Self>) {
        let mut followed = Followed::from(self.stamp());
        let mut since_warning = WARN_EVERY;
        loop {
            since_warning += LOOK_EVERY;
            if since_warning >= WARN_EVERY && self.warn_of_end() {
                since_warning = Duration::ZERO;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            let is_missing = self.config.borrow().is_none();
            if !followed.is_due(self.stamp()) && !is_missing && !self.names_another_host() {
                continue;
            }
            let own = Arc::clone(&self);
            let loaded = tokio::task::spawn_blocking(move || own.load()).await;
            let outcome = match loaded {
                Ok(loaded) => loaded.map_err(|error| chain(&error)),
                Err(error) => Err(error.to_string()),
            };
            followed.trouble.note(outcome, |trouble| self.tell(trouble));
        }
    }

    fn tell(&self, trouble: &str) {
        match self.config.borrow().is_some() {
            true => tracing::error!(
                trouble,
                "the REST API's new certificate cannot be used; the old one stays"
            ),
            false => tracing::error!(trouble, "the REST API waits for a certificate"),
        }
    }

    fn warn_of_end(&self) -> bool {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(loaded) = shown.as_ref() else {
            return false;
        };
        if let Some(days) = few_days(loaded.facts.not_after, self.clock.as_ref()) {
            tracing::warn!(
                days,
                "the REST API's certificate runs out in {days} days; replace it"
            );
        }
        true
    }

    /// Whether the certificate that the daemon made does not stand for where clients reach this node now.
    fn names_another_host(&self) -> bool {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let made = shown
            .as_ref()
            .filter(|it| it.source == CertificateSource::Made);
        match (made, self.host()) {
            (Some(made), Some(host)) => !made.facts.names.contains(&host),
            (None, _) | (_, None) => false,
        }
    }

    /// As a certificate says it, if one can.
    fn host(&self) -> Option<String> {
        let host = self.host.borrow().clone()?;
        let host = host.parse().map_or(host, |ip: IpAddr| ip.to_string());
        CertificateParams::new(vec![host.clone()]).ok()?;
        Some(host)
    }

    /// What a certificate of the daemon's making stands for.
    fn names(&self) -> Vec<String> {
        let rest = &self.settings.rest;
        let mut names = vec![self.settings.node.to_string(), "localhost".to_owned()];
        let addresses = [Some(&rest.listen), rest.cluster_address.as_ref()];
        let hosts = addresses.into_iter().flatten();
        names.extend(hosts.filter_map(|it| host_of(it)).map(str::to_owned));
        names.extend(self.host());
        let mut known = BTreeSet::new();
        names.retain(|name| known.insert(name.clone()));
        names
    }

    fn files(&self) -> Files {
        let rest = &self.settings.rest;
        let client_ca = rest.client_ca.clone();
        if let (Some(chain), Some(key)) = (rest.certificate.clone(), rest.key.clone()) {
            let source = CertificateSource::Configured;
            return Files {
                chain,
                key,
                client_ca,
                source,
            };
        }
        let folder = self.folder();
        let given = folder.join("given.pem");
        let (chain, key, source) = match given.exists() {
            true => (given.clone(), given, CertificateSource::Given),
            false => (
                folder.join("certificate.pem"),
                folder.join("key.pem"),
                CertificateSource::Made,
            ),
        };
        Files {
            chain,
            key,
            client_ca,
            source,
        }
    }

    fn folder(&self) -> PathBuf {
        self.settings.data.join("rest")
    }

    fn stamp(&self) -> Stamp {
        let files = self.files();
        let paths = [
            Some(&files.chain),
            Some(&files.key),
            files.client_ca.as_ref(),
        ];
        Stamp::of(paths.into_iter().flatten().map(PathBuf::as_path))
    }

    fn load(&self) -> Result<(), CertificateError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.load_alone()
    }

    fn load_alone(&self) -> Result<(), CertificateError> {
        let files = self.files();
        // What the operator or a client has put there is not the daemon's to write: a certificate whose file is away
        // for a moment, as on a file system that is not mounted yet, must not cost its key.
        if files.source == CertificateSource::Made
            && (!files.chain.exists() || self.names_another_host())
        {
            make(&self.names(), &self.settings.node, &files.chain, &files.key)?;
        }
        let loaded = read_all(&files)?;
        let (until, source) = (loaded.facts.not_after, loaded.source);
        let config = Arc::clone(&loaded.config);
        // First: whoever hears of the new settings may ask what they show.
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
        self.config.send_replace(Some(config));
        tracing::info!(path = %files.chain.display(), ?source, until, "took the REST API's certificate up");
        Ok(())
    }

    fn replace_now(&self, new: &NewCertificate) -> Result<(), Refusal> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = &self.settings.rest;
        if let Some(path) = &rest.certificate {
            let text = format!(
                "evenkeeld.toml names the certificate {}: replace that file and its key, and the daemon takes \
                 them up by itself.",
                path.display()
            );
            return Err(Refusal::new(code::NOT_SUPPORTED, text));
        }
        judge(new, self.clock.wall())?;
        let both = format!("{}\n{}\n", new.certificate.trim(), new.private_key.0.trim());
        let failed = |error: CertificateError| {
            Refusal::new(Code::InternalError.number(), format!("{}.", chain(&error)))
        };
        write(&self.folder().join("given.pem"), both.as_bytes(), 0o600).map_err(failed)?;
        self.load_alone().map_err(failed)
    }
}

/// Whether it can be used, before anything is written.
fn judge(new: &NewCertificate, now: WallTime) -> Result<(), Refusal> {
    let refused = |target: &str, why: &dyn std::error::Error| {
        let text = format!("The certificate is refused: {}.", chain(why));
        Refusal::new(Code::InvalidField.number(), text).about(target)
    };
    let (pem, key) = (new.certificate.as_bytes(), new.private_key.0.as_bytes());
    let own = first_certificate(pem).map_err(|error| refused("certificate", &error))?;
    let facts = CertificateFacts::of_der(&own).map_err(|error| refused("certificate", &error))?;
    tls_config(pem, key, None).map_err(|error| {
        let target = match error {
            TlsError::Key(_) | TlsError::Unusable(_) => "private_key",
            TlsError::Certificate(_) | TlsError::ClientCa(_) | TlsError::Verifier(_) => {
                "certificate"
            }
        };
        refused(target, &error)
    })?;
    let now = now.unix_seconds();
    if now < facts.not_before as i64 || now >= facts.not_after as i64 {
        let text = "The certificate is refused: it is not valid at this time.";
        return Err(Refusal::new(Code::InvalidField.number(), text).about("certificate"));
    }
    Ok(())
}

fn read_all(files: &Files) -> Result<Loaded, CertificateError> {
    let (pem, key) = (read(&files.chain)?, read(&files.key)?);
    let client_ca = files.client_ca.as_deref().map(read).transpose()?;
    let path = || files.chain.clone();
    let config = tls_config(&pem, &key, client_ca.as_deref()).map_err(|source| {
        let path = match (&source, &files.client_ca) {
            (TlsError::ClientCa(_) | TlsError::Verifier(_), Some(ca)) => ca.clone(),
            _ => path(),
        };
        CertificateError::Tls { path, source }
    })?;
    let own = first_certificate(&pem).map_err(|source| CertificateError::Tls {
        path: path(),
        source,
    })?;
    let facts = CertificateFacts::of_der(&own).map_err(|source| CertificateError::X509 {
        path: path(),
        source,
    })?;
    Ok(Loaded {
        config,
        facts,
        pem: certificates_of(&String::from_utf8_lossy(&pem)),
        source: files.source,
    })
}

/// The certificates in a file that may hold a key too.
fn certificates_of(text: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = text.split_inclusive(END);
    let starts = blocks.filter_map(|block| {
        let from = block.rfind("-----BEGIN CERTIFICATE-----")?;
        block
            .ends_with(END)
            .then(|| format!("{}\n", &block[from..]))
    });
    starts.collect()
}

#[async_trait]
impl Certificates for RestCertificate {
    fn shown(&self) -> Option<Certificate> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = shown.as_ref()?;
        let facts = &loaded.facts;
        let time = |seconds: u64| WallTime::from_unix_seconds(seconds).to_api();
        Some(Certificate {
            node: self.settings.node.to_string(),
            source: loaded.source,
            subject: facts.subject.clone(),
            issuer: facts.issuer.clone(),
            names: facts.names.clone(),
            not_before: time(facts.not_before),
            not_after: time(facts.not_after),
            fingerprint_sha256: facts.fingerprint.clone(),
            certificate: loaded.pem.clone(),
        })
    }

    async fn replace(self: Arc<Self>, new: NewCertificate) -> Result<(), Refusal> {
        let replaced = tokio::task::spawn_blocking(move || self.replace_now(&new)).await;
        replaced.unwrap_or_else(|error| {
            Err(Refusal::new(
                Code::InternalError.number(),
                error.to_string(),
            ))
        })
    }
}

fn make(
    names: &[String],
    node: &NodeName,
    chain: &Path,
    key: &Path,
) -> Result<(), CertificateError> {
    // Whoever believes the one before by its key believes this one.
    let kept = fs::read_to_string(key).ok();
    let kept = kept.and_then(|text| KeyPair::from_pem(&text).ok());
    let is_kept = kept.is_some();
    let pair = kept.map_or_else(KeyPair::generate, Ok)?;
    let mut parameters = CertificateParams::new(names)?;
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, node.as_str());
    let certificate = parameters.self_signed(&pair)?;
    // The certificate's file is what says that the key is there: it comes last.
    if !is_kept {
        write(key, pair.serialize_pem().as_bytes(), 0o600)?;
    }
    write(chain, certificate.pem().as_bytes(), 0o644)?;
    tracing::info!(path = %chain.display(), ?names, "made a certificate for the REST API");
    Ok(())
}

/// Whole and durable, or not there at all.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CertificateError> {
    let failed = |step| {
        let path = path.to_owned();
        move |source| CertificateError::File { step, path, source }
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(failed("make the folder of"))?;
    replace(path, mode, bytes).map_err(failed("write"))
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let path = path.to_owned();
    fs::read(&path).map_err(|source| CertificateError::File {
        step: "read",
        path,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    use evenkeel_api::Secret;
    use evenkeel_model::BootId;
    use evenkeel_seam::SystemClock;

    fn settings(dir: &Path, names_files: bool) -> NodeSettings {
        let example = include_str!("../../../systemd/evenkeeld.toml.example");
        let mut settings: NodeSettings = toml::from_str(example).unwrap();
        settings.data = dir.to_owned();
        settings.rest.certificate = names_files.then(|| dir.join("c.pem"));
        settings.rest.key = names_files.then(|| dir.join("k.pem"));
        settings
    }

    fn open(settings: &NodeSettings) -> Arc<RestCertificate> {
        open_at(settings, &watch::Sender::new(None))
    }

    fn open_at(
        settings: &NodeSettings,
        host: &watch::Sender<Option<String>>,
    ) -> Arc<RestCertificate> {
        let clock = SystemClock::new(BootId(uuid::Uuid::from_u128(1)));
        RestCertificate::open(settings, host.subscribe(), Arc::new(clock))
    }

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn names(certificate: &RestCertificate) -> Vec<String> {
        certificate.shown().map(|it| it.names).unwrap_or_default()
    }

    fn given(certificate: &str, key: &str) -> NewCertificate {
        NewCertificate {
            certificate: certificate.to_owned(),
            private_key: Secret(key.to_owned()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_taken_up_when_they_come_and_when_both_have_changed() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), true);
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let (chain, key) = pair("first");
        write("k.pem", &key);
        let certificate = open(&settings);
        let mut configs = certificate.configs();
        assert!(configs.borrow().is_none());
        // The daemon has no right to make files that an operator named, and least of all to replace a key.
        assert!(!dir.path().join("c.pem").exists());
        assert_eq!(fs::read_to_string(dir.path().join("k.pem")).unwrap(), key);
        write("c.pem", "no certificate");
        tokio::spawn(Arc::clone(&certificate).follow());
        write("c.pem", &chain);
        configs.changed().await.unwrap();
        assert_eq!(names(&certificate), ["first"]);
        let (next, next_key) = pair("second");
        write("c.pem", &next);
        tokio::time::sleep(3 * LOOK_EVERY).await;
        assert_eq!(names(&certificate), ["first"], "until its key is there");
        write("k.pem", &next_key);
        configs.mark_unchanged();
        configs.changed().await.unwrap();
        assert_eq!(names(&certificate), ["second"]);
        let refused = certificate.replace_now(&given(&chain, &key)).unwrap_err();
        assert!(refused.message.contains("c.pem"), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_daemon_made_names_where_clients_reach_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, host) = (settings(dir.path(), false), watch::Sender::new(None));
        let certificate = open_at(&settings, &host);
        let key = fs::read(dir.path().join("rest/key.pem")).unwrap();
        let mut configs = certificate.configs();
        tokio::spawn(Arc::clone(&certificate).follow());
        for address in ["192.0.2.1", "fd00::1", "node1.example"] {
            configs.mark_unchanged();
            host.send_replace(Some(address.to_owned()));
            configs.changed().await.unwrap();
            let names = names(&certificate);
            assert!(names.contains(&address.to_owned()), "{names:?}");
        }
        assert!(!names(&certificate).contains(&"192.0.2.1".to_owned()));
        // Whoever has pinned the key still believes it, and one that no certificate can say changes nothing.
        assert_eq!(fs::read(dir.path().join("rest/key.pem")).unwrap(), key);
        let before = certificate.shown();
        host.send_replace(Some("n\u{f6}de1".to_owned()));
        tokio::time::sleep(3 * LOOK_EVERY).await;
        assert_eq!(certificate.shown(), before);
        // One that was given is nobody's to remake.
        let (chain, key) = pair("given");
        certificate.replace_now(&given(&chain, &key)).unwrap();
        host.send_replace(Some("192.0.2.9".to_owned()));
        tokio::time::sleep(3 * LOOK_EVERY).await;
        assert_eq!(names(&certificate), ["given"]);
    }

    #[test]
    fn what_is_given_is_judged_first_and_stays_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), false);
        let certificate = open(&settings);
        assert!(names(&certificate).contains(&"node1".to_owned()));
        let (chain, key) = pair("given");
        let (_, other_key) = pair("other");
        let mut old = CertificateParams::new(vec!["old".to_owned()]).unwrap();
        old.not_after = rcgen::date_time_ymd(2001, 1, 1);
        old.not_before = rcgen::date_time_ymd(2000, 1, 1);
        let old_key = KeyPair::generate().unwrap();
        let old = old.self_signed(&old_key).unwrap().pem();
        let refused = [
            (given("", &key), "certificate"),
            (given(&chain, "nothing"), "private_key"),
            (given(&chain, &other_key), "private_key"),
            (given(&old, &old_key.serialize_pem()), "certificate"),
        ];
        for (new, target) in refused {
            let refusal = certificate.replace_now(&new).unwrap_err();
            assert_eq!(refusal.target.as_deref(), Some(target), "{refusal}");
        }
        assert_eq!(certificate.shown().unwrap().source, CertificateSource::Made);
        certificate.replace_now(&given(&chain, &key)).unwrap();
        let again = open(&settings);
        assert_eq!(names(&again), ["given"]);
        let shown = again.shown().unwrap();
        assert_eq!(shown.source, CertificateSource::Given);
        assert!(
            !shown.certificate.contains("PRIVATE"),
            "{}",
            shown.certificate
        );
        let file = dir.path().join("rest/given.pem");
        assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600);
    }
}
