//! What an operator asks for: pause, resume, cancel, and what is refused when.

use evenkeel_model::{
    OperationEnd, OperationKind, OperationState, PauseAfter, PausePoint, UpdateRequest, code,
};
use evenkeel_orchestrator::UpdateAction;
use evenkeel_simulation::{Cluster, NEW, OLD, Settings, Stand, admin, run};
use tokio::time::{Duration, sleep};

use crate::stories::{REST, begun, completes, resume, served_always, sound, updating};

/// Every action of an agent or the coordinator, in the order of a lane.
const ACTIONS: [&str; 9] = [
    "do-download-job",
    "do-activate-job",
    "do-failover-job",
    "do-boot-job",
    "do-stabilize-after-failover-job",
    "do-giveback-job",
    "do-verify-job",
    "do-stabilize-after-giveback-job",
    "do-commit-job",
];

fn version(text: &str) -> evenkeel_model::Version {
    evenkeel_model::Version::new(text).expect("digits and dots")
}

#[test]
fn paused_during_any_task_it_stands_at_a_pause_point_and_resumes_to_the_end() {
    for node in [0, 1] {
        for action in ACTIONS {
            run(async {
                let cluster = updating(2).await;
                begun(&cluster, node, action).await;
                cluster.act(UpdateAction::Pause).await.expect("it runs");
                match cluster.rest(REST).await.expect("it rests") {
                    Stand::PausedByUser(_) => resume(&cluster).await,
                    // Asked for in the very last task: there is no pause point left.
                    Stand::Ended(OperationEnd::Completed) => {}
                    other => panic!("{action}: {other:?}\n{}", cluster.describe()),
                }
                completes(&cluster).await;
                served_always(&cluster);
            });
        }
    }
}

/// Its minute is a second, and tasks that run are looked at several times in that.
#[test]
fn a_paused_cluster_is_looked_at_once_a_second() {
    run(async {
        let cluster = updating(2).await;
        begun(&cluster, 1, "do-failover-job").await;
        cluster.act(UpdateAction::Pause).await.expect("it runs");
        cluster.rest(REST).await.expect("it rests");
        sleep(Duration::from_secs(2)).await;
        let before = cluster.looks();
        sleep(Duration::from_secs(10)).await;
        let looks = cluster.looks() - before;
        assert!(
            (18..=22).contains(&looks),
            "{looks} of two nodes in ten seconds"
        );
        resume(&cluster).await;
        completes(&cluster).await;
    });
}

#[test]
fn cancelled_at_any_pause_point_it_gives_back_and_ends() {
    for action in ACTIONS {
        run(async {
            let cluster = updating(2).await;
            begun(&cluster, 1, action).await;
            cluster.act(UpdateAction::Pause).await.expect("it runs");
            let stand = cluster.rest(REST).await.expect("it rests");
            assert!(
                matches!(stand, Stand::PausedByUser(_)),
                "{action}: {stand:?}"
            );
            cluster
                .act(UpdateAction::Cancel)
                .await
                .expect("it is paused");
            let stand = cluster.rest(REST).await.expect("it rests");
            assert_eq!(
                stand,
                Stand::Ended(OperationEnd::Canceled),
                "{}",
                cluster.describe()
            );
            assert_eq!(cluster.away(), Vec::<String>::new(), "{action}");
            sound(&cluster);
            served_always(&cluster);
        });
    }
}

#[test]
fn after_a_cancel_a_new_update_brings_it_to_the_end() {
    for action in ["do-download-job", "do-failover-job", "do-giveback-job"] {
        run(async {
            let cluster = updating(2).await;
            begun(&cluster, 1, action).await;
            cluster.act(UpdateAction::Pause).await.expect("it runs");
            cluster.rest(REST).await.expect("it rests");
            cluster
                .act(UpdateAction::Cancel)
                .await
                .expect("it is paused");
            cluster.rest(REST).await.expect("it rests");
            let mut again = Cluster::request();
            // A cancelled update leaves its image as the default of a slot: that is a warning.
            again.skip_warnings = true;
            let started = cluster.start_update(again).await;
            started.unwrap_or_else(|refusal| panic!("{action}: {refusal}"));
            completes(&cluster).await;
        });
    }
}

/// The pause points at which an update with that option stood, in order.
fn points(pause_after: PauseAfter) -> Vec<PausePoint> {
    run(async {
        let cluster = Cluster::start(Settings::new(2)).await;
        let mut request = Cluster::request();
        request.pause_after = pause_after;
        cluster
            .start_update(request)
            .await
            .expect("nothing is in the way");
        let mut points = Vec::new();
        while let Stand::PausedByUser(point) = cluster.rest(REST).await.expect("it rests") {
            points.push(point);
            resume(&cluster).await;
        }
        completes(&cluster).await;
        points
    })
}

#[test]
fn pause_after_stands_at_its_points_and_only_once_each() {
    use PausePoint::{Giveback, Install, Takeover, Validation};
    assert_eq!(points(PauseAfter::None), []);
    let takeover_giveback = [Takeover, Giveback, Takeover, Giveback];
    assert_eq!(points(PauseAfter::TakeoverGiveback), takeover_giveback);
    let all = [Validation, Install, Takeover, Giveback, Takeover, Giveback];
    assert_eq!(points(PauseAfter::All), all);
}

#[test]
fn actions_in_wrong_states_are_refused_and_change_nothing() {
    run(async {
        let cluster = Cluster::start(Settings::new(2)).await;
        let refused = async |action| cluster.act(action).await.expect_err("refused").code;
        assert_eq!(refused(UpdateAction::Pause).await, code::NO_UPDATE_TO_PAUSE);
        assert_eq!(refused(UpdateAction::Resume).await, code::NO_UPDATE);
        assert_eq!(refused(UpdateAction::Cancel).await, code::NO_UPDATE);
        cluster
            .start_update(Cluster::request())
            .await
            .expect("nothing is in the way");
        begun(&cluster, 1, "do-failover-job").await;
        let before = cluster.head();
        assert_eq!(refused(UpdateAction::Resume).await, code::NOT_PAUSED);
        assert_eq!(
            refused(UpdateAction::Cancel).await,
            code::PAUSE_BEFORE_CANCEL
        );
        let again = cluster
            .start_update(Cluster::request())
            .await
            .expect_err("refused");
        assert_eq!(again.code, code::UPDATE_IN_PROGRESS);
        let delete =
            async |door: evenkeel_orchestrator::FrontDoor| door.delete(version(NEW), admin()).await;
        let delete = cluster.ask(delete).await.expect_err("refused");
        assert_eq!(delete.code, code::DELETE_DURING_UPDATE);
        let validate = async |door: evenkeel_orchestrator::FrontDoor| {
            door.validate(UpdateRequest::new(version(NEW)), admin())
                .await
        };
        let validate = cluster.ask(validate).await.expect_err("refused");
        assert_eq!(validate.code, code::UPDATE_IN_PROGRESS);
        assert_eq!(cluster.head(), before, "{}", cluster.describe());
        completes(&cluster).await;
        let there = cluster
            .start_update(Cluster::request())
            .await
            .expect_err("refused");
        assert_eq!(there.code, code::ALREADY_AT_VERSION);
    });
}

#[test]
fn of_two_operations_admitted_at_once_one_is_refused() {
    for _ in 0..3 {
        run(async {
            let cluster = Cluster::start(Settings::new(4)).await;
            let names = cluster.names();
            let doors: Vec<_> = names.iter().filter_map(|name| cluster.door(name)).collect();
            let (update, third, delete, other) = tokio::join!(
                doors[3].start_update(Cluster::request(), admin()),
                doors[2].start_update(Cluster::request(), admin()),
                doors[1].delete(version(NEW), admin()),
                doors[0].start_update(Cluster::request(), admin()),
            );
            let admitted = [update.is_ok(), third.is_ok(), delete.is_ok(), other.is_ok()];
            let admitted = admitted.into_iter().filter(|ok| *ok).count();
            assert_eq!(admitted, 1, "{}", cluster.describe());
            let view = cluster.view();
            assert_eq!(view.operations().count(), 1);
            cluster
                .until(REST, |view| view.control().open.is_empty().then_some(()))
                .await
                .expect("it ends");
            sound(&cluster);
        });
    }
}

#[test]
fn a_validation_tells_and_changes_nothing() {
    run(async {
        let cluster = Cluster::start(Settings::new(2)).await;
        let ask = async |door: evenkeel_orchestrator::FrontDoor| {
            door.validate(UpdateRequest::new(version(NEW)), admin())
                .await
        };
        cluster.ask(ask).await.expect("nothing is in the way");
        let ended = cluster.until(REST, |view| {
            let newest = view.control().newest_of(&[OperationKind::Validation])?;
            let operation = view.operation(newest)?;
            operation.is_ended().then(|| operation.state.clone())
        });
        let end = OperationEnd::Completed;
        assert_eq!(ended.await.expect("it ends"), OperationState::Ended { end });
        sound(&cluster);
    });
}

#[test]
fn a_deleted_package_leaves_every_node_and_one_that_was_down_on_its_return() {
    run(async {
        let cluster = Cluster::start(Settings::new(4)).await;
        let away = cluster.names()[3].clone();
        cluster.set_fault(&away, evenkeel_platform::sim::Fault::PowerOff, true);
        let ask =
            async |door: evenkeel_orchestrator::FrontDoor| door.delete(version(OLD), admin()).await;
        cluster.ask(ask).await.expect("nothing is in the way");
        let gone = cluster.until(REST, |view| view.control().open.is_empty().then_some(()));
        gone.await.expect("it ends");
        assert!(cluster.holders(OLD).iter().all(|node| *node == away));
        cluster.set_fault(&away, evenkeel_platform::sim::Fault::PowerOff, false);
        cluster.mend(REST).await.expect("it comes back");
        sleep(Duration::from_secs(10)).await;
        assert!(cluster.holders(OLD).is_empty());
        sound(&cluster);
    });
}

/// A package that cannot come to a node is named, and holds nobody up; once there is room it comes by itself.
#[test]
fn a_node_without_room_does_not_keep_the_cluster_from_working() {
    run(async {
        let cluster = Cluster::start(Settings::new(4)).await;
        let full = cluster.names()[2].clone();
        cluster.set_full(&full, true);
        cluster.lose_package(&full, OLD);
        let given_up = cluster.until(REST, |view| {
            let sync = view.control().newest_of(&[OperationKind::PackageSync])?;
            match &view.operation(sync)?.state {
                OperationState::Ended {
                    end: OperationEnd::Failed { code, message },
                } => Some((*code, message.clone())),
                _ => None,
            }
        });
        let (code, message) = given_up.await.expect("it is given up");
        assert_eq!(code, evenkeel_model::code::NO_SPACE);
        assert!(message.contains(full.as_str()), "{message}");
        // Held off: the lock is free, and the finding names the node.
        let ask = async |door: evenkeel_orchestrator::FrontDoor| {
            door.validate(UpdateRequest::new(version(OLD)), admin())
                .await
        };
        cluster.ask(ask).await.expect("no synchronization is open");
        let findings = cluster.until(REST, |view| {
            let kinds = [OperationKind::Validation];
            let validation = view.operation(view.control().newest_of(&kinds)?)?;
            validation.findings.clone()
        });
        let findings = findings.await.expect("it is validated");
        let named = findings
            .iter()
            .any(|f| f.issue.contains("no space for the package"));
        assert!(named, "{findings:#?}");
        cluster.set_full(&full, false);
        let all = cluster.names().len();
        let come = cluster.until(REST * 4, |_| {
            (cluster.holders(OLD).len() == all).then_some(())
        });
        come.await.expect("it is synchronized later");
        sound(&cluster);
    });
}

#[test]
fn pairs_are_named_and_only_they_are_updated() {
    run(async {
        let cluster = Cluster::start(Settings::new(8)).await;
        let names = cluster.names();
        let named = |chosen: &[usize]| {
            let nodes = chosen.iter().map(|n| names[*n].clone()).collect();
            Cluster::request_with(|request| request.nodes = nodes)
        };
        let half = cluster.start_update(named(&[2, 3, 4])).await;
        assert_eq!(half.expect_err("half a pair").code, code::NOT_HA_PAIRS);
        let mut unknown = named(&[2, 3]);
        unknown.nodes.push("nobody".parse().expect("letters"));
        let unknown = cluster.start_update(unknown).await;
        let refusal = unknown.expect_err("no such node");
        assert_eq!(refusal.code, code::INVALID_VALUE);
        assert!(refusal.message.contains("nobody"));

        let started = cluster.start_update(named(&[2, 3])).await;
        started.expect("nothing is in the way");
        let stand = cluster.rest(REST).await.expect("it rests");
        assert_eq!(stand, Stand::Ended(OperationEnd::Completed));
        let again = cluster.start_update(named(&[3, 2])).await;
        assert_eq!(again.expect_err("done").code, code::ALREADY_AT_VERSION);
        let started = cluster.start_update(Cluster::request()).await;
        started.expect("the others are not there yet");
        completes(&cluster).await;
        served_always(&cluster);
    });
}
