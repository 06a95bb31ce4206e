//! Faults of the simulated hardware, as data.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! faults {
    ($($variant:ident, $name:literal, $text:literal;)*) => {
        /// Something that is wrong with one node, until it is cleared.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "kebab-case")]
        pub enum Fault {
            $(#[doc = $text] $variant,)*
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it does, in one sentence.
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

faults! {
    PowerOff, "power-off", "The node loses power and stays without.";
    HangBoot, "hang-boot", "A boot of the node hangs; clearing it lets the boot go on.";
    SlowBoot, "slow-boot", "A boot of the node takes ten times as long: twenty minutes.";
    Flap, "flap", "The node resets itself half a minute after each boot.";
    NoDaemon, "no-daemon", "The node boots, but its evenkeeld does not start there.";
    BadImage, "bad-image", "An image that is not proven good fails to boot on the node.";
    RefuseTakeover, "refuse-takeover", "The partner's HA engine refuses to take the node over.";
    FailTakeover, "fail-takeover", "A pool of the node does not start on the partner: a takeover is undone by the HA engine.";
    RefuseGiveback, "refuse-giveback", "The partner's HA engine refuses to give the node its pools back.";
    HoldTakeover, "hold-takeover", "The partner's HA engine does not take the node over for now.";
    HoldGiveback, "hold-giveback", "The partner's HA engine does not give the node its pools back for now.";
    DisableHa, "disable-ha", "Takeover is switched off in the node's pair.";
    DegradePool, "degrade-pool", "A pool of the node has lost its redundancy.";
    ResyncPool, "resync-pool", "A pool of the node is rebuilding.";
    Scrub, "scrub", "A scrub of a pool of the node is running.";
    LosePath, "lose-path", "The node has lost one of two paths to a disk.";
    FailDisk, "fail-disk", "A disk of the node has failed.";
    HideDisk, "hide-disk", "A disk is seen by the partner but not by the node.";
    LifDown, "lif-down", "A LIF of the node is down.";
    LifAway, "lif-away", "A LIF of the node has moved to the partner.";
    NoFailoverTarget, "no-failover-target", "The partner could not host a LIF of the node.";
    HighLoad, "high-load", "The node is too busy to carry its partner's work too.";
    ExclusiveJob, "exclusive-job", "A job that a takeover would break is running on the node.";
    SpDead, "sp-dead", "The node's service processor does not answer.";
    SpCorrupt, "sp-corrupt", "The image of the node's service processor is corrupt.";
    ClockSkew, "clock-skew", "The node's clock is five minutes off.";
    NoTimeSource, "no-time-source", "The node follows no time source.";
    ReadonlySlot, "readonly-slot", "The node's boot medium cannot be written.";
    FillDisk, "fill-disk", "The node's disk is full.";
    Alert, "alert", "A health alert of the node is open.";
    SoftMount, "soft-mount", "A client that a takeover would hurt uses the node.";
    WitnessLost, "witness-lost", "The cluster's witness does not vote on the node's side.";
    NoFencing, "no-fencing", "The node has no means to fence its partner.";
    FencingUntested, "fencing-untested", "The node's fencing was last tested three months ago.";
    SpCut, "sp-cut", "The partner cannot reach the node's service processor through the network.";
    NoAutoboot, "no-autoboot", "A boot of the node stops at the loader's prompt; clearing it lets the boot go on.";
    BootMenu, "boot-menu", "A boot of the node stops in the boot menu; clearing it lets the boot go on.";
    IomDead, "iom-dead", "An I/O module of the pair's shelf does not answer the node.";
    ShelfSensor, "shelf-sensor", "A fan of the pair's shelf stands still, says the node.";
    UnownedDisk, "unowned-disk", "The node sees a disk that belongs to no one.";
    LoseDomain, "lose-domain", "The node has no working port in a broadcast domain of its pair.";
    OldSmb, "old-smb", "A client of an old SMB dialect uses the node.";
    SinglePath, "single-path", "A SAN host has paths through the node only.";
    ForeignVersion, "foreign-version", "The manifest of the node's running slot names a version of long ago.";
    Cut, "cut", "Nothing gets through between the node and the record or its peers.";
    Slow, "slow", "Every message of the node to the record or its peers takes 300 ms longer.";
    FwBusy, "fw-busy", "The node's first drive, module A of its shelf and its SP are too busy to take firmware.";
    FwSlow, "fw-slow", "They take it five times as slowly.";
    FwWrongImage, "fw-wrong-image", "They say that the firmware is not for them.";
    FwAttention, "fw-attention", "They answer the last piece with a unit attention though they took it; the SP forgets the task.";
    FwPowerLoss, "fw-power-loss", "The next of them that is brought firmware loses power in the middle, once.";
    FwPathLoss, "fw-path-loss", "The way to them is lost in the middle of the firmware, until this is cleared.";
    FwLongReset, "fw-long-reset", "They take ten minutes to come back with new firmware.";
    FwUnchanged, "fw-unchanged", "They say that all went well, and run the old firmware.";
    FwNodeLoss, "fw-node-loss", "The node is lost in the middle of the next firmware that it brings to them, once.";
    BlindPair, "blind-pair", "The node cannot see its HA pair.";
    BlindSlots, "blind-slots", "The node cannot see its boot slots.";
    BlindPools, "blind-pools", "The node cannot see its pools.";
    BlindLifs, "blind-lifs", "The node cannot see its LIFs.";
    BlindDisks, "blind-disks", "The node cannot see its disks.";
    BlindLoad, "blind-load", "The node cannot see its load.";
    BlindSp, "blind-sp", "The node cannot ask for its service processor.";
    BlindTime, "blind-time", "The node cannot see its time synchronisation.";
    BlindJobs, "blind-jobs", "The node cannot see its exclusive jobs.";
    BlindAlerts, "blind-alerts", "The node cannot see its health alerts.";
    BlindClients, "blind-clients", "The node cannot see its clients.";
    BlindSpace, "blind-space", "The node cannot see its free space.";
    BlindWitness, "blind-witness", "The node cannot see how the cluster's witness votes.";
    BlindFencing, "blind-fencing", "The node cannot see how it would fence its partner.";
    BlindPartnerSp, "blind-partner-sp", "The node cannot ask for its partner's service processor.";
    BlindBoot, "blind-boot", "The node cannot see its boot loader's settings.";
    BlindShelves, "blind-shelves", "The node cannot see its shelves.";
    BlindOwnership, "blind-ownership", "The node cannot see whose its disks are.";
    BlindPorts, "blind-ports", "The node cannot see its ports.";
    BlindSessions, "blind-sessions", "The node cannot see how its clients are connected.";
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no fault {0:?}")]
pub struct NoSuchFault(pub String);

impl FromStr for Fault {
    type Err = NoSuchFault;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|fault| fault.name() == name);
        found.copied().ok_or_else(|| NoSuchFault(name.to_owned()))
    }
}
