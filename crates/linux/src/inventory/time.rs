//! Time synchronisation: chrony says it best; otherwise the kernel knows whether anybody corrects its clock.

use std::time::Duration;

use evenkeel_model::TimeSync;

use crate::look::{Answer, exists, installed, unavailable};
use crate::{Call, Host};

const WITHIN: Duration = Duration::from_secs(3);

/// What the kernel says of its clock (adjtimex(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelClock {
    /// Somebody corrects it.
    pub synchronized: bool,
    /// What is left to correct, in microseconds.
    pub offset_us: i64,
}

/// How the node's clock is kept.
pub(crate) async fn time_sync(
    host: &Host,
    kernel: impl FnOnce() -> Answer<KernelClock>,
) -> Answer<TimeSync> {
    // chronyd slews the clock without telling the kernel what is left.
    if exists(host, "/run/chrony/chronyd.pid")? && installed(host, "chronyc")? {
        return chrony(host).await;
    }
    let clock = kernel()?;
    Ok(TimeSync {
        synchronized: clock.synchronized,
        offset_ms: clock.offset_us / 1000,
    })
}

/// `chronyc -c` prints values separated by commas, for machines (chronyc(1)): reference id, name, stratum, reference time, system time's
/// offset in seconds, last offset and others, leap status last.
async fn chrony(host: &Host) -> Answer<TimeSync> {
    let call = Call::new("chronyc", ["-n", "-c", "tracking"], WITHIN);
    let printed = String::from_utf8_lossy(&host.output(&call).await?).into_owned();
    let strange = || {
        unavailable(format!(
            "chronyc -c tracking printed what is not understood: {:?}",
            printed.trim()
        ))
    };
    let fields: Vec<&str> = printed.trim().split(',').collect();
    let (Some(stratum), Some(offset), Some(leap)) = (fields.get(2), fields.get(4), fields.last())
    else {
        return Err(strange());
    };
    let stratum: u8 = stratum.parse().map_err(|_| strange())?;
    let offset: f64 = offset.parse().map_err(|_| strange())?;
    Ok(TimeSync {
        synchronized: stratum > 0 && *leap != "Not synchronised",
        offset_ms: (offset * 1000.0).round() as i64,
    })
}
