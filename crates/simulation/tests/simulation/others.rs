//! What others wrote and nodes run: the checks of a package, the operator's gate script; and the gates beside it.

use std::time::Duration;

use evenkeel_agent::GateAnswer;
use evenkeel_model::{
    BundledCheck, BundledFinding, GateCondition, NodeName, OperationEnd, Severity,
};
use evenkeel_orchestrator::{GatesChange, UpdateAction};
use evenkeel_platform::sim::Fault;
use evenkeel_simulation::{Blow, Cluster, ScriptedChecks, Settings, Stand, admin, run};

use crate::stories::{REST, begun, completes, problem, resume, served_always, sound};

const CHECK: &str = "checks/layout";

/// A cluster whose package brings a check.
async fn with_check(nodes: usize) -> Cluster {
    let check = BundledCheck {
        path: CHECK.to_owned(),
        timeout_seconds: Some(20),
    };
    let settings = Settings {
        checks: vec![check],
        ..Settings::new(nodes)
    };
    Cluster::start(settings).await
}

fn finding(severity: Severity) -> ScriptedChecks {
    let finding = BundledFinding {
        check: CHECK.to_owned(),
        severity,
        issue: "The layout is old.".to_owned(),
        action: "Convert it.".to_owned(),
    };
    ScriptedChecks {
        findings: vec![finding],
        hang: false,
    }
}

/// How the update was refused, and what its validation found.
async fn refused(cluster: &Cluster) -> (String, Vec<String>) {
    let stand = cluster.rest(REST).await.expect("it rests");
    let Stand::Ended(OperationEnd::Failed { message, .. }) = stand else {
        panic!("{stand:?}\n{}", cluster.describe());
    };
    let view = cluster.view();
    let update = view.operation(cluster.newest_update().unwrap()).unwrap();
    let findings = update.findings.iter().flatten();
    let texts = findings.map(|f| format!("{}: {}", f.check, f.issue));
    (message, texts.collect())
}

#[test]
fn the_checks_of_a_package_run_on_every_node_and_count() {
    run(async {
        let cluster = with_check(4).await;
        let names = cluster.names();
        cluster.script_checks(&names[1], finding(Severity::Error));
        cluster.script_checks(&names[2], finding(Severity::Error));
        cluster.start_update(Cluster::request()).await.unwrap();
        let (message, texts) = refused(&cluster).await;
        assert!(message.contains(CHECK), "{message}");
        let text = format!(
            "{CHECK}: On \"{}\", \"{}\": The layout is old.",
            names[1], names[2]
        );
        assert_eq!(texts, [text]);
        let mut ran: Vec<NodeName> = cluster.check_runs().into_iter().map(|(n, _)| n).collect();
        ran.sort();
        assert_eq!(ran, names);

        // Warnings can be skipped, and another validation runs them again.
        cluster.script_checks(&names[1], finding(Severity::Warning));
        cluster.script_checks(&names[2], ScriptedChecks::default());
        cluster.start_update(Cluster::request()).await.unwrap();
        refused(&cluster).await;
        let request = Cluster::request_with(|request| request.skip_warnings = true);
        cluster.start_update(request).await.unwrap();
        completes(&cluster).await;
        assert_eq!(cluster.check_runs().len(), 12);
    });
}

#[test]
fn a_check_that_never_ends_is_an_error_that_names_its_node() {
    run(async {
        let cluster = with_check(2).await;
        let names = cluster.names();
        let hang = ScriptedChecks {
            hang: true,
            ..ScriptedChecks::default()
        };
        cluster.script_checks(&names[1], hang);
        cluster.start_update(Cluster::request()).await.unwrap();
        let (_, texts) = refused(&cluster).await;
        let text = format!(
            "On \"{}\": The checks that 9.10.1 brings could not run",
            names[1]
        );
        assert!(texts.iter().any(|t| t.contains(&text)), "{texts:?}");
        sound(&cluster);
    });
}

#[test]
fn a_daemon_that_dies_while_it_checks_is_asked_again() {
    run(async {
        let cluster = with_check(2).await;
        let names = cluster.names();
        cluster.start_update(Cluster::request()).await.unwrap();
        let struck = cluster.until(REST, |_| {
            let ran = cluster.check_runs();
            ran.iter().any(|(node, _)| *node == names[1]).then_some(())
        });
        struck.await.unwrap();
        cluster.strike(&names[1], Blow::Kill);
        completes(&cluster).await;
        let again = cluster.check_runs();
        assert!(again.iter().filter(|(node, _)| *node == names[1]).count() > 1);
    });
}

/// A pair whose updates wait for conditions, or for a script.
async fn gated(conditions: Vec<GateCondition>) -> Cluster {
    let cluster = Cluster::start(Settings::new(2)).await;
    let change = GatesChange {
        conditions: Some(conditions),
        hold_minutes: Some(2),
        longest_minutes: Some(30),
    };
    let coordinator = cluster.coordinator().unwrap();
    let door = cluster.door(&coordinator).expect("it runs");
    door.set_gates(change, admin()).await.unwrap();
    cluster
}

/// The node whose turn is second: the coordinator of the beginning.
fn second(cluster: &Cluster) -> (usize, NodeName) {
    let coordinator = cluster.coordinator().unwrap();
    let names = cluster.names();
    let at = names.iter().position(|name| *name == coordinator).unwrap();
    (at, coordinator)
}

#[test]
fn a_gate_waits_until_the_load_has_been_low_for_a_while() {
    run(async {
        let cluster = gated(vec![GateCondition::LoadBelow { percent: 50 }]).await;
        let (at, second) = second(&cluster);
        cluster.start_update(Cluster::request()).await.unwrap();
        begun(&cluster, at ^ 1, "do-commit-job").await;
        cluster.set_fault(&second, Fault::HighLoad, true);
        begun(&cluster, at, "do-gate-job").await;
        let busy = problem(&cluster).await;
        assert!(busy.error.contains("load below 50 %"), "{busy}");
        cluster.set_fault(&second, Fault::HighLoad, false);
        resume(&cluster).await;
        completes(&cluster).await;
        served_always(&cluster);
    });
}

#[test]
fn the_operators_script_lets_the_update_go_on_or_stops_it() {
    run(async {
        let cluster = gated(vec![GateCondition::Script]).await;
        let (at, second) = second(&cluster);
        cluster.script_gate(GateAnswer::NotYet("caches are cold".to_owned()));
        cluster.start_update(Cluster::request()).await.unwrap();
        begun(&cluster, at, "do-gate-script-job").await;
        let asked = cluster.until(REST, |_| (cluster.gate_asked().len() > 3).then_some(()));
        asked.await.unwrap();
        cluster.strike(&second, Blow::Kill);
        let asked = cluster.gate_asked().len();
        let again = cluster.until(REST, |_| {
            (cluster.gate_asked().len() > asked + 2).then_some(())
        });
        again.await.unwrap();
        let cold = problem(&cluster).await;
        assert!(cold.error.contains("caches are cold"), "{cold}");
        cluster.script_gate(GateAnswer::Trouble("exit code 2: no".to_owned()));
        resume(&cluster).await;
        let trouble = problem(&cluster).await;
        assert!(trouble.error.contains("exit code 2: no"), "{trouble}");
        cluster.script_gate(GateAnswer::Open);
        resume(&cluster).await;
        completes(&cluster).await;
        assert!(
            cluster
                .gate_asked()
                .iter()
                .all(|asked| asked.node == second)
        );
        served_always(&cluster);
    });
}

#[test]
fn a_cancel_at_a_gate_ends_it() {
    run(async {
        let cluster = gated(vec![GateCondition::Script]).await;
        let (at, _) = second(&cluster);
        cluster.script_gate(GateAnswer::NotYet("wait".to_owned()));
        cluster.start_update(Cluster::request()).await.unwrap();
        begun(&cluster, at, "do-gate-script-job").await;
        cluster.act(UpdateAction::Pause).await.unwrap();
        let paused = cluster.rest(REST).await.unwrap();
        assert!(matches!(paused, Stand::PausedByUser(_)), "{paused:?}");
        cluster.act(UpdateAction::Cancel).await.unwrap();
        let over = cluster.until(Duration::from_secs(60), |view| {
            let newest = view.operation(cluster.newest_update()?)?;
            newest.is_ended().then_some(())
        });
        over.await.unwrap();
        sound(&cluster);
    });
}
