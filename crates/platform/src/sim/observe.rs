//! What a node sees of its hardware.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_model::{
    DiskState, LifState, Load, MachineId, NodeName, PoolHealth, PoolState, SpState, Space, TimeSync,
};

use super::fault::Fault;
use super::hardware::{Hardware, Node};
use super::readiness::{boot_settings, client_risks, ports, unowned};
use crate::traits::PlatformError;
use crate::wire::{Command, Reply};

impl Hardware {
    /// Answers a call that only looks, by a node that is up.
    pub(super) fn observe(
        &self,
        name: &NodeName,
        command: &Command,
    ) -> Result<Reply, PlatformError> {
        let node = self.at(name);
        let seeing = |blind: Fault| match node.has(blind) {
            true => Err(PlatformError::Unavailable(format!("{name}: {blind}"))),
            false => Ok(()),
        };
        match command {
            Command::Pair => seeing(Fault::BlindPair).map(|()| Reply::Pair(self.pair_state(name))),
            Command::Slots => {
                seeing(Fault::BlindSlots)?;
                let slots = self.told_slots(name).ok_or_else(|| not_up(name))?;
                Ok(Reply::Slots(slots))
            }
            Command::BootId => {
                let (_, boot_id) = node.up().ok_or_else(|| not_up(name))?;
                Ok(Reply::BootId(boot_id))
            }
            Command::Sp => seeing(Fault::BlindSp).map(|()| Reply::Sp(self.sp(name))),
            Command::Lifs => seeing(Fault::BlindLifs).map(|()| Reply::Lifs(self.lif_states(name))),
            Command::Pools => {
                seeing(Fault::BlindPools).map(|()| Reply::Pools(self.pool_states(name)))
            }
            Command::Disks => {
                seeing(Fault::BlindDisks).map(|()| Reply::Disks(self.disk_states(name)))
            }
            Command::Load => seeing(Fault::BlindLoad).map(|()| Reply::Load(self.load(name))),
            Command::TimeSync => {
                seeing(Fault::BlindTime).map(|()| Reply::TimeSync(time_sync(node)))
            }
            Command::ExclusiveJobs => {
                let text = format!("volume move of vol1 from {name}_data1");
                seeing(Fault::BlindJobs).map(|()| texts(node, Fault::ExclusiveJob, text))
            }
            Command::Alerts => {
                let text = format!("fan 2 of {name} has failed");
                seeing(Fault::BlindAlerts).map(|()| texts(node, Fault::Alert, text))
            }
            Command::ClientHazards => {
                let text = "NFS soft mount of vol1 from 10.0.0.7".to_owned();
                seeing(Fault::BlindClients).map(|()| texts(node, Fault::SoftMount, text))
            }
            Command::Space => seeing(Fault::BlindSpace).map(|()| Reply::Space(space(node))),
            Command::Witness => {
                seeing(Fault::BlindWitness).map(|()| Reply::Witness(self.witness(name)))
            }
            Command::Fencing => {
                seeing(Fault::BlindFencing).map(|()| Reply::Fencing(self.fencing(name)))
            }
            Command::PartnerSp => {
                seeing(Fault::BlindPartnerSp).map(|()| Reply::PartnerSp(self.partner_sp(name)))
            }
            Command::BootSettings => {
                seeing(Fault::BlindBoot).map(|()| Reply::BootSettings(boot_settings(node)))
            }
            Command::Shelves => {
                seeing(Fault::BlindShelves).map(|()| Reply::Shelves(self.shelves(name)))
            }
            Command::UnownedDisks => {
                seeing(Fault::BlindOwnership).map(|()| Reply::UnownedDisks(unowned(name, node)))
            }
            Command::Ports => seeing(Fault::BlindPorts).map(|()| Reply::Ports(ports(node))),
            Command::ClientRisks => {
                seeing(Fault::BlindSessions).map(|()| Reply::ClientRisks(client_risks(node)))
            }
            Command::Machine => Ok(Reply::Machine(machine(name))),
            Command::Device(call) => self.look_at_devices(name, call),
            Command::TakeOver(_)
            | Command::GiveBack(_)
            | Command::ServeAlone
            | Command::MarkUnbootable { .. }
            | Command::SetDefault { .. }
            | Command::MarkGood { .. }
            | Command::Reboot(_)
            | Command::SendHome { .. } => {
                unreachable!("Hardware::handle carries out the calls that act")
            }
        }
    }

    fn sp(&self, name: &NodeName) -> SpState {
        let node = self.at(name);
        SpState {
            reachable: !node.has(Fault::SpDead) && self.processor_answers(name),
            image_ok: !node.has(Fault::SpCorrupt),
            absent: false,
        }
    }

    /// Says whose home is in a node's pair: asked for every pool, LIF and disk of the cluster.
    fn in_pair<'a>(&'a self, node: &'a NodeName) -> impl Fn(&NodeName) -> bool + 'a {
        let partner = self.at(node).partner.as_ref();
        move |home| home == node || partner == Some(home)
    }

    /// Pools of the pair. A fault of a node concerns its first data pool.
    pub fn pool_states(&self, node: &NodeName) -> Vec<PoolState> {
        let in_pair = self.in_pair(node);
        let ours = self.pools.iter().filter(|pool| in_pair(&pool.home));
        let state = |pool: &super::hardware::Pool| {
            let home = self.at(&pool.home);
            let faulty = pool.name.as_str().ends_with("_data1");
            let health = match &pool.owner {
                None => PoolHealth::Offline,
                Some(_) if faulty && home.has(Fault::DegradePool) => PoolHealth::Degraded,
                Some(_) if faulty && home.has(Fault::ResyncPool) => PoolHealth::Resyncing,
                Some(_) if faulty => self.flash_health(&pool.home),
                Some(_) => PoolHealth::Online,
            };
            PoolState {
                name: pool.name.clone(),
                home: pool.home.clone(),
                owner: pool.owner.clone(),
                root: pool.root,
                health,
                scrubbing: faulty && home.has(Fault::Scrub),
                unseen: false,
            }
        };
        ours.map(state).collect()
    }

    /// LIFs of the pair.
    pub fn lif_states(&self, node: &NodeName) -> Vec<LifState> {
        let in_pair = self.in_pair(node);
        let ours = self.lifs.iter().filter(|lif| in_pair(&lif.home));
        let state = |lif: &super::hardware::Lif| LifState {
            name: lif.name.clone(),
            home: lif.home.clone(),
            current: lif.current.clone(),
            has_failover_target: self.at(&lif.home).partner.is_some()
                && !self.without_target(&lif.name),
        };
        ours.map(state).collect()
    }

    /// Disks that a node sees. A fault of a node concerns its first disk.
    fn disk_states(&self, node: &NodeName) -> Vec<DiskState> {
        let seer = self.at(node);
        let in_pair = self.in_pair(node);
        let ours = self.disks.iter().filter(|disk| in_pair(&disk.home));
        let homes: BTreeSet<&NodeName> = ours.clone().map(|disk| &disk.home).collect();
        let missing = homes
            .into_iter()
            .map(|home| (home, self.missing_modules(home)));
        let missing: BTreeMap<&NodeName, u8> = missing.collect();
        let state = |disk: &super::hardware::Disk| {
            let first = disk.serial.as_str().ends_with("-D1");
            let own = first && disk.home == *node;
            if own && seer.has(Fault::HideDisk) {
                return None;
            }
            Some(DiskState {
                serial: disk.serial.clone(),
                paths: match own && seer.has(Fault::LosePath) {
                    true => 1,
                    false => 2 - missing[&disk.home],
                },
                failed: first && self.at(&disk.home).has(Fault::FailDisk),
            })
        };
        ours.filter_map(state).collect()
    }

    /// A node that carries its partner's pools works for both.
    fn load(&self, name: &NodeName) -> Load {
        let node = self.at(name);
        let carries = self
            .pools
            .iter()
            .any(|pool| pool.home != *name && pool.owner.as_ref() == Some(name));
        match (node.has(Fault::HighLoad), carries) {
            (true, _) => Load {
                cpu_percent: 95,
                disk_percent: 91,
            },
            (false, true) => Load {
                cpu_percent: 28,
                disk_percent: 22,
            },
            (false, false) => Load {
                cpu_percent: 14,
                disk_percent: 11,
            },
        }
    }
}

fn not_up(name: &NodeName) -> PlatformError {
    PlatformError::Unavailable(format!("node {name} is not up"))
}

/// The same for a name at any time: digits, as they are on a label.
fn machine(name: &NodeName) -> MachineId {
    // FNV-1a.
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let number = name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    MachineId {
        serial_number: Some(format!("7{:011}", number % 100_000_000_000)),
        system_id: Some(format!("5{:09}", number % 1_000_000_000)),
    }
}

fn time_sync(node: &Node) -> TimeSync {
    TimeSync {
        synchronized: !node.has(Fault::NoTimeSource),
        offset_ms: if node.has(Fault::ClockSkew) {
            300_000
        } else {
            2
        },
    }
}

fn space(node: &Node) -> Space {
    if node.has(Fault::FillDisk) {
        return Space {
            store_free: 0,
            slot_free: 0,
            root_free: 0,
        };
    }
    node.space
}

fn texts(node: &Node, fault: Fault, text: String) -> Reply {
    Reply::Texts(if node.has(fault) {
        vec![text]
    } else {
        Vec::new()
    })
}
