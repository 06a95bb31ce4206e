//! LVM, from the JSON reports of `vgs`, `lvs` and `pvs` (lvmreport(7)).

use std::time::Duration;

use evenkeel_model::PoolHealth;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::look::{Answer, json, unavailable};
use crate::{Call, Host};

/// They wait for LVM's own locks and read every device's label.
const WITHIN: Duration = Duration::from_secs(10);
const PACKAGE: &str = "lvm2";
/// What `lvs` says of the health of a leg that `lvchange --writemostly` keeps from being read.
const WRITE_MOSTLY: &str = "writemostly";

/// `{"report": [{"vg": [...]}]}`: one report unless several commands were given.
#[derive(Deserialize)]
struct Reports<T> {
    report: Vec<T>,
}

#[derive(Deserialize)]
struct VgReport {
    vg: Vec<Vg>,
}

#[derive(Deserialize)]
struct LvReport {
    lv: Vec<Lv>,
}

#[derive(Deserialize)]
struct PvReport {
    pv: Vec<Pv>,
}

/// A volume group. All values are texts there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Vg {
    pub(crate) vg_name: String,
    /// Physical volumes that are missing.
    vg_missing_pv_count: String,
}

/// A logical volume, hidden parts of others included.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Lv {
    pub(crate) vg_name: String,
    pub(crate) lv_name: String,
    /// "active" where it is.
    lv_active: String,
    /// Empty when all is well.
    lv_health_status: String,
    raid_sync_action: String,
    /// In percent; empty where nothing is to be made the same.
    sync_percent: String,
    segtype: String,
    lv_kernel_major: String,
    lv_kernel_minor: String,
    /// What is being moved away from; empty where nothing is.
    move_pv: String,
}

/// A physical volume.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Pv {
    /// Its device; `[unknown]` for one that is missing.
    pub(crate) pv_name: String,
    pub(crate) vg_name: String,
}

async fn report<T: DeserializeOwned>(
    host: &Host,
    program: &'static str,
    fields: &str,
) -> Answer<T> {
    let mut args = vec!["--reportformat", "json", "-o", fields];
    if program == "lvs" {
        args.insert(0, "-a");
    }
    let call = Call::new(program, args, WITHIN);
    let reports: Reports<T> = json(host, &call, PACKAGE).await?;
    let mut reports = reports.report.into_iter();
    reports
        .next()
        .ok_or_else(|| unavailable(format!("{program} printed no report")))
}

/// All volume groups that this node may use.
pub(crate) async fn vgs(host: &Host) -> Answer<Vec<Vg>> {
    let report: VgReport = report(host, "vgs", "vg_name,vg_missing_pv_count").await?;
    Ok(report.vg)
}

/// All logical volumes.
pub(crate) async fn lvs(host: &Host) -> Answer<Vec<Lv>> {
    const FIELDS: &str = "vg_name,lv_name,lv_active,lv_health_status,raid_sync_action,sync_percent,segtype,\
                          lv_kernel_major,lv_kernel_minor,move_pv";
    let report: LvReport = report(host, "lvs", FIELDS).await?;
    Ok(report.lv)
}

/// All physical volumes.
pub(crate) async fn pvs(host: &Host) -> Answer<Vec<Pv>> {
    let report: PvReport = report(host, "pvs", "pv_name,vg_name").await?;
    Ok(report.pv)
}

impl Lv {
    pub(crate) fn is_active(&self) -> bool {
        self.lv_active == "active"
    }

    /// Major and minor number, as the kernel writes them.
    pub(crate) fn dev(&self) -> String {
        format!("{}:{}", self.lv_kernel_major, self.lv_kernel_minor)
    }

    /// What it does that a takeover would break.
    pub(crate) fn job(&self) -> Option<String> {
        if self.move_pv.is_empty() {
            return None;
        }
        let (vg, from) = (&self.vg_name, &self.move_pv);
        Some(format!(
            "volume group {vg} moves data away from {from} (pvmove)"
        ))
    }

    fn health(&self) -> Answer<(PoolHealth, bool)> {
        let scrubbing = matches!(self.raid_sync_action.as_str(), "check" | "repair");
        let rebuilding = matches!(
            self.raid_sync_action.as_str(),
            "recover" | "resync" | "reshape"
        );
        let health = match self.lv_health_status.as_str() {
            // What a check has found is told as an alert, and costs no redundancy; nor does a leg that is not read from, as was wished.
            "" | "mismatches exist" | WRITE_MOSTLY => match rebuilding || self.is_behind()? {
                true => PoolHealth::Resyncing,
                false => PoolHealth::Online,
            },
            _ if rebuilding => PoolHealth::Resyncing,
            _ => PoolHealth::Degraded,
        };
        Ok((health, scrubbing))
    }

    /// A mirror that has yet to become one.
    fn is_behind(&self) -> Answer<bool> {
        let mirrors = self.segtype.starts_with("raid") || self.segtype == "mirror";
        if !mirrors || self.sync_percent.is_empty() || !self.move_pv.is_empty() {
            return Ok(false);
        }
        let percent = self.sync_percent.parse::<f64>();
        let percent = percent.map_err(|_| {
            unavailable(format!(
                "lvs says that {}/{} is in sync to {:?} percent",
                self.vg_name, self.lv_name, self.sync_percent
            ))
        })?;
        Ok(percent < 100.0)
    }

    /// What the operator must know though it costs no redundancy.
    pub(crate) fn alert(&self) -> Option<String> {
        let (vg, lv, what) = (&self.vg_name, &self.lv_name, &self.lv_health_status);
        let is_news = !what.is_empty() && what != WRITE_MOSTLY;
        is_news.then(|| format!("logical volume {vg}/{lv}: {what}"))
    }
}

/// The health of a volume group: of what is active of it. Offline where nothing is.
pub(crate) fn health(vgs: &[Vg], lvs: &[Lv], name: &str) -> Answer<(PoolHealth, bool)> {
    let Some(vg) = vgs.iter().find(|vg| vg.vg_name == name) else {
        return Ok((PoolHealth::Offline, false));
    };
    let active = lvs.iter().filter(|lv| lv.vg_name == name && lv.is_active());
    let mut whole: Option<(PoolHealth, bool)> = None;
    for lv in active {
        let said = lv.health()?;
        whole = Some(whole.map_or(said, |sofar| super::health::worse(sofar, said)));
    }
    let Some(whole) = whole else {
        return Ok((PoolHealth::Offline, false));
    };
    match vg.vg_missing_pv_count.as_str() {
        "0" => Ok(whole),
        _ => Ok(super::health::worse(whole, (PoolHealth::Degraded, false))),
    }
}
