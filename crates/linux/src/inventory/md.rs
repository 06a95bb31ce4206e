//! The kernel's RAID, from `/sys/block/md*/md` (Documentation/admin-guide/md.rst of the kernel).

use evenkeel_model::PoolHealth;

use crate::Host;
use crate::block;
use crate::look::{Answer, entries, exists, link_name, number_if_any, unavailable};

/// An array that is put together here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Array {
    /// The kernel's name.
    pub(crate) name: String,
    /// "raid1", "raid6", "raid0".
    pub(crate) level: String,
    /// What it does for its users.
    pub(crate) state: String,
    /// Members that it lacks; none for levels without redundancy.
    pub(crate) degraded: u64,
    /// What it does for itself.
    pub(crate) action: Option<String>,
    /// It has yet to make its members the same, and has not begun.
    pub(crate) unsynced: bool,
    /// It keeps a map of what a member that comes back has missed.
    pub(crate) bitmap: bool,
    /// Its members, failed ones and spares included.
    pub(crate) members: Vec<Member>,
}

/// A member of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The kernel's name of the device.
    pub(crate) device: String,
    /// It holds what it should.
    pub(crate) in_sync: bool,
    /// It has failed, or was told to.
    pub(crate) faulty: bool,
    /// It stands by, or is being filled.
    pub(crate) spare: bool,
    /// Its place in the array, if it has one.
    pub(crate) slot: Option<u32>,
}

/// The array of this kernel's name; none if it is not put together here.
pub(crate) fn array(host: &Host, name: &str) -> Answer<Option<Array>> {
    let md = block::folder(name).join("md");
    if !exists(host, &md)? {
        return Ok(None);
    }
    let mut members = Vec::new();
    for entry in entries(host, &md)? {
        if entry.starts_with("dev-") {
            members.push(member(host, &md.join(&entry), &entry)?);
        }
    }
    // Only an array that has never been made whole, or went down hard, says a number here.
    let start = host.read_if_any(md.join("resync_start"))?;
    let location = host.read_if_any(md.join("bitmap/location"))?;
    Ok(Some(Array {
        name: name.to_owned(),
        level: host.read(md.join("level"))?,
        state: host.read(md.join("array_state"))?,
        degraded: number_if_any(host, md.join("degraded"))?.unwrap_or_default(),
        action: host.read_if_any(md.join("sync_action"))?,
        unsynced: start.is_some_and(|start| start != "none"),
        bitmap: location.is_some_and(|location| location != "none"),
        members,
    }))
}

fn member(host: &Host, folder: &std::path::Path, entry: &str) -> Answer<Member> {
    let state = host.read(folder.join("state"))?;
    let has = |flag: &str| state.split(',').any(|it| it == flag);
    let device = link_name(host, folder.join("block"))?;
    let device = device.unwrap_or_else(|| entry.trim_start_matches("dev-").to_owned());
    let slot = host.read_if_any(folder.join("slot"))?;
    Ok(Member {
        device,
        in_sync: has("in_sync"),
        faulty: has("faulty"),
        spare: has("spare"),
        slot: slot.and_then(|slot| slot.parse().ok()),
    })
}

/// All arrays that are put together here.
pub(crate) fn arrays(host: &Host) -> Answer<Vec<Array>> {
    let mut arrays = Vec::new();
    for name in block::names(host)? {
        arrays.extend(array(host, &name)?);
    }
    Ok(arrays)
}

impl Array {
    /// Its redundancy, and whether it is read through for errors.
    pub(crate) fn health(&self) -> Answer<(PoolHealth, bool)> {
        match self.state.as_str() {
            // One that takes no writes does not serve a pool.
            "clear" | "inactive" | "suspended" | "readonly" | "broken" => {
                return Ok((PoolHealth::Offline, false));
            }
            "read-auto" | "clean" | "active" | "write-pending" | "active-idle" => {}
            other => {
                let name = &self.name;
                return Err(unavailable(format!(
                    "array {name} is in the state {other:?}, which is not known"
                )));
            }
        }
        let scrubbing = matches!(self.action.as_deref(), Some("check" | "repair"));
        let rebuilding = matches!(
            self.action.as_deref(),
            Some("recover" | "resync" | "reshape")
        );
        let health = match (rebuilding, self.degraded > 0) {
            (true, _) => PoolHealth::Resyncing,
            (false, true) => PoolHealth::Degraded,
            (false, false) if self.unsynced && !scrubbing => PoolHealth::Resyncing,
            (false, false) => PoolHealth::Online,
        };
        Ok((health, scrubbing))
    }

    /// What it does that a takeover would break, in words.
    pub(crate) fn job(&self) -> Option<String> {
        let what = match self.action.as_deref()? {
            "resync" => "makes its members the same (resync)",
            "recover" => "rebuilds a member (recover)",
            "reshape" => "takes another shape (reshape)",
            "check" => "is read through for errors (check)",
            "repair" => "is read through and repaired (repair)",
            _ => return None,
        };
        Some(format!("array {} {what}", self.name))
    }
}
