//! Packages on their way through a cluster, with everything that can go wrong between two nodes.

#![cfg(test)]

mod cluster;
mod firmware;

use std::fs;
use std::time::Duration;

use evenkeel_interconnect::PullError;
use evenkeel_model::{Digest, TransferSource, code};

use cluster::{Cluster, Fault, MIB, make_package, upload};

#[tokio::test(flavor = "multi_thread")]
async fn every_node_sends_the_package_once() {
    let cluster = Cluster::new(5).await;
    cluster.pull_all(&[4, 2, 1, 3]).await;
    let size = cluster.package.archive_bytes;
    for index in 1..5 {
        assert!(cluster.holds(index));
        let (from, to) = (format!("n{index}"), format!("n{}", index + 1));
        assert_eq!(cluster.net.sent(&from, &to), size, "{from} to {to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_forwarded_before_it_is_whole_and_says_where_it_comes_from() {
    let mut cluster = Cluster::new(3).await;
    // n1 stops in the middle and the others wait: what n2 has so far must reach n3.
    cluster.net.fail("n1", Fault::StallsAt(5 * MIB));
    {
        let both = async { tokio::join!(cluster.pull(1), cluster.pull(2)) };
        let passed_on = async {
            loop {
                let status = cluster.node(2).puller.status();
                let pull = status.transfers.first();
                if pull.is_some_and(|pull| pull.received_bytes == 5 * MIB) {
                    return pull.unwrap().clone();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            pulled = both => panic!("there was no more to be had: {pulled:?}"),
            pull = passed_on => {
                let from = Some(cluster::name("n2"));
                assert_eq!(pull.source, TransferSource::Pull { from });
                assert_eq!(pull.total_bytes, Some(cluster.package.archive_bytes));
            }
        }
    }
    // The daemon of n2 restarts meanwhile; then all goes on from where it was.
    cluster.stop(1);
    cluster.start(1);
    cluster.net.heal("n1");
    cluster.pull_all(&[1, 2]).await;
    let sent = cluster.net.sent("n1", "n2");
    assert!(
        sent <= cluster.package.archive_bytes + MIB,
        "{sent} bytes for one package"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_that_dies_is_left_and_the_rest_comes_from_another() {
    let cluster = Cluster::new(4).await;
    cluster.net.fail("n2", Fault::DiesAt(4 * MIB));
    cluster.pull_all(&[1, 2, 3]).await;
    assert!(cluster.holds(2) && cluster.holds(3));
    let (size, rest) = (cluster.package.archive_bytes, cluster.net.sent("n1", "n3"));
    assert!(
        rest > 0 && rest <= size - 3 * MIB,
        "{rest} of {size} bytes again"
    );
    assert_eq!(
        cluster.net.sent("n3", "n4"),
        size,
        "the chain behind it goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_chunk_is_noticed_before_it_is_written_or_sent_on() {
    let mut cluster = Cluster::new(4).await;
    cluster.pull(1).await.unwrap();
    cluster.net.fail("n2", Fault::Corrupts(5 * MIB + 7));
    cluster.pull_all(&[2, 3]).await;
    assert!(cluster.holds(2) && cluster.holds(3));
    let size = cluster.package.archive_bytes;
    assert_eq!(
        cluster.net.sent("n1", "n3"),
        size - 5 * MIB,
        "only what was not proven"
    );
    assert_eq!(cluster.net.sent("n3", "n4"), size);
    let node = cluster.nodes[1].as_mut().unwrap();
    let suspect = node.suspects.try_recv().unwrap();
    assert_eq!(suspect, cluster.package.manifest_digest, "n2 is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_that_stalls_is_left_and_those_behind_it_wait() {
    let cluster = Cluster::new(4).await;
    cluster.pull(1).await.unwrap();
    cluster.net.fail("n2", Fault::StallsAt(4 * MIB));
    cluster.pull_all(&[2, 3]).await;
    assert!(cluster.holds(2) && cluster.holds(3));
    let size = cluster.package.archive_bytes;
    assert!(cluster.net.sent("n1", "n3") <= size - 3 * MIB);
    assert_eq!(cluster.net.sent("n3", "n4"), size, "n4 did not blame n3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_that_trickles_is_left() {
    let cluster = Cluster::new(3).await;
    cluster.pull(1).await.unwrap();
    cluster.net.fail("n2", Fault::Trickles);
    cluster.pull(2).await.unwrap();
    assert!(cluster.holds(2));
    assert!(cluster.net.sent("n2", "n3") < 2 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_copy_anywhere_is_enough_when_the_origin_is_gone() {
    let mut cluster = Cluster::new(4).await;
    cluster.bounds.begin = Duration::ZERO;
    cluster.restart_all();
    cluster.pull(3).await.unwrap();
    cluster.net.fail("n1", Fault::Down);
    cluster.pull_all(&[1, 2]).await;
    assert!(cluster.holds(1) && cluster.holds(2));
    // And the origin itself, when its copy is lost.
    cluster.net.heal("n1");
    let digest = cluster.package.manifest_digest;
    cluster.node(0).store.delete(digest).unwrap();
    cluster.pull(0).await.unwrap();
    assert!(cluster.holds(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_disk_after_a_restart_is_not_fetched_again() {
    let mut cluster = Cluster::new(2).await;
    cluster.net.fail("n1", Fault::DiesAt(6 * MIB - 1));
    let error = cluster.pull(1).await.unwrap_err();
    assert!(matches!(error, PullError::NoSource { .. }), "{error}");
    let trouble = cluster.node(1).puller.status().trouble;
    assert_eq!(
        trouble[&cluster.package.manifest_digest].code,
        code::GET_FAILED
    );
    let before = cluster.net.sent("n1", "n2");
    cluster.stop(1);
    cluster.start(1);
    cluster.net.heal("n1");
    cluster.pull(1).await.unwrap();
    assert!(cluster.holds(1));
    let again = cluster.net.sent("n1", "n2") - before;
    assert_eq!(again, cluster.package.archive_bytes - 5 * MIB);
    assert!(cluster.node(1).puller.status().trouble.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_nobody_holds_is_said_to_be_lost() {
    let cluster = Cluster::new(3).await;
    let digest = cluster.package.manifest_digest;
    cluster.node(0).store.delete(digest).unwrap();
    let lost = cluster.pull(1).await.unwrap_err();
    assert!(matches!(lost, PullError::NobodyHolds { .. }), "{lost}");
    // As long as one does not answer it may be there.
    cluster.net.fail("n3", Fault::Down);
    let unknown = cluster.pull(1).await.unwrap_err();
    assert!(matches!(unknown, PullError::NoSource { .. }), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_archive_of_the_same_package_will_do_where_there_is_no_other() {
    let cluster = Cluster::new(2).await;
    let mut order = cluster.order();
    (order.archive, order.archive_bytes) = (Digest([9; 32]), 12345);
    cluster.node(1).puller.pull(&order).await.unwrap();
    assert!(cluster.holds(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_is_refused_leaves_nothing() {
    let cluster = Cluster::new(2).await;
    let other = make_package(cluster.folder(), 2);
    let other = upload(&cluster.node(0).store, fs::read(other).unwrap()).await;
    let mut order = cluster.order();
    (order.package, order.archive) = (other.manifest_digest, other.archive_digest);
    order.archive_bytes = other.archive_bytes;
    order.policy =
        evenkeel_package_store::Policy::trusting(evenkeel_package_store::TrustedKeys::none());
    let node = cluster.node(1);
    let refused = node.puller.pull(&order).await.unwrap_err();
    assert!(refused.is_refusal(), "{refused}");
    assert_eq!(refused.code(), code::PROCESSING_FAILED);
    assert!(node.store.partials().unwrap().is_empty());
}
