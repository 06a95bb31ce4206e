//! Every check: red, blind, and silent on a healthy cluster.

use std::collections::BTreeSet;

use evenkeel_model::*;
use evenkeel_planner::{CheckInput, PostInput, check, post_check};

use crate::world::*;

fn findings(world: &World) -> Vec<Finding> {
    let target = new();
    world.input(|input| {
        check(&CheckInput {
            trusted_keys: &input.control.trusted_keys,
            topology: input.topology,
            catalogue: input.catalogue,
            observations: input.observations,
            target: &target,
            gates: &input.control.gates,
            survives_without: input.survives_without,
        })
    })
}

fn post_findings(world: &World) -> Vec<Finding> {
    let nodes = NAMES.map(name).into();
    post_check(&PostInput {
        topology: &world.topology,
        observations: &world.observations,
        target: &old(),
        nodes: &nodes,
    })
}

fn set<T>(observed: &mut Observed<T>, change: impl FnOnce(&mut T)) {
    match observed {
        Observed::Known { value, .. } => change(value),
        Observed::Unknown { .. } => panic!("unknown"),
    }
}

/// Changes how n2 would fence n1.
fn fence(world: &mut World, change: impl FnOnce(&mut FencingState)) {
    world.override_node("n2", |seen| {
        set(&mut seen.fencing, |fencing| {
            change(fencing.as_mut().unwrap())
        });
    });
}

fn fence_by_sp(world: &mut World, node: &str) {
    world.override_node(node, |seen| {
        set(&mut seen.fencing, |fencing| {
            fencing.as_mut().unwrap().device = FenceDevice::ServiceProcessor;
        });
    });
}

fn sp_silent(world: &mut World) {
    world.override_node("n2", |seen| {
        seen.partner_sp = known(Some(PartnerSp {
            reachable: false,
            absent: false,
        }));
    });
}

fn risk(world: &mut World, kind: ClientRiskKind, what: &str) {
    let what = what.to_owned();
    world.override_node("n2", |seen| {
        seen.client_risks = known(vec![ClientRisk { kind, what }]);
    });
}

type Break = fn(&mut World);
type Red = (&'static str, Severity, &'static str, &'static str, Break);
use Severity::{Error, Warning};

const HA: &str = "High Availability status";
const QUORUM: &str = "Cluster quorum status check";
const LIF_HOME: &str = "LIFs is on home node Status";
const LIF_FAILOVER: &str = "LIF failover capability status";
const POOLS: &str = "Aggregate online status and parity check";
const DISKS: &str = "Disk status check for failed, broken or non-compatibility";
const QUALIFICATION: &str = "Disk Qualification Package status";
const SHELVES: &str = "Shelves and Sensors check";
const LOAD: &str = "CPU Utilization Status";
const JOBS: &str = "Running Jobs Status";
const SP: &str = "Node to SP/BMC connectivity";
const TIME: &str = "Time synchronization status";
const ALERTS: &str = "Platform Health Monitor check";
const NFS: &str = "NFS mounts";
const PREVIOUS: &str = "Data ONTAP Version and Previous Upgrade Status";
const PATH: &str = "Upgrade Version Compatibility Status";
const IMAGE: &str = "Compatible New Image Check";
const SLOTS: &str = "ONTAP Image Capability Status";
const SPACE: &str = "Root file system space";
const FENCING: &str = "Fencing configuration and test status";
const DOMAINS: &str = "Broadcast Domain availability and uniqueness for HA pair status";
const PARTNER_SP: &str = "Check For SP/BMC Connectivity To Nodes";
const AUTOBOOT: &str = "Autoboot Bootargs Status";
const BOOT_MENU: &str = "Boot Menu Status";
const CIFS: &str = "CIFS compatibility status check";
const SAN: &str = "SAN LIF association";
const MANUAL: &str = "Manual checks";
const GATE_SCRIPT: &str = "Gate script status";

/// A disk that the disk qualification package does not vouch for.
fn unqualified(world: &mut World, minimum: Option<&str>) {
    let parse = |text: &str| text.parse::<FirmwareRevision>().unwrap();
    let disk = UnqualifiedDisk {
        disk: "D1".to_owned(),
        model: "X1".parse().unwrap(),
        runs: parse("NA01"),
        minimum: minimum.map(parse),
    };
    let firmware = FirmwareStatus {
        unqualified: vec![disk],
        ..FirmwareStatus::default()
    };
    world.override_node("n3", |seen| seen.firmware = known(firmware));
}

/// Check, severity, what the issue says, what the action says, and what breaks it.
const RED: &[Red] = &[
    (
        QUALIFICATION,
        Warning,
        "Disk D1 is of a model that is not qualified: X1",
        "newest disk qualification package",
        |w| unqualified(w, None),
    ),
    (
        QUALIFICATION,
        Warning,
        "Disk D1 (X1) runs NA01; NA02 or newer is qualified",
        "disks' firmware up to date",
        |w| unqualified(w, Some("NA02")),
    ),
    (
        JOBS,
        Error,
        "Node \"n3\" writes firmware: disk D1: writing",
        "Wait until it is written",
        |w| {
            let firmware = FirmwareStatus {
                work: vec!["disk D1: writing".to_owned()],
                ..FirmwareStatus::default()
            };
            w.override_node("n3", |seen| seen.firmware = known(firmware));
        },
    ),
    (HA, Error, "\"n2\" has no HA partner", "Configure", |w| {
        w.override_node("n2", |seen| seen.pair = known(None));
    }),
    (
        HA,
        Warning,
        "Single-node cluster: data is not served while node \"n1\" reboots",
        "nobody needs the data",
        |w| {
            let mut alone = w.topology.nodes[0].clone();
            alone.partner = None;
            let (id, name) = (w.topology.id, w.topology.name.clone());
            w.topology = Topology::new(id, name, vec![alone]).unwrap();
            w.override_node("n1", |seen| seen.pair = known(None));
        },
    ),
    (
        HA,
        Error,
        "not enabled on node \"n2\"",
        "Enable storage failover",
        |w| {
            w.override_pair("n2", |pair| pair.enabled = false);
        },
    ),
    (
        HA,
        Error,
        "\"n3\" does not serve its own storage: it is down",
        "into service",
        |w| {
            w.override_ha("n3", MemberHa::Down);
        },
    ),
    (
        HA,
        Error,
        "\"n4\" is taken over by node \"n3\"",
        "giveback",
        |w| {
            w.take_over_by_hand("n4");
        },
    ),
    (
        HA,
        Error,
        "could not take over node \"n1\": a coredump",
        "veto",
        |w| {
            w.override_pair("n2", |pair| {
                pair.takeover_veto = Some("a coredump".to_owned())
            });
        },
    ),
    (
        HA,
        Error,
        "could not give back to node \"n2\": a lock",
        "veto",
        |w| {
            w.override_pair("n1", |pair| pair.giveback_veto = Some("a lock".to_owned()));
        },
    ),
    (
        QUORUM,
        Error,
        "\"n3\" cannot reach the cluster's record",
        "Restore",
        |w| {
            w.override_node("n3", |seen| {
                set(&mut seen.quorum, |q| q.record_reachable = false)
            });
        },
    ),
    (
        QUORUM,
        Error,
        "\"n2\" does not answer node \"n3\"",
        "Restore the link",
        |w| {
            w.override_node("n3", |seen| {
                set(&mut seen.quorum, |q| q.silent.push(name("n2")))
            });
        },
    ),
    (
        QUORUM,
        Error,
        "cannot go on while node \"n1\" is down: only n1",
        "redundancy",
        |w| {
            w.indispensable.insert(name("n1"));
        },
    ),
    (
        HA,
        Error,
        "\"n1\" is paired with \"n3\", not as configured",
        "topology",
        |w| {
            w.override_pair("n1", |pair| pair.partner.node = name("n3"));
        },
    ),
    (
        QUORUM,
        Error,
        "Witness \"witness\" does not vote on the side of node \"n2\"",
        "Restore the witness",
        |w| {
            w.override_node("n2", |seen| {
                set(&mut seen.witness, |w| w.as_mut().unwrap().votes = false)
            });
        },
    ),
    (
        FENCING,
        Error,
        "\"n2\" has no means to fence node \"n1\"",
        "Configure fencing",
        |w| {
            w.override_node("n2", |seen| seen.fencing = known(None));
        },
    ),
    (
        FENCING,
        Error,
        "Fencing of node \"n1\" by node \"n2\" is switched off",
        "Switch fencing on",
        |w| {
            fence(w, |fencing| fencing.enabled = false);
        },
    ),
    (
        FENCING,
        Error,
        "by node \"n2\" was last tested 31 days ago",
        "Run the fence test",
        |w| {
            fence(w, |fencing| fencing.tested_s_ago = Some(31 * 86_400));
        },
    ),
    (
        FENCING,
        Error,
        "was never tested",
        "Run the fence test",
        |w| {
            fence(w, |fencing| fencing.tested_s_ago = None);
        },
    ),
    (
        FENCING,
        Error,
        "Fence device \"pdu\" does not answer node \"n2\"",
        "Repair the fence device",
        |w| {
            fence(w, |fencing| {
                fencing.device = FenceDevice::Other {
                    name: "pdu".to_owned(),
                    answers: false,
                };
            });
        },
    ),
    (
        DOMAINS,
        Error,
        "\"n2\" has no working port in broadcast domain \"data\" of node \"n1\"",
        "both partners",
        |w| {
            w.override_node("n2", |seen| set(&mut seen.ports, |p| p[0].up = false));
        },
    ),
    (
        LIF_HOME,
        Warning,
        "\"lif_n1\" is on node \"n2\", not \"n1\"",
        "Revert",
        |w| {
            w.override_node("n1", |seen| {
                set(&mut seen.lifs, |l| l[0].current = Some(name("n2")))
            });
        },
    ),
    (
        LIF_HOME,
        Error,
        "\"lif_n1\" is down",
        "Bring the LIF up",
        |w| {
            w.override_node("n1", |seen| set(&mut seen.lifs, |l| l[0].current = None));
        },
    ),
    (
        LIF_FAILOVER,
        Error,
        "\"lif_n1\" has no port",
        "failover target",
        |w| {
            w.override_node("n1", |seen| {
                set(&mut seen.lifs, |l| l[0].has_failover_target = false)
            });
        },
    ),
    (
        POOLS,
        Warning,
        "scrub runs on pool \"pool_n1\"",
        "Wait",
        |w| {
            w.override_node("n1", |seen| set(&mut seen.pools, |p| p[0].scrubbing = true));
        },
    ),
    (POOLS, Error, "\"pool_n1\" is resyncing", "Wait", |w| {
        w.override_node("n1", |s| {
            set(&mut s.pools, |p| p[0].health = PoolHealth::Resyncing)
        });
    }),
    (
        POOLS,
        Error,
        "\"pool_n1\" is degraded",
        "Replace the failed disk",
        |w| {
            w.override_node("n1", |s| {
                set(&mut s.pools, |p| p[0].health = PoolHealth::Degraded)
            });
        },
    ),
    (POOLS, Error, "\"pool_n1\" is offline", "online", |w| {
        w.override_node("n1", |s| {
            set(&mut s.pools, |p| p[0].health = PoolHealth::Offline)
        });
    }),
    // Its owner serves it, and says nothing of it either.
    (
        POOLS,
        Error,
        "health of pool \"pool_n1\" is not known: node \"n1\"",
        "storage of the node that serves",
        |w| {
            for node in ["n1", "n2"] {
                w.override_node(node, |s| set(&mut s.pools, |p| p[0].unseen = true));
            }
        },
    ),
    (DISKS, Error, "Disk D1n1 has failed", "Replace", |w| {
        w.override_node("n1", |seen| set(&mut seen.disks, |d| d[0].failed = true));
    }),
    (
        DISKS,
        Error,
        "D2n3 is visible to node \"n3\" but not to node \"n4\"",
        "cabling",
        |w| {
            w.override_node("n4", |seen| set(&mut seen.disks, |d| drop(d.pop())));
        },
    ),
    (DISKS, Error, "Disk D9 belongs to no node", "Assign", |w| {
        w.override_node("n1", |seen| {
            seen.unowned_disks = known(vec![DiskSerial::new("D9").unwrap()]);
        });
    }),
    (
        SHELVES,
        Error,
        "I/O module B of shelf S1n1 does not work",
        "module",
        |w| {
            w.override_node("n1", |s| {
                set(&mut s.shelves, |s| s[0].modules[1].ok = false)
            });
        },
    ),
    (
        SHELVES,
        Error,
        "Shelf S1n1 has 1 I/O module(s), not two",
        "missing module",
        |w| {
            w.override_node("n1", |s| set(&mut s.shelves, |s| drop(s[0].modules.pop())));
        },
    ),
    (
        SHELVES,
        Warning,
        "sensor of shelf S1n1 is out of its limits: a fan",
        "Repair",
        |w| {
            w.override_node("n1", |s| {
                set(&mut s.shelves, |s| s[0].sensors.push("a fan".to_owned()))
            });
        },
    ),
    (
        SHELVES,
        Error,
        "\"n1\" has 1 path(s) to disk D1n1",
        "Repair the path",
        |w| {
            w.override_node("n1", |seen| set(&mut seen.disks, |d| d[0].paths = 1));
        },
    ),
    (
        LOAD,
        Warning,
        "\"n1\" is busy: CPU 51 %",
        "Lower the load",
        |w| {
            w.override_node("n1", |seen| set(&mut seen.load, |l| l.cpu_percent = 51));
        },
    ),
    (LOAD, Error, "disks 86 %", "Lower the load", |w| {
        w.override_node("n1", |seen| set(&mut seen.load, |l| l.disk_percent = 86));
    }),
    (
        LOAD,
        Warning,
        "\"n1\" and \"n2\" together need 90 % of one node's CPU",
        "of the pair",
        |w| {
            for node in ["n1", "n2"] {
                w.override_node(node, |seen| set(&mut seen.load, |l| l.cpu_percent = 45));
            }
        },
    ),
    (
        LOAD,
        Error,
        "101 % of its disks' time",
        "of the pair",
        |w| {
            w.override_node("n1", |seen| set(&mut seen.load, |l| l.disk_percent = 71));
        },
    ),
    (
        JOBS,
        Error,
        "On node \"n4\" runs: a volume move",
        "Wait",
        |w| {
            w.override_node("n4", |s| {
                set(&mut s.exclusive_jobs, |j| {
                    j.push("a volume move".to_owned())
                })
            });
        },
    ),
    (
        SP,
        Warning,
        "service processor of node \"n2\" does not answer",
        "Reboot",
        |w| {
            w.override_node("n2", |seen| set(&mut seen.sp, |sp| sp.reachable = false));
        },
    ),
    (
        SP,
        Error,
        "\"n2\" does not answer. The node is fenced through it",
        "Reboot",
        |w| {
            w.override_node("n2", |seen| set(&mut seen.sp, |sp| sp.reachable = false));
            fence_by_sp(w, "n1");
        },
    ),
    (
        PARTNER_SP,
        Warning,
        "service processor of node \"n1\" does not answer node \"n2\" over the network.",
        "Repair the service processor's network",
        |w| sp_silent(w),
    ),
    (
        PARTNER_SP,
        Error,
        "\"n2\" over the network. The node is fenced through it",
        "Repair the service processor's network",
        |w| {
            sp_silent(w);
            fence_by_sp(w, "n2");
        },
    ),
    (
        AUTOBOOT,
        Error,
        "\"n2\" would stop at its boot loader's prompt",
        "autoboot on",
        |w| {
            w.override_node("n2", |s| set(&mut s.boot_settings, |b| b.autoboot = false));
        },
    ),
    (
        BOOT_MENU,
        Warning,
        "\"n2\" would stop in its boot menu",
        "Clear",
        |w| {
            w.override_node("n2", |s| {
                set(&mut s.boot_settings, |b| b.stops_in_menu = true)
            });
        },
    ),
    (CIFS, Warning, "disturbed: SMB 1", "SMB 3", |w| {
        risk(w, ClientRiskKind::OldSmb, "SMB 1");
    }),
    (SAN, Warning, "disturbed: host h1", "both partners", |w| {
        risk(w, ClientRiskKind::SinglePath, "host h1");
    }),
    (
        SP,
        Warning,
        "image of node \"n2\" is corrupt",
        "firmware again",
        |w| {
            w.override_node("n2", |seen| set(&mut seen.sp, |sp| sp.image_ok = false));
        },
    ),
    (
        TIME,
        Warning,
        "\"n2\" follows no time source",
        "Configure",
        |w| {
            w.override_node("n2", |seen| {
                set(&mut seen.time_sync, |t| t.synchronized = false)
            });
        },
    ),
    (TIME, Error, "off by -5001 ms", "Correct the clock", |w| {
        w.override_node("n2", |seen| {
            set(&mut seen.time_sync, |t| t.offset_ms = -5001)
        });
    }),
    (
        ALERTS,
        Warning,
        "\"n2\" has an open alert: a fan",
        "Resolve",
        |w| {
            w.override_node("n2", |seen| {
                set(&mut seen.alerts, |a| a.push("a fan".to_owned()))
            });
        },
    ),
    (
        NFS,
        Warning,
        "may be disturbed: a soft mount",
        "hard mounts",
        |w| {
            w.override_node("n2", |s| {
                set(&mut s.client_hazards, |h| h.push("a soft mount".to_owned()))
            });
        },
    ),
    (
        PREVIOUS,
        Error,
        "run 3 versions: 8.9, 9.0, 9.1",
        "previous update",
        |w| {
            w.override_node("n1", |seen| seen.version = known(version("8.9")));
            w.override_node("n2", |seen| seen.version = known(version("9.0")));
        },
    ),
    (
        PREVIOUS,
        Error,
        "run 2 versions: 9.0, 9.1. An update to 9.2",
        "previous update",
        |w| {
            w.override_node("n1", |seen| seen.version = known(version("9.0")));
        },
    ),
    (
        PATH,
        Error,
        "\"n1\" runs 9.1, from which 9.2 cannot be reached",
        "in between",
        |w| {
            w.override_package(|p| p.source_versions = SourceVersions::Only(vec![version("9.0")]));
        },
    ),
    (
        IMAGE,
        Error,
        "9.2 is not in the repository",
        "Get the package",
        |w| {
            w.catalogue.packages.clear();
        },
    ),
    (
        IMAGE,
        Error,
        "for other-hw; node \"n1\" is lab-x86_64",
        "this platform",
        |w| {
            w.override_package(|p| p.platform = PlatformName::new("other-hw").unwrap());
        },
    ),
    (
        IMAGE,
        Error,
        "Package 9.2 is not on node \"n4\"",
        "reached every node",
        |w| {
            w.override_node("n4", |seen| seen.packages = known(vec![old_image()]));
        },
    ),
    (
        GATE_SCRIPT,
        Error,
        "Node \"n2\" has no script for the gate",
        "gate_script in [update]",
        |w| {
            w.control.gates.conditions = vec![GateCondition::Script];
            w.override_node("n2", |seen| seen.gate_script = known(false));
        },
    ),
    (
        IMAGE,
        Error,
        "is not signed, and is refused so by \"n2\", \"n3\"",
        "signed with a trusted key",
        |w| {
            w.override_node("n2", |seen| seen.accepts_unsigned = false);
            w.override_node("n3", |seen| seen.accepts_unsigned = false);
        },
    ),
    (
        IMAGE,
        Error,
        "is signed with key id, which admin revoked",
        "signed with a trusted key",
        |w| {
            let entry = w.catalogue.packages.get_mut(&new_image()).unwrap();
            entry.package.signed_by = Some("id".to_owned());
            w.control.trusted_keys = vec![TrustedKey {
                key_id: "id".to_owned(),
                public_key: String::new(),
                name: None,
                since: wall(),
                by: None,
                revoked: Some((wall(), user())),
            }];
        },
    ),
    (
        SLOTS,
        Error,
        "slots of node \"n2\" cannot be written",
        "boot medium",
        |w| {
            w.slots("n2", |slots| slots.writable = false);
        },
    ),
    (
        SLOTS,
        Warning,
        "\"n2\" runs slot a, but would boot slot b",
        "Find out why",
        |w| {
            w.slots("n2", |slots| slots.default = Slot::B);
        },
    ),
    (
        SLOTS,
        Error,
        "running slot of node \"n2\" is not marked good",
        "fallback",
        |w| {
            w.slots("n2", |slots| {
                slots.a.health = SlotHealth::Untried { tries: 2 }
            });
        },
    ),
    (
        SLOTS,
        Error,
        "needs 1048576 bytes; node \"n2\" has 7",
        "Free space",
        |w| {
            w.override_node("n2", |seen| set(&mut seen.space, |s| s.slot_free = 7));
        },
    ),
    (
        SPACE,
        Error,
        "\"n2\" has 9 bytes left",
        "Free at least 64 MiB",
        |w| {
            w.override_node("n2", |seen| set(&mut seen.space, |s| s.root_free = 9));
        },
    ),
    (
        MANUAL,
        Warning,
        "asks for a manual check: read this",
        "acknowledge",
        |w| {
            w.override_package(|p| p.manual_steps.push("read this".to_owned()));
        },
    ),
];

/// The kind of observation that each check needs, made unknown on a node.
const BLIND: &[(&str, Break)] = &[
    (GATE_SCRIPT, |w| {
        w.control.gates.conditions = vec![GateCondition::Script];
        w.override_node("n3", |seen| seen.gate_script = unknown())
    }),
    (HA, |w| w.override_node("n3", |seen| seen.pair = unknown())),
    (QUORUM, |w| {
        w.override_node("n3", |seen| seen.quorum = unknown())
    }),
    (LIF_HOME, |w| {
        w.override_node("n3", |seen| seen.lifs = unknown())
    }),
    (LIF_FAILOVER, |w| {
        w.override_node("n3", |seen| seen.lifs = unknown())
    }),
    (POOLS, |w| {
        w.override_node("n3", |seen| seen.pools = unknown())
    }),
    (DISKS, |w| {
        w.override_node("n3", |seen| seen.disks = unknown())
    }),
    (DISKS, |w| {
        w.override_node("n3", |seen| seen.unowned_disks = unknown())
    }),
    (SHELVES, |w| {
        w.override_node("n3", |seen| seen.disks = unknown())
    }),
    (SHELVES, |w| {
        w.override_node("n3", |seen| seen.shelves = unknown())
    }),
    (QUORUM, |w| {
        w.override_node("n3", |seen| seen.witness = unknown())
    }),
    (FENCING, |w| {
        w.override_node("n3", |seen| seen.fencing = unknown())
    }),
    (DOMAINS, |w| {
        w.override_node("n3", |seen| seen.ports = unknown())
    }),
    (PARTNER_SP, |w| {
        w.override_node("n3", |seen| seen.partner_sp = unknown())
    }),
    (AUTOBOOT, |w| {
        w.override_node("n3", |seen| seen.boot_settings = unknown())
    }),
    (BOOT_MENU, |w| {
        w.override_node("n3", |seen| seen.boot_settings = unknown())
    }),
    (CIFS, |w| {
        w.override_node("n3", |seen| seen.client_risks = unknown())
    }),
    (SAN, |w| {
        w.override_node("n3", |seen| seen.client_risks = unknown())
    }),
    (LOAD, |w| {
        w.override_node("n3", |seen| seen.load = unknown())
    }),
    (JOBS, |w| {
        w.override_node("n3", |seen| seen.exclusive_jobs = unknown())
    }),
    (SP, |w| w.override_node("n3", |seen| seen.sp = unknown())),
    (TIME, |w| {
        w.override_node("n3", |seen| seen.time_sync = unknown())
    }),
    (ALERTS, |w| {
        w.override_node("n3", |seen| seen.alerts = unknown())
    }),
    (NFS, |w| {
        w.override_node("n3", |seen| seen.client_hazards = unknown())
    }),
    (PREVIOUS, |w| {
        w.override_node("n3", |seen| seen.version = unknown())
    }),
    (PATH, |w| {
        w.override_node("n3", |seen| seen.version = unknown())
    }),
    (IMAGE, |w| {
        w.override_node("n3", |seen| seen.packages = unknown())
    }),
    (SLOTS, |w| {
        w.override_node("n3", |seen| seen.slots = unknown())
    }),
    (SLOTS, |w| {
        w.override_node("n3", |seen| seen.space = unknown())
    }),
    (SPACE, |w| {
        w.override_node("n3", |seen| seen.space = unknown())
    }),
];

#[test]
fn a_healthy_cluster_has_no_findings() {
    let world = World::update();
    assert_eq!(findings(&world), []);
    assert_eq!(post_findings(&world), []);
}

#[test]
fn every_check_turns_red_with_issue_and_action() {
    for (check, severity, issue, action, breaks) in RED {
        let mut world = World::update();
        breaks(&mut world);
        let found = findings(&world);
        let finding = found
            .iter()
            .find(|f| f.check == *check && f.severity == *severity)
            .unwrap_or_else(|| panic!("{check} ({issue}) is not red: {found:?}"));
        assert!(finding.issue.contains(issue), "{issue}: {}", finding.issue);
        assert!(
            finding.action.contains(action),
            "{action}: {}",
            finding.action
        );
    }
}

#[test]
fn every_check_but_the_manual_ones_needs_an_observation() {
    let red: BTreeSet<&str> = RED.iter().map(|(check, ..)| *check).collect();
    let mut blind: BTreeSet<&str> = BLIND.iter().map(|(check, _)| *check).collect();
    blind.insert(QUALIFICATION);
    let only_package: Vec<&&str> = red.difference(&blind).collect();
    assert_eq!(only_package, [&MANUAL]);
}

#[test]
fn a_check_that_cannot_run_is_an_error() {
    for (check, blinds) in BLIND {
        let mut world = World::update();
        blinds(&mut world);
        let found = findings(&world);
        let finding = found
            .iter()
            .find(|f| f.check == *check && f.severity == Error)
            .unwrap_or_else(|| panic!("{check} passed blindly: {found:?}"));
        let expected = "could not run on node \"n3\": the probe timed out";
        assert!(finding.issue.contains(expected), "{}", finding.issue);
        assert!(finding.action.contains("validate again"));
    }
}

#[test]
fn disks_that_cannot_be_asked_what_they_run_warn() {
    let mut world = World::update();
    world.override_node("n3", |seen| seen.firmware = unknown());
    let found = findings(&world);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].check.as_str(), found[0].severity),
        (QUALIFICATION, Warning)
    );
}

#[test]
fn of_a_silent_node_every_check_is_blind() {
    let mut world = World::update();
    world.control.gates.conditions = vec![GateCondition::Script];
    world.silence("n3", std::time::Duration::from_secs(1));
    let found = findings(&world);
    let mut blind: BTreeSet<&str> = BLIND.iter().map(|(check, _)| *check).collect();
    blind.insert(QUALIFICATION);
    let errors: BTreeSet<&str> = found.iter().map(|f| f.check.as_str()).collect();
    assert_eq!(errors, blind);
    assert!(
        found
            .iter()
            .all(|f| f.severity == Error && f.issue.contains("\"n3\""))
    );
    world.observations.remove(&name("n3"));
    let found = findings(&world);
    assert!(
        found.iter().all(|f| f.issue.contains("it was not asked")),
        "{found:?}"
    );
}

#[test]
fn many_troubles_make_one_finding_a_check_and_severity() {
    let mut world = World::update();
    for (_, _, issue, _, breaks) in RED {
        let partnerless = issue.contains("has no HA partner");
        let packageless = issue.contains("not in the repository");
        let fenceless = issue.contains("no means to fence");
        let elsewhere = issue.contains("is paired with");
        let single = issue.contains("Single-node");
        if !single && !partnerless && !packageless && !fenceless && !elsewhere {
            breaks(&mut world);
        }
    }
    let found = findings(&world);
    let keys: BTreeSet<(&str, Severity)> = found
        .iter()
        .map(|f| (f.check.as_str(), f.severity))
        .collect();
    assert_eq!(keys.len(), found.len());
    let ha = found.iter().find(|f| f.check == HA).unwrap();
    // Both partners see that n3 is down: it is said once.
    assert_eq!(ha.issue.matches("Node \"n3\" does not serve").count(), 1);
    assert!(ha.issue.contains("n4"), "{}", ha.issue);
}

#[test]
fn a_failed_update_may_leave_two_versions() {
    let mut world = World::update();
    world.override_node("n1", |seen| seen.version = known(new()));
    assert_eq!(findings(&world), []);
}

/// A node that does not see a pool's storage says nothing of it: its owner's word is the one that counts.
#[test]
fn a_pool_is_judged_by_who_sees_it() {
    let unseen = |world: &mut World| {
        world.override_node("n2", |s| {
            set(&mut s.pools, |p| {
                (p[0].unseen, p[0].health) = (true, PoolHealth::Offline);
            });
        });
    };
    let mut world = World::update();
    unseen(&mut world);
    assert_eq!(findings(&world), []);
    assert_eq!(post_findings(&world), []);
    world.override_node("n1", |s| {
        set(&mut s.pools, |p| p[0].health = PoolHealth::Degraded);
    });
    let found = findings(&world);
    assert_eq!(found.len(), 1);
    assert!(found[0].issue.contains("\"pool_n1\" is degraded"));
}

#[test]
fn post_update_checks_look_at_pools_and_pairs() {
    let mut world = World::update();
    world.take_over_by_hand("n4");
    world.override_node("n3", |s| {
        set(&mut s.pools, |p| p[1].owner = Some(name("n3")))
    });
    let found = post_findings(&world);
    let names: Vec<&str> = found.iter().map(|f| f.check.as_str()).collect();
    assert_eq!(names, ["Aggregate Health Status", "HA Health Status"]);
    assert!(
        found[0]
            .issue
            .contains("\"pool_n4\" is not with its home node")
    );
    assert!(found[1].issue.contains("taken over"));

    let mut world = World::update();
    world.override_node("n3", |seen| {
        (seen.pools, seen.pair, seen.lifs) = (unknown(), unknown(), unknown());
        (seen.disks, seen.version) = (unknown(), unknown());
    });
    let found = post_findings(&world);
    assert_eq!(found.len(), 5);
    assert!(
        found
            .iter()
            .all(|f| f.severity == Error && f.issue.contains("could not run"))
    );
}

/// The operators' table names every check with its severity.
#[test]
fn the_operators_guide_has_every_check() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/checks.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let documented: BTreeSet<(&str, &str)> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
        .filter_map(|(check, rest)| Some((check, rest.split_once(" | ")?.0)))
        .filter(|(_, severity)| ["error", "warning"].contains(severity))
        .collect();
    let word = |severity: &Severity| match severity {
        Error => "error",
        Warning => "warning",
    };
    let tested: BTreeSet<(&str, &str)> = RED
        .iter()
        .map(|(check, severity, ..)| (*check, word(severity)))
        .collect();
    assert_eq!(documented, tested);
}

#[test]
fn post_update_checks_look_at_lifs_paths_and_versions() {
    let mut world = World::update();
    world.override_node("n1", |s| {
        set(&mut s.lifs, |l| l[0].current = Some(name("n2")));
        set(&mut s.disks, |d| d[0].paths = 1);
        s.version = known(new());
    });
    let found = post_findings(&world);
    let names: Vec<&str> = found.iter().map(|f| f.check.as_str()).collect();
    let expected = [
        "LIF Health Status",
        "Storage Path Health Status",
        "Node Version Status",
    ];
    assert_eq!(names, expected);
    assert!(found[2].issue.contains("\"n1\" runs 9.2, not 9.1"));
}

/// A node that came up without a disk, a port or a way for its LIFs cannot carry its partner.
#[test]
fn post_update_checks_look_at_what_each_partner_could_carry() {
    type Lost = fn(&mut NodeObservation);
    let lost: [(&str, &str, Lost); 4] = [
        (
            "Storage Path Health Status",
            "visible to node \"n2\" but not to node \"n1\"",
            |s| {
                set(&mut s.disks, |disks| drop(disks.remove(0)));
            },
        ),
        ("LIF Health Status", "no port to fail over to", |s| {
            set(&mut s.lifs, |lifs| lifs[0].has_failover_target = false);
        }),
        (
            "Broadcast Domain Health Status",
            "no working port in broadcast domain \"data\"",
            |s| {
                set(&mut s.ports, |ports| ports[0].up = false);
            },
        ),
        ("Broadcast Domain Health Status", "could not run", |s| {
            s.ports = unknown()
        }),
    ];
    for (check, issue, lose) in lost {
        let mut world = World::update();
        world.override_node("n1", lose);
        let found = post_findings(&world);
        let names: Vec<&str> = found.iter().map(|f| f.check.as_str()).collect();
        assert_eq!(names, [check]);
        assert!(found[0].issue.contains(issue), "{found:?}");
    }
    let mut world = World::update();
    world.override_node("n1", |seen| seen.ports = Observed::unsaid());
    assert_eq!(
        post_findings(&world),
        [],
        "an update may leave an older daemon behind"
    );
}

/// The guide's second table names every post-update check.
#[test]
fn the_operators_guide_has_every_post_update_check() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/checks.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let (_, after) = guide.split_once("## After an update").unwrap();
    let rows = after
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let documented: BTreeSet<&str> = rows
        .map(|(check, _)| check)
        .filter(|c| *c != "check")
        .collect();
    let mut blind = World::update();
    for node in NAMES {
        blind.silence(node, std::time::Duration::ZERO);
    }
    let found = post_findings(&blind);
    let tested: BTreeSet<&str> = found.iter().map(|f| f.check.as_str()).collect();
    assert_eq!(documented, tested);
}

/// An error would forbid for good to finish what left the older daemon behind.
#[test]
fn what_an_older_daemon_does_not_say_is_a_warning() {
    let mut world = World::update();
    world.override_node("n3", |seen| seen.witness = Observed::unsaid());
    let found = findings(&world);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].check.as_str(), found[0].severity),
        (QUORUM, Warning)
    );
    assert!(
        found[0]
            .issue
            .contains("node \"n3\": its evenkeeld is of an older release")
    );
}

#[test]
fn what_a_finding_is_about_does_not_move_with_numbers() {
    let mut world = World::update();
    let busy = |world: &mut World, percent| {
        world.override_node("n1", |seen| {
            set(&mut seen.load, |load| load.cpu_percent = percent)
        });
        findings(world).remove(0)
    };
    let (before, after) = (busy(&mut world, 55), busy(&mut world, 60));
    assert_ne!(before.issue, after.issue);
    assert_eq!(before.about, after.about);
    assert!(!before.about.is_empty());
}

/// A clear line of its own for each of twenty, and how many more; the event that holds all stays small.
#[test]
fn findings_of_many_nodes_stay_readable_and_fit_an_event() {
    let (topology, seen) = crowd(512);
    let blind: ClusterObservation = topology
        .names()
        .map(|node| (node.clone(), unknown()))
        .collect();
    let all = crowd_findings(&topology, &blind);
    assert!(all.len() >= 25, "{}", all.len());
    assert!(
        all[0].issue.contains(" more: the probe timed out."),
        "{}",
        all[0].issue
    );
    assert_fits(&all);

    let mut red = seen;
    for observed in red.values_mut() {
        let Observed::Known { value, .. } = observed else {
            continue;
        };
        let node = value.node.clone();
        value.alerts = known(vec!["x\n\"".repeat(400), format!("fan of {node}")]);
        value.exclusive_jobs = known(vec!["y".repeat(5000)]);
        value.client_hazards = known(vec![format!("{node} z"); 3]);
        set(&mut value.pools, |pools| {
            pools[0].health = PoolHealth::Degraded
        });
        value.fencing = known(None);
        value.boot_settings = known(BootSettings {
            autoboot: false,
            stops_in_menu: true,
        });
        value.version = unknown();
    }
    let all = crowd_findings(&topology, &red);
    assert!(all.iter().any(|f| f.issue.ends_with(" more.")));
    assert_fits(&all);
}

/// Of silent service processors every one is kept by name, whoever accepted them: an event still holds that.
#[test]
fn the_names_of_many_silent_service_processors_fit_an_event() {
    let (topology, mut seen) = crowd(512);
    for observed in seen.values_mut() {
        let Observed::Known { value, .. } = observed else {
            continue;
        };
        set(&mut value.sp, |sp| {
            (sp.reachable, sp.image_ok) = (false, false)
        });
        value.alerts = known(vec![format!("fan of {}", value.node)]);
    }
    let findings = crowd_findings(&topology, &seen);
    let silent = findings.iter().find(|f| f.check == SP).unwrap();
    let named = silent.about.iter().filter(|name| name.ends_with(" silent"));
    assert_eq!(named.count(), 512);
    let event = OperationEvent::Validated {
        at: wall(),
        findings,
    };
    let bytes = serde_json::to_string(&event).unwrap().len();
    assert!(bytes < 56 << 10, "{bytes}");
}

fn assert_fits(findings: &[Finding]) {
    let event = OperationEvent::Validated {
        at: wall(),
        findings: findings.to_vec(),
    };
    let bytes = serde_json::to_string(&event).unwrap().len();
    assert!(bytes < 40 << 10, "{bytes}");
}

/// A healthy cluster of many nodes with long names.
fn crowd(nodes: usize) -> (Topology, ClusterObservation) {
    let world = World::update();
    let long = |n: usize| name(&format!("node-{n:03}-{}", "x".repeat(55)));
    let config = |n: usize| {
        let mut config = world.topology.nodes[0].clone();
        config.id = NodeId(uuid::Uuid::from_u128(n as u128));
        config.name = long(n);
        config.partner = Some(long(n ^ 1));
        config
    };
    let configs = (0..nodes).map(config).collect();
    let topology = Topology::new(world.topology.id, "big".to_owned(), configs).unwrap();
    let healthy = world.observations[&name("n1")].known().unwrap();
    let seen = (0..nodes).map(|n| {
        let mut seen = healthy.clone();
        seen.node = long(n);
        set(&mut seen.pair, |pair| {
            let pair = pair.as_mut().unwrap();
            (pair.local.node, pair.partner.node) = (long(n), long(n ^ 1));
        });
        (long(n), known(seen))
    });
    let seen = seen.collect();
    (topology, seen)
}

fn crowd_findings(topology: &Topology, observations: &ClusterObservation) -> Vec<Finding> {
    let world = World::update();
    let target = new();
    check(&CheckInput {
        trusted_keys: &[],
        topology,
        catalogue: &world.catalogue,
        observations,
        target: &target,
        gates: &world.control.gates,
        survives_without: &|_| Ok(()),
    })
}
