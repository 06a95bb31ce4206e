//! Hardware that refuses, hangs, falls back; hands that interfere; power that goes.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_interconnect::{AgentRequest, AgentResponse};
use evenkeel_model::{MemberHa, OperationEnd, TransitionStage, code};
use evenkeel_orchestrator::UpdateAction;
use evenkeel_platform::sim::Fault;
use evenkeel_record::{AppendError, Fence, Record, Writer};
use evenkeel_seam::SeededIds;
use evenkeel_simulation::{Blow, Cluster, OLD, Stand, run};
use tokio::time::sleep;

use crate::stories::{
    REST, begun, completes, kill_coordinator, problem, resume, served_always, sound, updating,
};

/// High availability is as it was before.
fn restored(cluster: &Cluster) {
    assert_eq!(
        cluster.away(),
        Vec::<String>::new(),
        "{}",
        cluster.describe()
    );
    for node in cluster.names() {
        let pair = cluster.hardware(|hardware, _| hardware.pair_state(&node));
        let pair = pair.expect("nodes are paired");
        assert_eq!(pair.local.ha, MemberHa::Serving);
        let stage = pair.transition.map(|t| t.stage);
        assert!(
            matches!(stage, None | Some(TransitionStage::GivenBack)),
            "{stage:?}"
        );
    }
}

#[test]
fn a_bad_image_falls_back_and_comes_home_and_a_good_one_is_tried_again() {
    run(async {
        let cluster = updating(4).await;
        let node = cluster.names()[3].clone();
        cluster.set_fault(&node, Fault::BadImage, true);
        let problem = problem(&cluster).await;
        assert_eq!(problem.node.as_ref(), Some(&node), "{problem}");
        assert!(
            problem.error.contains(&format!("fell back to {OLD}")),
            "{problem}"
        );
        restored(&cluster);
        served_always(&cluster);
        cluster.set_fault(&node, Fault::BadImage, false);
        resume(&cluster).await;
        completes(&cluster).await;
        served_always(&cluster);
    });
}

#[test]
fn a_fallback_can_be_cancelled() {
    run(async {
        let cluster = updating(2).await;
        cluster.set_fault(&cluster.names()[1], Fault::BadImage, true);
        problem(&cluster).await;
        cluster
            .act(UpdateAction::Cancel)
            .await
            .expect("it is paused");
        let stand = cluster.rest(REST).await.expect("it rests");
        assert_eq!(stand, Stand::Ended(OperationEnd::Canceled));
        restored(&cluster);
        sound(&cluster);
    });
}

/// A fault that comes with a task stops the update with a reason that says so; without it, it goes on.
fn stops(fault: Fault, action: &str, says: &str) {
    run(async {
        let cluster = updating(2).await;
        let node = cluster.names()[1].clone();
        begun(&cluster, 1, action).await;
        cluster.set_fault(&node, fault, true);
        let problem = problem(&cluster).await;
        assert!(
            problem.error.contains(says),
            "{problem}\n{}",
            cluster.describe()
        );
        assert_eq!(problem.node.as_ref(), Some(&node));
        assert!(!problem.action.is_empty());
        served_always(&cluster);
        // Resuming without having done anything stops at the same place.
        resume(&cluster).await;
        let again = crate::stories::problem(&cluster).await;
        assert!(
            again.error.contains(says),
            "{again}\n{}",
            cluster.describe()
        );
        cluster.set_fault(&node, fault, false);
        resume(&cluster).await;
        completes(&cluster).await;
        served_always(&cluster);
    });
}

#[test]
fn a_refused_takeover_stops_it() {
    stops(Fault::RefuseTakeover, "do-activate-job", "a veto");
}

#[test]
fn a_takeover_that_the_engine_undoes_stops_it() {
    let why = "does not start on";
    stops(Fault::FailTakeover, "do-activate-job", why);
}

#[test]
fn a_refused_giveback_stops_it() {
    stops(Fault::RefuseGiveback, "do-failover-job", "a veto");
}

#[test]
fn a_boot_that_hangs_stops_it() {
    stops(Fault::HangBoot, "do-activate-job", "waiting for giveback");
}

#[test]
fn a_pair_whose_takeover_is_switched_off_stops_it() {
    stops(Fault::DisableHa, "do-activate-job", "disabled");
}

#[test]
fn a_slow_boot_is_waited_for() {
    run(async {
        let cluster = updating(2).await;
        cluster.set_fault(&cluster.names()[1], Fault::SlowBoot, true);
        completes(&cluster).await;
        served_always(&cluster);
    });
}

#[test]
fn a_takeover_by_hand_in_the_middle_is_never_undone_by_the_update() {
    for action in [
        "do-download-job",
        "do-activate-job",
        "do-stabilize-after-giveback-job",
    ] {
        for taken in [0, 1] {
            run(async {
                let cluster = updating(2).await;
                begun(&cluster, 1, action).await;
                let node = cluster.names()[taken].clone();
                let by_hand = |hardware: &mut evenkeel_platform::sim::Hardware, now| {
                    hardware.take_over_by_hand(&node, now)
                };
                let taken = cluster.hardware(by_hand);
                assert!(matches!(taken, Ok(Ok(()))), "{taken:?}");
                let problem = problem(&cluster).await;
                assert!(problem.error.contains("not by this update"), "{problem}");
                sleep(Duration::from_secs(120)).await;
                assert_eq!(cluster.taken_by_others(), vec![node]);
                // Told to go on while it stands, it stops again.
                resume(&cluster).await;
                let again = crate::stories::problem(&cluster).await;
                assert!(again.error.contains("not by this update"), "{again}");
                cluster.mend(REST).await.expect("it is given back");
                resume(&cluster).await;
                completes(&cluster).await;
                served_always(&cluster);
            });
        }
    }
}

#[test]
fn given_back_by_hand_it_stops_and_resumes_to_the_end() {
    for action in ["do-boot-job", "do-stabilize-after-failover-job"] {
        run(async {
            let cluster = updating(2).await;
            begun(&cluster, 1, action).await;
            let node = cluster.names()[1].clone();
            let given = cluster.until(REST, |_| {
                let given =
                    cluster.hardware(|hardware, now| hardware.give_back_by_hand(&node, now));
                matches!(given, Ok(Ok(()))).then_some(())
            });
            given.await.expect("the node comes to wait for giveback");
            problem(&cluster).await;
            resume(&cluster).await;
            completes(&cluster).await;
            served_always(&cluster);
        });
    }
}

/// Power came back into the new version, and the update was cancelled: nobody ever said that it is good.
/// Once when its partner has yet to be updated, once when all run the version already.
#[test]
fn a_node_that_came_to_the_version_by_itself_is_proven_by_the_next_update() {
    for number in [1, 0] {
        run(async {
            let cluster = updating(2).await;
            begun(&cluster, number, "do-failover-job").await;
            let node = cluster.names()[number].clone();
            cluster.strike(&node, Blow::PowerCut);
            problem(&cluster).await;
            let canceled = cluster.act(UpdateAction::Cancel).await;
            canceled.expect("it is paused");
            let stand = cluster.rest(REST).await.expect("it rests");
            assert_eq!(stand, Stand::Ended(OperationEnd::Canceled));
            cluster.mend(REST).await.expect("it is given back");
            let unproven = cluster.unfinished();
            let of_node = |what: &String| what.contains(node.as_str()) && what.contains("Untried");
            assert!(unproven.iter().any(of_node), "{unproven:?}");
            let mut again = Cluster::request();
            again.skip_warnings = true;
            let started = cluster.start_update(again).await;
            started.expect("nothing is in the way");
            completes(&cluster).await;
            let there = cluster.start_update(Cluster::request()).await;
            assert_eq!(there.expect_err("refused").code, code::ALREADY_AT_VERSION);
        });
    }
}

/// The partner that carries both dies: the waiting node serves alone, without record and coordinator.
#[test]
fn a_waiting_node_serves_alone_when_its_partner_dies() {
    run(async {
        let cluster = updating(2).await;
        begun(&cluster, 1, "do-stabilize-after-failover-job").await;
        let (partner, node) = (cluster.names()[0].clone(), cluster.names()[1].clone());
        // Nobody but the node itself could help.
        cluster.cut(&node, true);
        cluster.set_fault(&partner, Fault::PowerOff, true);
        let serves = cluster.until(Duration::from_secs(10), |_| {
            let pair = cluster.hardware(|hardware, _| hardware.pair_state(&node))?;
            (pair.local.ha == MemberHa::Serving).then_some(())
        });
        serves.await.expect("it serves both nodes' storage");
        let outages: Vec<_> = cluster.hardware(|h, _| h.incidents().cloned().collect());
        assert_eq!(outages.len(), 1, "{outages:?}");
        assert!(!outages[0].cause.is_ours());
        let gap = outages[0].until_ms.map(|until| until - outages[0].from_ms);
        assert!(gap.is_some_and(|gap| gap < 5_000), "{gap:?}");
        cluster.cut(&node, false);
        let problem = problem(&cluster).await;
        assert!(problem.error.contains("not by this update"), "{problem}");
        cluster.set_fault(&partner, Fault::PowerOff, false);
        cluster.mend(REST).await.expect("it is given back");
        resume(&cluster).await;
        completes(&cluster).await;
    });
}

/// A coordinator that is cut off keeps believing for a while. It can do nothing, and goes quietly.
#[test]
fn a_stale_coordinator_neither_appends_nor_commands() {
    for action in [
        "do-download-job",
        "do-failover-job",
        "do-giveback-job",
        "do-commit-job",
    ] {
        run(async {
            let cluster = updating(4).await;
            begun(&cluster, 3, action).await;
            let stale = cluster.coordinator().expect("someone coordinates");
            let generation = cluster.view().control().generation;
            cluster.cut(&stale, true);
            let next = cluster.until(REST, |view| {
                (view.control().generation > generation).then(|| cluster.coordinator())
            });
            assert_ne!(
                next.await.expect("another one is elected"),
                Some(stale.clone())
            );
            sleep(Duration::from_secs(4)).await;
            cluster.cut(&stale, false);
            sleep(Duration::from_secs(4)).await;
            let believing = cluster.believes_to_coordinate();
            assert!(
                !believing.contains(&stale) || believing.len() == 1,
                "{believing:?}"
            );
            completes(&cluster).await;
            served_always(&cluster);
        });
    }
}

/// What it could still send is refused: by the record for its generation, by every agent for the same.
#[test]
fn what_a_stale_coordinator_says_is_refused_everywhere() {
    run(async {
        let cluster = updating(4).await;
        begun(&cluster, 3, "do-activate-job").await;
        let stale = cluster.coordinator().expect("someone coordinates");
        let view = cluster.view();
        let generation = view.control().generation;
        cluster.strike(&stale, Blow::Kill);
        let next = cluster.until(REST, |view| {
            let control = view.control();
            (control.generation > generation && !control.open.is_empty()).then_some(())
        });
        next.await.expect("another generation");
        // The new one has introduced itself everywhere with the next task that it sends.
        begun(&cluster, 3, "do-boot-job").await;
        for node in cluster.names() {
            let request = AgentRequest::Install {
                generation,
                coordinator: stale.clone(),
            };
            match cluster.call(&stale, &node, request).await {
                Ok(AgentResponse::Refused {
                    stale: Some(newer), ..
                }) => assert!(newer > generation),
                // Taken over and booting just now.
                Err(error) => assert_eq!(node, cluster.names()[3], "{error}"),
                Ok(other) => panic!("{node}: {other:?}"),
            }
        }
        let open = view.open_operations().next().expect("the update");
        let event = evenkeel_model::OperationEvent::PauseRequested {
            at: open.requested_at,
            by: evenkeel_simulation::admin(),
        };
        let event = evenkeel_model::Event::Operation(event);
        let stream = evenkeel_model::StreamId::Operation(open.id);
        let write = cluster.view().write(stream, vec![event]);
        let record: Arc<dyn Record> = cluster.record(&stale);
        let writer = Writer::new(record, Arc::new(SeededIds::new(99)));
        let refused = writer.append(Fence::Holds(generation), vec![write]).await;
        assert!(
            matches!(refused, Err(AppendError::Fenced { .. })),
            "{refused:?}"
        );
        completes(&cluster).await;
        served_always(&cluster);
    });
}

/// Its way to the nodes still works while the record is out of its reach: the nodes refuse it.
#[test]
fn a_coordinator_without_the_record_commands_nobody_once_there_is_another() {
    run(async {
        let cluster = updating(4).await;
        begun(&cluster, 3, "do-activate-job").await;
        let stale = cluster.coordinator().expect("someone coordinates");
        cluster.cut_record(&stale, true);
        completes_after(&cluster, &stale).await;
    });
}

async fn completes_after(cluster: &Cluster, stale: &evenkeel_model::NodeName) {
    let changed = cluster.until(REST, |_| {
        let now = cluster.coordinator();
        now.filter(|now| now != stale)
    });
    changed.await.expect("another one is elected");
    sleep(Duration::from_secs(10)).await;
    cluster.cut_record(stale, false);
    completes(cluster).await;
    served_always(cluster);
}

#[test]
fn coordinators_that_die_one_after_the_other_cost_only_time() {
    run(async {
        let cluster = updating(4).await;
        for _ in 0..12 {
            sleep(Duration::from_millis(2_300)).await;
            kill_coordinator(&cluster);
        }
        completes(&cluster).await;
        served_always(&cluster);
    });
}
