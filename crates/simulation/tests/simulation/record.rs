//! A record that is away, loses answers, does not ring, or lies on the very nodes that are updated.

use std::time::Duration;

use evenkeel_model::{NodeName, PlanMode};
use evenkeel_record::{MemoryFaults, NextAppend};
use evenkeel_simulation::{Cluster, Settings, run};
use tokio::time::sleep;

use crate::stories::{REST, begun, completes, problem, resume, served_always, updating};

#[test]
fn an_update_goes_on_where_it_was_after_the_record_was_away_for_all() {
    for action in [
        "do-download-job",
        "do-failover-job",
        "do-boot-job",
        "do-giveback-job",
    ] {
        run(async {
            let cluster = updating(2).await;
            begun(&cluster, 1, action).await;
            for node in cluster.names() {
                cluster.cut_record(&node, true);
            }
            sleep(Duration::from_secs(40)).await;
            for node in cluster.names() {
                cluster.cut_record(&node, false);
            }
            completes(&cluster).await;
            served_always(&cluster);
        });
    }
}

#[test]
fn outcomes_that_are_unknown_are_settled_by_looking() {
    for outcome in [
        NextAppend::UnknownApplied,
        NextAppend::UnknownNotApplied,
        NextAppend::Unavailable,
    ] {
        run(async {
            let cluster = updating(2).await;
            for node in cluster.names() {
                for _ in 0..6 {
                    cluster.record(&node).script(outcome);
                }
            }
            completes(&cluster).await;
            served_always(&cluster);
        });
    }
}

#[test]
fn a_bad_way_to_the_record_costs_only_time() {
    for seed in 1..=5 {
        run(async {
            let mut settings = Settings::new(4);
            settings.seed = seed;
            settings.record_faults = MemoryFaults {
                unknown_per_mille: 100,
                unavailable_per_mille: 50,
                lost_doorbell_per_mille: 500,
                max_delay: Duration::from_millis(100),
                ..MemoryFaults::default()
            };
            let cluster = Cluster::start(settings).await;
            let started = cluster.start_update(Cluster::request()).await;
            started.expect("nothing is in the way");
            let rested = cluster.rest(REST * 4).await;
            rested.unwrap_or_else(|stuck| panic!("seed {seed}: {stuck:?}"));
            completes(&cluster).await;
            served_always(&cluster);
        });
    }
}

/// An update of a cluster whose record lies on those of its nodes.
async fn updating_the_record(nodes: usize, record_on: &[usize]) -> Cluster {
    let mut settings = Settings::new(nodes);
    settings.record_on = record_on.to_vec();
    let cluster = Cluster::start(settings).await;
    let started = cluster.start_update(Cluster::request()).await;
    started.expect("nothing is in the way");
    cluster
}

/// The nodes that are out of service now.
fn out_of_service(cluster: &Cluster) -> Vec<NodeName> {
    let names = cluster.names();
    let is_out = |node: &NodeName| {
        let ha = cluster.hardware(|hardware, _| hardware.ha(node));
        !ha.is_some_and(|ha| ha.serves())
    };
    names.into_iter().filter(is_out).collect()
}

/// Two nodes of a step hold a majority of the record: they do not go at the same time.
#[test]
fn batches_become_one_node_after_the_other_where_the_record_would_be_lost() {
    for (record_on, mode) in [
        (&[2, 4, 6][..], PlanMode::Rolling),
        (&[0, 2, 4, 5, 6], PlanMode::Batch),
    ] {
        run(async {
            let cluster = updating_the_record(8, record_on).await;
            let planned = cluster.until(REST, |view| {
                let newest = view.operation(cluster.newest_update()?)?;
                newest.plan.clone()
            });
            let plan = planned.await.expect("it is planned");
            assert_eq!(plan.mode, mode, "{plan:?}");
            let because = "the record would not survive";
            let remark = plan.remark.as_ref();
            let remarks = remark.is_some_and(|remark| remark.contains(because));
            assert_eq!(remarks, mode == PlanMode::Rolling);
            let mut most = 0;
            let over = cluster.until(REST * 4, |view| {
                most = most.max(out_of_service(&cluster).len());
                view.control().open.is_empty().then_some(())
            });
            over.await.expect("it ends");
            let at_once = if mode == PlanMode::Rolling { 1 } else { 2 };
            assert_eq!(most, at_once);
            completes(&cluster).await;
            served_always(&cluster);
        });
    }
}

/// The record lies on three nodes, one of them has lost its power, and the takeover of another is due. What the
/// takeover waits for, and the cluster.
async fn a_takeover_waits() -> Cluster {
    let cluster = updating_the_record(6, &[0, 3, 4]).await;
    let coordinator = cluster.coordinator().expect("somebody coordinates");
    let names = cluster.names();
    assert_eq!(coordinator, names[0], "its pair goes last");
    // The third node is on its way home, the fourth is due next.
    begun(&cluster, 2, "do-giveback-job").await;
    cluster.darken(&names[4], Duration::from_secs(15));
    let waits = cluster.until(Duration::from_secs(60), |_| {
        let waits = cluster.door(&coordinator)?.explain();
        let told = |what: &str| what.contains("the record would not survive without");
        waits
            .into_iter()
            .find(|wait| told(&wait.what) || wait.seen.as_deref().is_some_and(told))
    });
    let wait = waits.await.unwrap_or_else(|stuck| panic!("{stuck:?}"));
    assert!(wait.remaining.is_some(), "{wait:?}");
    assert_eq!(out_of_service(&cluster), [names[4].clone()]);
    cluster
}

#[test]
fn a_takeover_waits_while_the_record_needs_the_node_and_goes_on_when_the_other_is_back() {
    run(async {
        let cluster = a_takeover_waits().await;
        // Its partner has taken the dark node over by itself: a person gives it back.
        cluster.mend(REST).await.expect("it is given back");
        completes(&cluster).await;
        served_always(&cluster);
    });
}

#[test]
fn it_pauses_with_that_reason_when_the_other_does_not_come_back() {
    run(async {
        let cluster = a_takeover_waits().await;
        let problem = problem(&cluster).await;
        assert_eq!(problem.node.as_ref(), Some(&cluster.names()[3]));
        let because = "the record would not survive without nodes";
        assert!(problem.error.contains(because), "{problem}");
        assert_eq!(out_of_service(&cluster), [cluster.names()[4].clone()]);
        cluster.mend(REST).await.expect("it is given back");
        resume(&cluster).await;
        completes(&cluster).await;
        served_always(&cluster);
    });
}
