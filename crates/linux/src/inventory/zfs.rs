//! ZFS, from the JSON of `zpool status -j` (OpenZFS 2.3 and later), else from the scripted mode of `zpool list`
//! (zpool-list(8): "do not display headers, and separate fields by a single tab").

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::PoolHealth;
use serde::Deserialize;

use crate::look::{Answer, exists, output, parse, run, unavailable};
use crate::{Call, Host};

/// A pool whose devices hang makes `zpool` hang.
const WITHIN: Duration = Duration::from_secs(8);
const PACKAGE: &str = "zfsutils-linux";
/// `zpool` says so of options that it does not know.
const USAGE: i32 = 2;
/// `timeout` says so of what it had to end.
const TIMED_OUT: i32 = 124;

/// A pool that is imported here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Zpool {
    pub(crate) state: String,
    pub(crate) resilvering: bool,
    pub(crate) scrubbing: bool,
    /// Its devices that stand in for each other, one list for each part of the pool.
    pub(crate) groups: Vec<Vec<Leaf>>,
    /// Devices that stand by for it.
    pub(crate) spares: Vec<Leaf>,
}

/// A device of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// The path of the device.
    pub(crate) path: String,
    /// "ONLINE", "OFFLINE", "FAULTED" and so on.
    pub(crate) state: String,
}

/// Whether the kernel has ZFS at all: without it no pool is imported here, whatever is installed.
pub(crate) fn is_there(host: &Host) -> Answer<bool> {
    exists(host, "/sys/module/zfs")
}

/// All pools that are imported here.
pub(crate) async fn zpools(host: &Host) -> Answer<BTreeMap<String, Zpool>> {
    if !is_there(host)? {
        return Ok(BTreeMap::new());
    }
    let call = Call::new("zpool", ["status", "-j", "--json-int", "-P"], WITHIN);
    let finished = run(host, &call, PACKAGE).await?;
    match finished.code {
        Some(0) => {
            let status: Status = parse(&call, &finished.output)?;
            let pools = status.pools.into_iter();
            Ok(pools.map(|(name, pool)| (name, pool.told())).collect())
        }
        Some(USAGE) => listed(host).await,
        code => {
            let (line, errors) = (call.line(), finished.errors);
            Err(unavailable(format!("{line} ended with {code:?}: {errors}")))
        }
    }
}

impl Zpool {
    /// Its redundancy, and whether a scrub runs.
    pub(crate) fn health(&self) -> Answer<(PoolHealth, bool)> {
        let health = match self.state.as_str() {
            "ONLINE" | "DEGRADED" if self.resilvering => PoolHealth::Resyncing,
            "ONLINE" => PoolHealth::Online,
            "DEGRADED" => PoolHealth::Degraded,
            "FAULTED" | "OFFLINE" | "REMOVED" | "UNAVAIL" | "SUSPENDED" => PoolHealth::Offline,
            other => {
                return Err(unavailable(format!(
                    "zpool names a state that is not known: {other:?}"
                )));
            }
        };
        Ok((health, self.scrubbing))
    }

    /// All its devices that hold data.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = &Leaf> {
        self.groups.iter().flatten()
    }
}

#[derive(Deserialize)]
struct Status {
    pools: BTreeMap<String, Pool>,
}

#[derive(Deserialize)]
struct Pool {
    state: String,
    scan_stats: Option<Scan>,
    #[serde(default)]
    vdevs: BTreeMap<String, Vdev>,
    #[serde(default)]
    logs: BTreeMap<String, Vdev>,
    #[serde(default)]
    special: BTreeMap<String, Vdev>,
    #[serde(default)]
    dedup: BTreeMap<String, Vdev>,
    #[serde(default)]
    spares: BTreeMap<String, Vdev>,
}

#[derive(Deserialize)]
struct Scan {
    function: String,
    state: String,
}

#[derive(Deserialize)]
struct Vdev {
    name: String,
    state: String,
    path: Option<String>,
    #[serde(default)]
    vdevs: BTreeMap<String, Vdev>,
}

impl Pool {
    fn told(self) -> Zpool {
        let scans = |function: &str| {
            let scan = self.scan_stats.as_ref();
            scan.is_some_and(|scan| scan.function == function && scan.state == "SCANNING")
        };
        let (resilvering, scrubbing) = (scans("RESILVER"), scans("SCRUB"));
        // The root of the tree is the pool itself; what is below it are the groups.
        let data = self.vdevs.into_values().flat_map(|root| match root.path {
            Some(_) => vec![root],
            None => root.vdevs.into_values().collect(),
        });
        let others = [self.logs, self.special, self.dedup];
        let others = others.into_iter().flat_map(BTreeMap::into_values);
        let groups = data.chain(others).map(|group| leaves(&group)).collect();
        let spares = self.spares.values().flat_map(leaves).collect();
        Zpool {
            state: self.state,
            resilvering,
            scrubbing,
            groups,
            spares,
        }
    }
}

fn leaves(vdev: &Vdev) -> Vec<Leaf> {
    if !vdev.vdevs.is_empty() {
        return vdev.vdevs.values().flat_map(leaves).collect();
    }
    let path = vdev.path.clone().unwrap_or_else(|| vdev.name.clone());
    let state = vdev.state.clone();
    vec![Leaf { path, state }]
}

/// The same from a `zpool` that knows no JSON.
async fn listed(host: &Host) -> Answer<BTreeMap<String, Zpool>> {
    let call = Call::new("zpool", ["list", "-HPv"], WITHIN);
    let printed = output(host, &call, PACKAGE).await?;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let mut pools = read_list(&printed)?;
    for (name, pool) in &mut pools {
        let (resilvering, scrubbing) = tokio::join!(
            is_active(host, name, "resilver"),
            is_active(host, name, "scrub")
        );
        (pool.resilvering, pool.scrubbing) = (resilvering?, scrubbing?);
    }
    Ok(pools)
}

/// `zpool wait` ends at once when the pool does no such thing (zpool-wait(8)); nothing else tells it to machines before 2.3.
async fn is_active(host: &Host, pool: &str, activity: &str) -> Answer<bool> {
    let args = ["0.5", "zpool", "wait", "-t", activity, pool];
    let call = Call::new("timeout", args, WITHIN);
    let finished = run(host, &call, "coreutils").await?;
    match finished.code {
        Some(0) => Ok(false),
        Some(TIMED_OUT) => Ok(true),
        code => {
            let (line, errors) = (call.line(), finished.errors);
            Err(unavailable(format!("{line} ended with {code:?}: {errors}")))
        }
    }
}

/// What a row of a list is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Data,
    Spares,
    Cache,
}

const STATES: [&str; 8] = [
    "ONLINE",
    "DEGRADED",
    "FAULTED",
    "OFFLINE",
    "REMOVED",
    "UNAVAIL",
    "SUSPENDED",
    "AVAIL",
];

/// Rows of pools begin with their name, rows of their devices with a tab. A device that is a group by itself has a size; others have
/// a dash there. Section titles ("logs", "cache", "spare") are rows of dashes.
fn read_list(printed: &str) -> Answer<BTreeMap<String, Zpool>> {
    let mut pools = BTreeMap::new();
    let mut current: Option<(String, Zpool)> = None;
    let mut section = Section::Data;
    for line in printed.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let name = fields.first().copied().unwrap_or_default();
        let state = fields.iter().rev().find(|field| STATES.contains(field));
        let state = state.map(|state| (*state).to_owned());
        match (line.starts_with('\t'), title(name, &fields)) {
            (_, Some(next)) => section = next,
            (true, None) => {
                let pool = current.as_mut().map(|(_, pool)| pool);
                let pool = pool.ok_or_else(|| strange(line))?;
                row(pool, section, &fields, state);
            }
            (false, None) => {
                pools.extend(current.take());
                section = Section::Data;
                let state = state.ok_or_else(|| strange(line))?;
                let pool = Zpool {
                    state,
                    ..Zpool::default()
                };
                current = Some((name.to_owned(), pool));
            }
        }
    }
    pools.extend(current);
    Ok(pools)
}

fn title(name: &str, fields: &[&str]) -> Option<Section> {
    if !fields.iter().skip(1).all(|field| *field == "-") {
        return None;
    }
    match name {
        "logs" | "special" | "dedup" => Some(Section::Data),
        "cache" => Some(Section::Cache),
        "spare" | "spares" => Some(Section::Spares),
        _ => None,
    }
}

fn row(pool: &mut Zpool, section: Section, fields: &[&str], state: Option<String>) {
    let name = fields.first().copied().unwrap_or_default();
    let is_device = name.starts_with('/');
    let leaf = || Leaf {
        path: name.to_owned(),
        state: state.clone().unwrap_or_else(|| "UNKNOWN".to_owned()),
    };
    let has_size = fields.get(2).is_some_and(|allocated| *allocated != "-");
    match (section, is_device) {
        (Section::Cache, _) | (Section::Spares, false) => {}
        (Section::Spares, true) => pool.spares.push(leaf()),
        // Parts of a group that something replaces in.
        (Section::Data, false) if name.starts_with("replacing-") || name.starts_with("spare-") => {}
        (Section::Data, false) => pool.groups.push(Vec::new()),
        (Section::Data, true) => match pool.groups.last_mut() {
            Some(group) if !has_size => group.push(leaf()),
            Some(_) | None => pool.groups.push(vec![leaf()]),
        },
    }
}

fn strange(line: &str) -> evenkeel_platform::PlatformError {
    unavailable(format!(
        "zpool list printed what is not understood: {line:?}"
    ))
}
