//! Failover by a real Pacemaker and Corosync, between hosts that are namespaces. Needs root and Debian's packages:
//! `cargo test -p evenkeel-hosts --test pacemaker -- --ignored --test-threads 1`.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use evenkeel_hosts::{Cluster, tell};
use evenkeel_model::{FenceDevice, LifName, MemberHa, PairState, TransitionStage};
use evenkeel_platform::{Failover as _, PlatformError};
use support::{A, B, Bench, Killed, answered_by, giveback, id, name, refused, stage};
use tokio::time::{Instant, sleep};

/// What the issue allows.
const GAP: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn a_node_is_taken_over_boots_and_is_given_back_root_pool_first() {
    let bench = Bench::start().await;
    let before = bench.pair(B).await;
    assert_eq!((before.takeover_veto, before.giveback_veto), (None, None));
    let fencing = bench.engine(B).fencing().await.unwrap().unwrap();
    assert!(
        matches!(&fencing.device, FenceDevice::Other { answers: true, .. }),
        "{fencing:?}"
    );
    assert_eq!((fencing.enabled, fencing.tested_s_ago), (true, Some(10)));
    assert_eq!(bench.engine(B).witness().await, Ok(None));

    let probe = bench
        .cluster
        .probe(&bench.cluster.address(A), Duration::from_millis(5))
        .unwrap();
    answered_by(&probe, "ctl-a").await;
    let mut stale = bench.request(1).await;
    stale.partner_boot = stale.local_boot;
    assert!(refused(bench.engine(B).take_over(&stale).await).contains("does not run in boot"));
    let request = bench.request(1).await;
    bench.engine(B).take_over(&request).await.unwrap();
    bench.engine(B).take_over(&request).await.unwrap();
    bench
        .until(B, "the takeover", |pair| {
            stage(pair) == Some(TransitionStage::TakenOver)
        })
        .await;
    answered_by(&probe, "ctl-b").await;
    tell_gap(&bench, &probe);
    let waiting = bench
        .until(B, "the node to wait for giveback", |pair| {
            pair.partner.ha == MemberHa::WaitingForGiveback
        })
        .await;
    assert_ne!(waiting.partner.boot_id, Some(request.partner_boot));
    let transition = waiting.transition.unwrap();
    assert_eq!((transition.id, transition.clean), (Some(id(1)), true));
    assert_eq!(transition.boot_before, Some(request.partner_boot));
    let image = bench
        .host(B)
        .output("findmnt", ["-n", "-o", "FSTYPE", "/run/pools/a_root"]);
    assert_eq!(image.unwrap().trim(), "ext4");

    let engine = bench.engine(B);
    assert!(refused(engine.give_back(&giveback(1, "a_data")).await).contains("root pool"));
    assert!(refused(engine.give_back(&giveback(2, "a_root")).await).contains("does not hold"));
    engine.give_back(&giveback(1, "a_root")).await.unwrap();
    let partial = bench.pair(B).await;
    assert_eq!(partial.partner.ha, MemberHa::PartialGiveback);
    assert_eq!(stage(&partial), Some(TransitionStage::GivingBack));
    assert!(bench.constraints(B).contains("evenkeel-hold-a_data"));
    engine.give_back(&giveback(1, "a_data")).await.unwrap();
    engine.give_back(&giveback(1, "a_data")).await.unwrap();
    let home = bench.pair(B).await;
    assert_eq!(
        (home.partner.ha, stage(&home)),
        (MemberHa::Serving, Some(TransitionStage::GivenBack))
    );
    assert!(!bench.constraints(B).contains("evenkeel"));
    engine
        .send_home(&LifName::new("a_lif").unwrap())
        .await
        .unwrap();
    assert_eq!(engine.lifs().await.unwrap()[0].current, Some(name("ctl-a")));
    engine.take_over(&request).await.unwrap();
    assert_eq!(
        stage(&bench.pair(B).await),
        Some(TransitionStage::GivenBack)
    );
}

/// Says how long the address did not answer, and what that time was made of.
fn tell_gap(bench: &Bench, probe: &evenkeel_hosts::Probe) {
    let gap = probe.longest_gap().unwrap();
    let cib = bench
        .host(B)
        .output("cibadmin", ["--query", "--scope", "status"])
        .unwrap();
    let document = roxmltree::Document::parse(&cib).unwrap();
    let took = |node: &str, operation: &str| -> u64 {
        let mut done = document.descendants().filter(|op| {
            op.has_tag_name("lrm_rsc_op")
                && op.attribute("operation") == Some(operation)
                && op.attribute("on_node") == Some(node)
                && ["a_lif_last_0", "a_root_disk_last_0"]
                    .contains(&op.attribute("id").unwrap_or(""))
        });
        let one = |op: roxmltree::Node<'_, '_>| op.attribute("exec-time")?.parse::<u64>().ok();
        done.by_ref().filter_map(one).sum()
    };
    let (stop, start) = (took("ctl-a", "stop"), took("ctl-b", "start"));
    let total = gap.length.as_millis() as u64;
    tell(&format!(
        "takeover: the address did not answer for {total} ms ({} -> {}): stop of address and file system {stop} ms, start of \
         both {start} ms, decisions, messages and ARP {} ms",
        gap.before,
        gap.after,
        total.saturating_sub(stop + start)
    ));
    assert_eq!(
        (gap.before.as_str(), gap.after.as_str()),
        ("ctl-a", "ctl-b")
    );
    assert!(gap.length < GAP, "{gap:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn a_takeover_and_a_giveback_go_on_after_a_kill_at_every_run_of_a_program() {
    let bench = Bench::start().await;
    let request = bench.request(1).await;
    let mut kills = 0;
    let mut taken = false;
    for (runs, last_is_run) in plan() {
        let killed = killed(&bench, runs, last_is_run);
        let result = bench.engine_over(B, killed).take_over(&request).await;
        taken |= result.is_ok();
        kills += usize::from(result.is_err());
    }
    assert!(taken && kills >= 4, "{kills} kills");
    bench
        .until(B, "the node to wait for giveback", |pair| {
            pair.partner.ha == MemberHa::WaitingForGiveback
                && stage(pair) == Some(TransitionStage::TakenOver)
        })
        .await;
    for pool in ["a_root", "a_data"] {
        for (runs, last_is_run) in plan() {
            let killed = killed(&bench, runs, last_is_run);
            match bench
                .engine_over(B, killed)
                .give_back(&giveback(1, pool))
                .await
            {
                Ok(()) => break,
                Err(PlatformError::Unavailable(_)) => {}
                Err(PlatformError::Refused(why)) => panic!("{pool}: {why}"),
            }
        }
        bench.engine(B).give_back(&giveback(1, pool)).await.unwrap();
    }
    let home = bench.pair(B).await;
    assert_eq!(
        (home.partner.ha, stage(&home)),
        (MemberHa::Serving, Some(TransitionStage::GivenBack))
    );
    assert!(!bench.constraints(B).contains("evenkeel"));
}

fn plan() -> impl Iterator<Item = (usize, bool)> {
    (1..=8).flat_map(|runs| [(runs, false), (runs, true)])
}

fn killed(bench: &Bench, runs: usize, last_is_run: bool) -> Arc<Killed> {
    Arc::new(Killed {
        host: bench.host(B).clone(),
        runs: AtomicUsize::new(runs),
        last_is_run,
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn a_standby_by_hand_is_not_ours() {
    let bench = Bench::start().await;
    let boot = bench.host(A).boot_id().unwrap();
    bench
        .host(B)
        .output("crm_standby", ["-N", "ctl-a", "-v", "on"])
        .unwrap();
    let pair = bench
        .until(B, "the standby", |pair| {
            stage(pair) == Some(TransitionStage::TakenOver)
        })
        .await;
    let transition = pair.transition.unwrap();
    assert_eq!((transition.id, transition.taken), (None, name("ctl-a")));
    assert_eq!(pair.partner.ha, MemberHa::WaitingForGiveback);
    let engine = bench.engine(B);
    let request = bench.request(1).await;
    assert!(refused(engine.take_over(&request).await).contains("not by Evenkeel"));
    assert!(refused(engine.give_back(&giveback(1, "a_root")).await).contains("does not hold"));
    let lif = LifName::new("a_lif").unwrap();
    assert!(refused(engine.send_home(&lif).await).contains("does not serve"));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        bench.host(A).boot_id().unwrap(),
        boot,
        "it must not reboot for that"
    );
    bench
        .host(B)
        .output("crm_standby", ["-N", "ctl-a", "-D"])
        .unwrap();
    let pair = bench
        .until(B, "the pools to be home", |pair| {
            pair.partner.ha == MemberHa::Serving
        })
        .await;
    assert_eq!((pair.transition, pair.takeover_veto), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn a_waiting_node_serves_alone_when_its_partner_was_fenced() {
    let bench = Bench::start().await;
    bench.roll_to_waiting(1).await;
    assert!(refused(bench.engine(A).serve_alone().await).contains("no proof"));
    bench.host(B).kill().unwrap();
    let pair = bench
        .until(A, "the proof of the partner's death", |pair| {
            pair.partner.ha == MemberHa::Fenced
        })
        .await;
    assert_eq!(pair.local.ha, MemberHa::WaitingForGiveback);
    bench.engine(A).serve_alone().await.unwrap();
    bench.engine(A).serve_alone().await.unwrap();
    let owners = bench.owners(A).await;
    assert!(
        owners
            .iter()
            .all(|(_, owner)| owner.as_deref() == Some("ctl-a")),
        "{owners:?}"
    );
    let transition = bench.pair(A).await.transition.unwrap();
    assert_eq!((transition.id, transition.taken), (None, name("ctl-b")));
    bench.host(B).start().unwrap();
    let pair = bench
        .until(A, "both to serve", |pair| {
            pair.local.ha == MemberHa::Serving && pair.partner.ha == MemberHa::Serving
        })
        .await;
    assert_eq!(stage(&pair), Some(TransitionStage::GivenBack));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn a_taken_node_serves_again_when_the_taker_is_lost_in_mid_takeover() {
    let bench = Bench::start().await;
    let request = bench.request(1).await;
    let boot = request.partner_boot;
    bench.engine(B).take_over(&request).await.unwrap();
    bench.host(B).kill().unwrap();
    bench
        .until(A, "the proof of the taker's death", |pair| {
            pair.partner.ha == MemberHa::Fenced
        })
        .await;
    bench.engine(A).serve_alone().await.unwrap();
    let owners = bench.owners(A).await;
    assert!(
        owners
            .iter()
            .all(|(_, owner)| owner.as_deref() == Some("ctl-a")),
        "{owners:?}"
    );
    assert_eq!(
        bench.host(A).boot_id().unwrap(),
        boot,
        "the last one must not shut down"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn a_node_lost_in_mid_takeover_is_taken_over_and_did_not_leave_cleanly() {
    let bench = Bench::start().await;
    let request = bench.request(1).await;
    bench.engine(B).take_over(&request).await.unwrap();
    bench.host(A).kill().unwrap();
    let pair = bench
        .until(B, "the takeover", |pair| {
            stage(pair) == Some(TransitionStage::TakenOver)
        })
        .await;
    let transition = pair.transition.unwrap();
    assert_eq!((transition.id, transition.clean), (Some(id(1)), false));
    assert_eq!(pair.partner.ha, MemberHa::Fenced);
    bench.host(A).start().unwrap();
    bench
        .until(B, "the node to wait for giveback", |pair| {
            pair.partner.ha == MemberHa::WaitingForGiveback
        })
        .await;
    for pool in ["a_root", "a_data"] {
        bench.engine(B).give_back(&giveback(1, pool)).await.unwrap();
    }
    assert_eq!(bench.pair(B).await.partner.ha, MemberHa::Serving);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn a_takeover_by_which_a_pool_does_not_start_is_taken_back_before_and_after_a_boot() {
    let bench = Bench::start().await;
    let pool = ["-n", "-o", "SOURCE", "/run/pools/a_root"];
    let device = bench.host(A).output("findmnt", pool).unwrap();
    let hide = ["--bind", "/dev/null", device.trim()];
    for (number, is_lost) in [(1, false), (2, true)] {
        let request = bench.request(number).await;
        bench.host(B).output("mount", hide).unwrap();
        bench.engine(B).take_over(&request).await.unwrap();
        if is_lost {
            bench.host(A).kill().unwrap();
            bench
                .until(B, "the fencing", |pair| pair.partner.ha == MemberHa::Fenced)
                .await;
            bench.host(A).start().unwrap();
        }
        let given_back = |pair: &PairState| {
            stage(pair) == Some(TransitionStage::GivenBack) && pair.partner.ha == MemberHa::Serving
        };
        let back = bench.until(B, "the takeover's end", given_back).await;
        let transition = back.transition.unwrap();
        let why = transition.trouble.unwrap();
        assert_eq!(transition.id, Some(id(number)));
        assert!(
            why.starts_with("pool a_root is not served by ctl-b: the action a_root_disk_start_0 failed on ctl-b ("),
            "{why}"
        );
        let boot = bench.host(A).boot_id().unwrap();
        assert_eq!(boot != request.partner_boot, is_lost);
        assert!(
            back.takeover_veto
                .unwrap()
                .contains("crm_resource --cleanup")
        );
        bench.host(B).output("umount", [device.trim()]).unwrap();
        let cleanup = ["--cleanup"];
        bench.host(B).output("crm_resource", cleanup).unwrap();
        bench
            .until(B, "no veto", |pair| pair.takeover_veto.is_none())
            .await;
    }
    bench.roll_to_waiting(3).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn what_a_partner_has_that_leaves_in_order_goes_home_taken_over_or_half_given_back() {
    let bench = Bench::start().await;
    for (number, begins_giveback) in [(1, false), (2, true)] {
        bench.roll_to_waiting(number).await;
        if begins_giveback {
            let root = giveback(number, "a_root");
            bench.engine(B).give_back(&root).await.unwrap();
        }
        // Corosync goes on.
        let partner = bench.host(B);
        let id = partner.output("pgrep", ["-x", "pacemakerd"]).unwrap();
        partner.output("kill", ["-TERM", id.trim()]).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let owners = bench.owners(A).await;
            let is_here = |(_, owner): &(String, Option<String>)| owner.as_deref() == Some("ctl-a");
            if owners.iter().all(is_here) {
                break;
            }
            assert!(Instant::now() < deadline, "{number}: {owners:?}");
            sleep(Duration::from_millis(500)).await;
        }
        assert!(!bench.constraints(A).contains("evenkeel"));
        bench.host(B).kill().unwrap();
        bench.host(B).start().unwrap();
        bench
            .until(A, "both to serve", |pair| {
                pair.local.ha == MemberHa::Serving && pair.partner.ha == MemberHa::Serving
            })
            .await;
    }
}

/// As a firewall does: pings to an address are dropped where it is.
fn without_pings(address: &str) -> String {
    format!(
        "table ip silent {{ chain in {{ type filter hook input priority 0; ip daddr {address} icmp type echo-request drop; }}; }}"
    )
}

/// As on a network that is cut: whoever has the address is not asked.
fn without_arp(address: &str) -> String {
    format!(
        "table arp silent {{ chain out {{ type filter hook output priority 0; arp daddr ip {address} drop; }}; }}"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn a_taken_node_stays_up_until_its_partners_addresses_answer() {
    let bench = Bench::start().await;
    let address = bench.cluster.address(A);
    let rules = [(A, without_arp(&address)), (B, without_pings(&address))];
    for (index, rules) in rules {
        bench.host(index).output("nft", [rules]).unwrap();
    }
    let request = bench.request(1).await;
    bench.engine(B).take_over(&request).await.unwrap();
    let why = bench.alert(A, "does not answer").await;
    assert_eq!(
        stage(&bench.pair(B).await),
        Some(TransitionStage::TakingOver)
    );
    assert!(
        why.contains(&format!(
            "LIF a_lif ({address}) on ctl-b does not answer ctl-a"
        )) && why.contains("no reply to ping"),
        "{why}"
    );
    assert_eq!(bench.host(A).boot_id().unwrap(), request.partner_boot);
    // Only pings are dropped now.
    let heard = ["delete", "table", "arp", "silent"];
    bench.host(A).output("nft", heard).unwrap();
    let left = |pair: &PairState| pair.transition.as_ref().is_some_and(|it| it.clean);
    bench.until(B, "the node to shut down", left).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn a_lost_node_is_fenced_and_a_clean_leave_is_not() {
    let bench = Bench::start().await;
    let probe = bench
        .cluster
        .probe(&bench.cluster.address(A), Duration::from_millis(5))
        .unwrap();
    answered_by(&probe, "ctl-a").await;
    let answers = || {
        let mut ping = bench.cluster.client("ping");
        ping.args(["-c", "1", "-W", "1", &bench.host(A).address()]);
        ping.output().unwrap().status.success()
    };
    assert!(answers());
    bench.host(A).kill().unwrap();
    assert!(!answers(), "not even its kernel may");
    let pair = bench
        .until(B, "the forced takeover", |pair| {
            stage(pair) == Some(TransitionStage::TakenOver)
        })
        .await;
    assert_eq!(pair.partner.ha, MemberHa::Fenced);
    let transition = pair.transition.unwrap();
    assert_eq!((transition.id, transition.clean), (None, false));
    answered_by(&probe, "ctl-b").await;
    let gap = probe.longest_gap().unwrap();
    assert_eq!(
        (gap.before.as_str(), gap.after.as_str()),
        ("ctl-a", "ctl-b")
    );
    tell(&format!("loss of power: silent for {:?}", gap.length));
    bench.host(A).start().unwrap();
    bench
        .until(B, "the node to serve", |pair| {
            pair.partner.ha == MemberHa::Serving
        })
        .await;
    // By then it has heard of the fencing that it came after.
    sleep(Duration::from_secs(3)).await;
    bench.host(A).shut_down().unwrap();
    let pair = bench
        .until(B, "the node to be gone", |pair| {
            pair.partner.ha != MemberHa::Serving
        })
        .await;
    assert_eq!(pair.partner.ha, MemberHa::Down);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn four_hosts_are_two_pairs_on_one_network() {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(4).unwrap());
    let cluster = cluster.await.unwrap();
    for (index, host) in cluster.hosts().iter().enumerate() {
        let probe = cluster
            .probe(&cluster.address(index), Duration::from_millis(20))
            .unwrap();
        for _ in 0..100 {
            sleep(Duration::from_millis(50)).await;
            if probe.newest().is_some() {
                break;
            }
        }
        assert_eq!(probe.newest().as_deref(), Some(host.name()));
        let other = cluster.host(index ^ 1).name();
        let members = host.output("crm_node", ["--partition"]).unwrap();
        assert_eq!(members.split_ascii_whitespace().count(), 2, "{members}");
        assert!(members.contains(other), "{members}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and Pacemaker"]
async fn a_constraint_that_only_the_scheduler_understands_is_heeded() {
    let bench = Bench::start().await;
    let apart =
        "<rsc_colocation id=\"apart\" rsc=\"a_data\" with-rsc=\"b_data\" score=\"-INFINITY\"/>";
    let constraint = |what| [what, "--scope", "constraints", "--xml-text", apart];
    bench
        .host(B)
        .output("cibadmin", constraint("--create"))
        .unwrap();
    let request = bench.request(1).await;
    let why = refused(bench.engine(B).take_over(&request).await);
    assert!(why.contains("a_data is not served by ctl-b"), "{why}");
    assert_eq!(bench.pair(B).await.transition, None);
    bench
        .host(B)
        .output("cibadmin", constraint("--delete"))
        .unwrap();
    bench.engine(B).take_over(&request).await.unwrap();
}
