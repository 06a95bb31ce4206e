//! Open health alerts: of arrays, volumes and pools, of the disks' own opinion of themselves (SMART), of the system's services.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use evenkeel_model::DiskSerial;
use futures_util::future::join_all;
use serde::Deserialize;

use super::disks::Disk;
use super::{lvm, md, zfs};
use crate::look::{Answer, blocking, exists, installed, json, parse, run, unavailable};
use crate::{Call, Host};

const SYSTEMD: Duration = Duration::from_secs(5);
/// A disk that takes longer is asked again the next time, and is an alert meanwhile.
const SMART: Duration = Duration::from_secs(4);
/// Disks that are asked in one look, all at once: they answer while they serve, and slowly when they are busy.
const SMART_AT_ONCE: usize = 8;
/// What a disk thinks of itself changes over days.
const SMART_KEPT_MS: u64 = 30 * 60 * 1000;

/// What disks said of themselves, and when.
#[derive(Debug, Default)]
pub(crate) struct SmartMemory {
    said: Mutex<BTreeMap<DiskSerial, Said>>,
}

#[derive(Clone, Debug)]
struct Said {
    /// Milliseconds since the boot.
    at_ms: u64,
    alert: Option<String>,
}

/// All alerts but the disks' own.
pub(crate) async fn alerts(host: &Host) -> Answer<Vec<String>> {
    let kernels = blocking(host, "alerts", |host| {
        let mut alerts = Vec::new();
        for array in md::arrays(host)? {
            alerts.extend(of_array(&array));
        }
        let systemd = exists(host, "/run/systemd/system")?;
        Ok((alerts, systemd, super::jobs::has_lvm(host)?))
    });
    let (mut alerts, systemd, has_lvm) = kernels.await?;
    if has_lvm {
        alerts.extend(lvm::lvs(host).await?.iter().filter_map(lvm::Lv::alert));
    }
    for (name, pool) in zfs::zpools(host).await? {
        if pool.state != "ONLINE" {
            alerts.push(format!("ZFS pool {name} is {}", pool.state));
        }
        let unwell = pool.leaves().filter(|leaf| leaf.state != "ONLINE");
        alerts.extend(
            unwell.map(|leaf| format!("{} of ZFS pool {name} is {}", leaf.path, leaf.state)),
        );
    }
    if systemd {
        alerts.extend(failed_units(host).await?);
    }
    Ok(alerts)
}

fn of_array(array: &md::Array) -> Vec<String> {
    let name = &array.name;
    let mut alerts = Vec::new();
    if array.degraded > 0 {
        alerts.push(format!("array {name} lacks {} member(s)", array.degraded));
    }
    let faulty = array.members.iter().filter(|member| member.faulty);
    alerts.extend(faulty.map(|member| format!("{} of array {name} has failed", member.device)));
    alerts
}

#[derive(Deserialize)]
struct Unit {
    unit: String,
}

async fn failed_units(host: &Host) -> Answer<Vec<String>> {
    let args = ["list-units", "--failed", "--output=json"];
    let call = Call::new("systemctl", args, SYSTEMD);
    let units: Vec<Unit> = json(host, &call, "systemd").await?;
    Ok(units
        .into_iter()
        .map(|unit| format!("unit {} has failed", unit.unit))
        .collect())
}

impl SmartMemory {
    /// What the disks' own opinion raises. Not every disk is asked every time.
    ///
    /// # Errors
    /// Unavailable until every disk was asked once.
    pub(crate) async fn alerts(&self, host: &Host, disks: &[Disk]) -> Answer<Vec<String>> {
        if disks.is_empty() || !installed(host, "smartctl")? {
            return Ok(Vec::new());
        }
        let now = super::uptime_ms(host)?;
        let asked = self.due(disks, now);
        let answers = join_all(asked.iter().map(|disk| ask(host, disk))).await;
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        for (disk, alert) in asked.iter().zip(answers) {
            said.insert(disk.serial.clone(), Said { at_ms: now, alert });
        }
        said.retain(|serial, _| disks.iter().any(|disk| disk.serial == *serial));
        match disks.len() - said.len() {
            0 => Ok(said
                .values()
                .filter_map(|said| said.alert.clone())
                .collect()),
            left => Err(unavailable(format!(
                "{left} of {} disks have yet to say what they think of themselves (SMART)",
                disks.len()
            ))),
        }
    }

    /// The disks whose turn it is, those first that were never asked.
    fn due<'a>(&self, disks: &'a [Disk], now: u64) -> Vec<&'a Disk> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |disk: &&Disk| {
            let said = said.get(&disk.serial);
            said.is_some_and(|said| said.alert.is_none() && now < said.at_ms + SMART_KEPT_MS)
        };
        let mut due: Vec<&Disk> = disks.iter().filter(|disk| !fresh(disk)).collect();
        due.sort_by_key(|disk| said.get(&disk.serial).map(|said| said.at_ms));
        due.truncate(SMART_AT_ONCE);
        due
    }
}

#[derive(Deserialize)]
struct Smart {
    smart_status: Option<Verdict>,
}

#[derive(Deserialize)]
struct Verdict {
    passed: bool,
}

/// What a disk thinks of itself; none if it is content, or has no opinion.
async fn ask(host: &Host, disk: &Disk) -> Option<String> {
    let serial = &disk.serial;
    let Some(way) = disk.way() else {
        return Some(format!("disk {serial} has no path that works"));
    };
    let device = format!("/dev/{}", way.device);
    let call = Call::new("smartctl", ["--json=c", "--health", &device], SMART);
    let said = match run(host, &call, "smartmontools").await {
        // Its exit code is a set of bits, which the JSON tells too.
        Ok(finished) => parse::<Smart>(&call, &finished.output),
        Err(error) => Err(error),
    };
    match said {
        Ok(Smart {
            smart_status: Some(Verdict { passed: false }),
        }) => Some(format!("disk {serial} expects to fail (SMART)")),
        Ok(_) => None,
        Err(error) => Some(format!(
            "disk {serial} does not say how it is (SMART): {error}"
        )),
    }
}
