//! How ready this boot is, for the units of systemd's that wait for it: the one that marks the boot good, the one that holds
//! Pacemaker back, the one that restarts the daemon. It is told over the local socket, as what is still waited for.
//!
//! **Invariant.** What cannot be seen is waited for, never taken as well. Who asks has bounds of its own where waiting
//! would keep the node from serving.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Json, State};
use axum::routing::get;
use evenkeel_model::{
    BootId, MANIFEST_PATH, MemberHa, NodeName, OperationKind, PairState, RecordSettings, Slot,
    SlotHealth, SlotsState, Standing,
};
use evenkeel_platform::{PlatformError, SharedPlatform};
use evenkeel_record::Follower;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::cluster::Belonging;

/// Where it is asked for, on the local socket alone.
pub(crate) const PATH: &str = "/evenkeel/v1/standing";
/// How long the machine may take to show itself.
const LOOK: Duration = Duration::from_secs(5);

/// What each unit still waits for; nothing where it may go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Readiness {
    /// Who tells it.
    pub(crate) node: String,
    /// Of which boot.
    pub(crate) boot_id: String,
    /// Until the boot may be called good.
    pub(crate) good: Option<String>,
    /// Until Pacemaker may start. The journal was read before anything was told here.
    pub(crate) pacemaker: Option<String>,
    /// Until a restart of the daemon disturbs nobody.
    pub(crate) restart: Option<String>,
}

/// Sees it.
#[derive(Clone)]
pub(crate) struct Onlooker {
    pub(crate) node: NodeName,
    pub(crate) boot_id: BootId,
    pub(crate) platform: SharedPlatform,
    pub(crate) follower: Arc<Follower>,
    pub(crate) belonging: Belonging,
    /// The record is on the pair's pool: Pacemaker brings it.
    pub(crate) pacemaker_brings_the_record: bool,
}

/// Whether nobody can have the record before Pacemaker runs.
pub(crate) fn is_brought_by_pacemaker(record: &RecordSettings) -> bool {
    match record {
        RecordSettings::SharedPool(_) => true,
        RecordSettings::Sqlite { .. } | RecordSettings::Etcd(_) => false,
    }
}

/// Sees it while this node belongs to no cluster.
#[derive(Clone)]
pub(crate) struct Unjoined {
    pub(crate) node: NodeName,
    pub(crate) boot_id: BootId,
    pub(crate) platform: SharedPlatform,
    /// Whether the system that runs came in a package, and so in a boot slot: see [`is_of_a_package`].
    pub(crate) is_of_a_package: bool,
}

/// Whether the system that runs was written by an update, or made from a package: it brings its manifest along, whatever it does
/// not mount.
pub(crate) fn is_of_a_package() -> bool {
    Path::new("/").join(MANIFEST_PATH).exists()
}

impl Unjoined {
    /// `is_changing` while it begins a cluster or joins one.
    pub(crate) async fn look(&self, is_changing: bool) -> Readiness {
        let (slots, pair) = machine(&self.platform).await;
        Readiness {
            node: self.node.to_string(),
            boot_id: self.boot_id.to_string(),
            good: lost(&slots, self.is_of_a_package),
            pacemaker: None,
            restart: match is_changing {
                true => Some("this node to have begun or joined a cluster".to_owned()),
                false => disturbs_a_pair(pair),
            },
        }
    }
}

/// Nobody guards a pair that cannot be seen, so nobody is missed.
fn disturbs_a_pair(pair: Result<Option<PairState>, String>) -> Option<String> {
    pair.ok().flatten().as_ref().and_then(taken_over)
}

/// A node that belongs to no cluster is under nobody's care, and holds nothing up. But only an update puts a slot on trial: a
/// node that runs such a slot and knows of no cluster has lost its data with the new system, and shall fall back. Where no slot can
/// be seen, only a system that no package brought is certain to be in none.
fn lost(slots: &Result<SlotsState, String>, is_of_a_package: bool) -> Option<String> {
    match slots {
        Ok(slots) => tried(slots).map(|slot| {
            format!(
                "this node to belong to its cluster: slot {slot} is on trial, and its system does not find the node's data"
            )
        }),
        Err(why) => is_of_a_package.then(|| why.clone()),
    }
}

/// A node that its cluster does not count on is in no update: a slot of its that is on trial is nobody's to call good.
fn outside(slots: &Result<SlotsState, String>) -> Option<String> {
    match slots {
        Ok(slots) => tried(slots).map(|slot| {
            format!(
                "this node to be one of its cluster's: slot {slot} is on trial, and no update marks it good"
            )
        }),
        Err(why) => Some(why.clone()),
    }
}

/// The slot that runs, if it is on trial.
fn tried(slots: &SlotsState) -> Option<Slot> {
    match slots.slot(slots.booted).health {
        SlotHealth::Good | SlotHealth::Unbootable => None,
        SlotHealth::Untried { .. } => Some(slots.booted),
    }
}

/// What was seen.
struct Seen {
    slots: Result<SlotsState, String>,
    pair: Result<Option<PairState>, String>,
    record: Recorded,
    open: Vec<OperationKind>,
}

/// What the record says of this boot.
enum Recorded {
    /// It does not answer.
    OutOfReach(String),
    /// It knows of no cluster.
    NoCluster,
    /// It does not name this boot yet.
    NotYet,
    /// It names this boot.
    Yes,
}

/// The API of the local socket, with this beside it.
pub(crate) fn beside(api: Router, onlooker: Onlooker) -> Router {
    let route = get(|State(onlooker): State<Onlooker>| async move { Json(onlooker.look().await) });
    Router::new()
        .route(PATH, route)
        .with_state(onlooker)
        .fallback_service(api)
}

impl Onlooker {
    async fn look(&self) -> Readiness {
        let (slots, pair) = machine(&self.platform).await;
        match self.belonging.standing() {
            // What is not known yet is the record's to say.
            None | Some(Standing::Member) => self.as_a_member(slots, pair),
            Some(Standing::Candidate { .. } | Standing::Stranger { .. }) => {
                self.without_duties(&slots, pair)
            }
        }
    }

    /// A candidate, or a node that has left: nobody reports its boots to the record, and nothing is held up.
    fn without_duties(
        &self,
        slots: &Result<SlotsState, String>,
        pair: Result<Option<PairState>, String>,
    ) -> Readiness {
        Readiness {
            node: self.node.to_string(),
            boot_id: self.boot_id.to_string(),
            good: outside(slots),
            pacemaker: None,
            restart: disturbs_a_pair(pair),
        }
    }

    fn as_a_member(
        &self,
        slots: Result<SlotsState, String>,
        pair: Result<Option<PairState>, String>,
    ) -> Readiness {
        let view = self.follower.view();
        let seen = Seen {
            slots,
            pair,
            record: self.recorded(),
            open: view.control().open.values().copied().collect(),
        };
        Readiness {
            node: self.node.to_string(),
            boot_id: self.boot_id.to_string(),
            good: good(&seen),
            pacemaker: match self.pacemaker_brings_the_record {
                true => None,
                false => published(&seen.record),
            },
            restart: restart(&seen),
        }
    }

    fn recorded(&self) -> Recorded {
        let contact = self.follower.contact();
        if let Some(why) = contact.trouble {
            return Recorded::OutOfReach(why);
        }
        if contact.last.is_none() {
            return Recorded::OutOfReach("it has not answered yet".to_owned());
        }
        let view = self.follower.view();
        let control = view.control();
        match (&control.topology, control.booted.get(&self.node)) {
            (None, _) => Recorded::NoCluster,
            (Some(_), Some(booted)) if booted.boot_id == self.boot_id => Recorded::Yes,
            (Some(_), _) => Recorded::NotYet,
        }
    }
}

/// What it shows, or why it does not.
async fn machine(
    platform: &SharedPlatform,
) -> (
    Result<SlotsState, String>,
    Result<Option<PairState>, String>,
) {
    tokio::join!(
        bounded("the boot slots", platform.slots()),
        bounded("the pair", platform.pair()),
    )
}

async fn bounded<T>(
    what: &str,
    look: impl Future<Output = Result<T, PlatformError>>,
) -> Result<T, String> {
    match timeout(LOOK, look).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(error)) => Err(format!("{what}, which cannot be seen: {error}")),
        Err(_) => Err(format!("{what}, which cannot be seen within {LOOK:?}")),
    }
}

/// The node rejoined, and serves; in an update the update has the last word, which waits for the pair to be stable too.
fn good(seen: &Seen) -> Option<String> {
    let pair = match &seen.pair {
        Err(why) => return Some(why.clone()),
        Ok(pair) => pair,
    };
    if let Some(pair) = pair.as_ref().filter(|it| it.local.ha != MemberHa::Serving) {
        let (node, ha) = (&pair.local.node, pair.local.ha.text());
        return Some(format!("{node} to serve: {ha}"));
    }
    if let Some(waits) = published(&seen.record) {
        return Some(waits);
    }
    let slots = match &seen.slots {
        Err(why) => return Some(why.clone()),
        Ok(slots) => slots,
    };
    let slot = slots.booted;
    match slots.slot(slot).health {
        SlotHealth::Good => None,
        SlotHealth::Untried { .. } | SlotHealth::Unbootable
            if seen.open.contains(&OperationKind::Update) =>
        {
            Some(format!("the update that is open to mark slot {slot} good"))
        }
        SlotHealth::Untried { .. } | SlotHealth::Unbootable => None,
    }
}

fn published(record: &Recorded) -> Option<String> {
    match record {
        Recorded::Yes | Recorded::NoCluster => None,
        Recorded::NotYet => Some("this boot to be in the record".to_owned()),
        Recorded::OutOfReach(why) => Some(format!("the record: {why}")),
    }
}

/// A restart is safe at any instant, but whoever acts just now begins anew, and nobody guards the pair meanwhile.
fn restart(seen: &Seen) -> Option<String> {
    let disturbed = |kind: &&OperationKind| match kind {
        OperationKind::Update | OperationKind::Firmware => true,
        OperationKind::Validation
        | OperationKind::PackageGet
        | OperationKind::PackageDelete
        | OperationKind::PackageSync
        | OperationKind::Estimate => false,
    };
    if let Some(kind) = seen.open.iter().find(disturbed) {
        return Some(format!("the end of the {} that is open", kind.as_str()));
    }
    let pair = match &seen.pair {
        Err(why) => return Some(why.clone()),
        Ok(pair) => pair.as_ref()?,
    };
    taken_over(pair)
}

fn taken_over(pair: &PairState) -> Option<String> {
    let between = |ha: MemberHa| match ha {
        MemberHa::WaitingForGiveback | MemberHa::PartialGiveback | MemberHa::Booting => true,
        // Who serves alone for a dead partner serves on without its daemon.
        MemberHa::Serving | MemberHa::Down | MemberHa::Fenced => false,
    };
    let member = [&pair.local, &pair.partner];
    let member = member.into_iter().find(|member| between(member.ha))?;
    let (node, ha) = (&member.node, member.ha.text());
    Some(format!("the pair's takeover to be over: {node}: {ha}"))
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{MemberState, SlotState};

    use super::*;

    fn member(name: &str, ha: MemberHa) -> MemberState {
        MemberState {
            node: name.parse().unwrap(),
            ha,
            boot_id: None,
        }
    }

    /// A pair at rest, in the record, on a good slot.
    fn well() -> Seen {
        let slot = |health| SlotState {
            health,
            image: None,
        };
        Seen {
            slots: Ok(SlotsState {
                booted: Slot::B,
                default: Slot::B,
                a: slot(SlotHealth::Good),
                b: slot(SlotHealth::Good),
                writable: true,
            }),
            pair: Ok(Some(PairState {
                enabled: true,
                local: member("n1", MemberHa::Serving),
                partner: member("n2", MemberHa::Serving),
                takeover_veto: None,
                takeover_veto_passes: false,
                giveback_veto: None,
                giveback_veto_passes: false,
                transition: None,
            })),
            record: Recorded::Yes,
            open: Vec::new(),
        }
    }

    fn with_ha(mut seen: Seen, local: MemberHa, partner: MemberHa) -> Seen {
        let pair = seen.pair.as_mut().unwrap().as_mut().unwrap();
        (pair.local.ha, pair.partner.ha) = (local, partner);
        seen
    }

    fn on_trial(mut seen: Seen, open: Vec<OperationKind>) -> Seen {
        seen.slots.as_mut().unwrap().b.health = SlotHealth::Untried { tries: 2 };
        seen.open = open;
        seen
    }

    #[test]
    fn a_pair_at_rest_waits_for_nothing() {
        let seen = well();
        assert_eq!(good(&seen), None);
        assert_eq!(published(&seen.record), None);
        assert_eq!(restart(&seen), None);
    }

    #[test]
    fn a_boot_is_good_once_the_node_serves_and_is_in_the_record() {
        for ha in [
            MemberHa::WaitingForGiveback,
            MemberHa::PartialGiveback,
            MemberHa::Booting,
            MemberHa::Down,
        ] {
            let waits = good(&with_ha(well(), ha, MemberHa::Serving));
            assert!(waits.unwrap().contains("n1 to serve"), "{ha:?}");
        }
        // A partner that is away is no fault of this boot.
        let alone = with_ha(well(), MemberHa::Serving, MemberHa::Fenced);
        assert_eq!(good(&alone), None);
        let record = Recorded::NotYet;
        let waits = good(&Seen { record, ..well() });
        assert_eq!(waits.unwrap(), "this boot to be in the record");
    }

    #[test]
    fn in_an_update_the_update_says_when_the_slot_is_good() {
        let update = vec![OperationKind::PackageSync, OperationKind::Update];
        let waits = good(&on_trial(well(), update));
        assert_eq!(
            waits.unwrap(),
            "the update that is open to mark slot b good"
        );
        // Whatever was tried without one is good when it serves.
        assert_eq!(
            good(&on_trial(well(), vec![OperationKind::Validation])),
            None
        );
        // A node that fell back runs a slot that was good before.
        let open = vec![OperationKind::Update];
        assert_eq!(good(&Seen { open, ..well() }), None);
    }

    #[test]
    fn a_node_without_a_cluster_holds_nothing_up_unless_an_update_brought_it_there() {
        assert_eq!(lost(&well().slots, true), None);
        let tried = on_trial(well(), Vec::new());
        let waits = lost(&tried.slots, false).unwrap();
        assert!(waits.contains("slot b is on trial"), "{waits}");
    }

    #[test]
    fn a_slot_that_cannot_be_seen_is_not_taken_as_good_where_an_update_may_have_written_it() {
        let unseen = Err("the boot slots, which cannot be seen: no answer".to_owned());
        assert_eq!(lost(&unseen, true), unseen.clone().err());
        // A host as it was installed by other means, without slots yet.
        assert_eq!(lost(&unseen, false), None);
    }

    #[test]
    fn a_node_without_duties_waits_for_no_record_of_its_boot() {
        assert_eq!(outside(&well().slots), None);
        let waits = outside(&on_trial(well(), Vec::new()).slots).unwrap();
        assert!(waits.contains("slot b is on trial"), "{waits}");
        let unseen = Err("the boot slots, which cannot be seen".to_owned());
        assert!(outside(&unseen).is_some());
    }

    #[test]
    fn what_cannot_be_seen_is_waited_for() {
        let pair = || Err("the pair, which cannot be seen: no answer".to_owned());
        let unseen = Seen {
            pair: pair(),
            ..well()
        };
        assert!(good(&unseen).is_some() && restart(&unseen).is_some());
        let slots = Err("the boot slots, which cannot be seen".to_owned());
        assert!(good(&Seen { slots, ..well() }).is_some());
        let away = || Recorded::OutOfReach("no quorum".to_owned());
        assert_eq!(published(&away()).unwrap(), "the record: no quorum");
        let record = away();
        assert!(good(&Seen { record, ..well() }).is_some());
    }

    #[test]
    fn a_daemon_is_not_restarted_amid_a_takeover_an_update_or_a_flash() {
        for kind in [OperationKind::Update, OperationKind::Firmware] {
            let open = vec![OperationKind::PackageGet, kind];
            let waits = restart(&Seen { open, ..well() }).unwrap();
            assert!(waits.contains(kind.as_str()), "{waits}");
        }
        let open = vec![OperationKind::Validation, OperationKind::Estimate];
        assert_eq!(restart(&Seen { open, ..well() }), None);
        let taken = with_ha(well(), MemberHa::Serving, MemberHa::WaitingForGiveback);
        assert!(restart(&taken).unwrap().contains("n2"));
        let alone = with_ha(well(), MemberHa::Serving, MemberHa::Fenced);
        assert_eq!(restart(&alone), None);
        assert_eq!(
            restart(&Seen {
                pair: Ok(None),
                ..well()
            }),
            None
        );
    }
}
