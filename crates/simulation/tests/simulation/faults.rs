//! Every fault of the hardware turns those checks red, or blind, that the operators' table says, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_model::{Finding, OperationKind, OperationState, Severity, UpdateRequest};
use evenkeel_platform::sim::Fault;
use evenkeel_simulation::{Cluster, NEW, Settings, admin, run};
use tokio::time::sleep;

/// Longer than a coordinator looks at its nodes.
const SEEN: Duration = Duration::from_secs(10);

/// These are of no check's concern while nothing moves, or of every check's: a node that does not answer.
const ELSEWHERE: [Fault; 8] = [
    Fault::PowerOff,
    Fault::Cut,
    Fault::Slow,
    Fault::HangBoot,
    Fault::SlowBoot,
    Fault::BadImage,
    Fault::Flap,
    Fault::NoDaemon,
];

/// Checks of packages, versions and settings: no fault of hardware makes one of those.
const OF_PACKAGES: [&str; 5] = [
    "Disk Qualification Package status",
    "Gate script status",
    "Upgrade Version Compatibility Status",
    "Compatible New Image Check",
    "Manual checks",
];

type Listed = BTreeMap<String, BTreeSet<String>>;

/// The checks, with their severity, that the table names beside each fault, and the checks that it gives no
/// fault. Where a check is blind it is an error, whatever it says when it sees.
fn table() -> (Listed, Vec<String>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/checks.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let (mut red, mut blind) = (Listed::new(), Listed::new());
    let mut by_fault = Listed::new();
    for line in guide.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [check, severity @ ("error" | "warning"), _, reds, blinds, _] = cells[..] else {
            continue;
        };
        for (cell, severity, of_check) in
            [(reds, severity, &mut red), (blinds, "error", &mut blind)]
        {
            let faults = of_check.entry(check.to_owned()).or_default();
            let named = cell.split('`').skip(1).step_by(2);
            for fault in named.filter(|name| name.parse::<Fault>().is_ok()) {
                faults.insert(fault.to_owned());
                let checks = by_fault.entry(fault.to_owned()).or_default();
                checks.insert(format!("{check}: {severity}"));
            }
        }
    }
    let lacks = |faults: &Listed, check: &String| faults[check].is_empty();
    let bare = red
        .keys()
        .filter(|check| lacks(&red, check) || lacks(&blind, check));
    (by_fault, bare.cloned().collect())
}

fn told(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    format!("{}: {severity}", finding.check)
}

async fn findings(cluster: &Cluster) -> Vec<Finding> {
    cluster
        .ask(async |door| {
            door.validate(UpdateRequest::new(NEW.parse().unwrap()), admin())
                .await
        })
        .await
        .unwrap();
    let ended = cluster.until(Duration::from_secs(120), |view| {
        let newest = view.control().newest_of(&[OperationKind::Validation])?;
        let validation = view.operation(newest)?;
        let ended = matches!(validation.state, OperationState::Ended { .. });
        validation.findings.clone().filter(|_| ended)
    });
    ended.await.unwrap()
}

#[test]
fn every_check_has_a_fault_that_turns_it_red_and_one_that_blinds_it() {
    let (by_fault, bare) = table();
    assert!(by_fault.len() > 40, "the table was not read: {by_fault:?}");
    let of_hardware = |check: &&String| !OF_PACKAGES.contains(&check.as_str());
    assert_eq!(bare.iter().find(of_hardware), None);
}

#[test]
fn every_fault_turns_red_what_the_operators_table_says() {
    let (by_fault, _) = table();
    run(async {
        let cluster = Cluster::start(Settings::new(2)).await;
        sleep(SEEN).await;
        assert_eq!(findings(&cluster).await, []);
        let me = cluster.coordinator().unwrap();
        let node = cluster
            .names()
            .into_iter()
            .find(|name| *name != me)
            .unwrap();
        for fault in Fault::ALL
            .iter()
            .copied()
            .filter(|f| !ELSEWHERE.contains(f))
        {
            cluster.set_fault(&node, fault, true);
            sleep(SEEN).await;
            let found = findings(&cluster).await;
            let red: BTreeSet<String> = found.iter().map(told).collect();
            let listed = by_fault.get(fault.name()).cloned().unwrap_or_default();
            assert_eq!(red, listed, "{fault}: {found:?}");
            let blind = fault.name().starts_with("blind-");
            let unseen = found
                .iter()
                .filter(|f| f.issue.contains("could not run on node"));
            assert_eq!(unseen.count(), if blind { red.len() } else { 0 }, "{fault}");
            cluster.set_fault(&node, fault, false);
        }
        sleep(SEEN).await;
        assert_eq!(findings(&cluster).await, []);
    });
}
