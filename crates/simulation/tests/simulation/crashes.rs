//! The crash matrix: whoever coordinates, is updated, partners that, or everyone is struck right after
//! each recorded event of an update, or a while later. Whatever happens, the update comes to its end;
//! where it pauses, its reason is true, and following it leads to the end.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::{NodeName, OperationEnd, OperationId, OperationKind, Position, Problem};
use evenkeel_orchestrator::UpdateAction;
use evenkeel_record::View;
use evenkeel_simulation::{Blow, Cluster, Scene, Settings, Stand, run};

use crate::stories::REST;

/// Following an action must lead to the end, not in circles.
const PAUSES: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Coordinator,
    Updated,
    Partner,
    All,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    nodes: usize,
    after: u64,
    late: Duration,
    victim: Victim,
    blow: Blow,
}

/// The node whose lane the newest task belongs to; the first one before there is any.
fn updated(view: &View, scene: &Scene) -> NodeName {
    let newest = view.control().newest_of(&[OperationKind::Update]);
    let operation = newest.and_then(|id| view.operation(id));
    let tasks = operation.into_iter().flat_map(|o| o.tasks.values());
    let newest = tasks.max_by_key(|progress| progress.task.id);
    let first = || scene.names().remove(0);
    newest.map_or_else(first, |progress| progress.task.node.clone())
}

fn whom(victim: Victim, view: &View, scene: &Scene) -> Vec<NodeName> {
    let node = updated(view, scene);
    match victim {
        Victim::Coordinator => scene.coordinator().into_iter().collect(),
        Victim::Updated => vec![node],
        Victim::Partner => vec![scene.partner(&node)],
        Victim::All => scene.names(),
    }
}

/// How one case ended.
struct Outcome {
    pauses: Vec<Problem>,
}

async fn strike(case: Case) -> Result<Outcome, String> {
    let cluster = Cluster::start(Settings::new(case.nodes)).await;
    let at = Position(cluster.head().0 + case.after);
    let victim = case.victim;
    cluster.trip(at, case.late, case.blow, move |view, scene| {
        whom(victim, view, scene)
    });
    let started = cluster.start_update(Cluster::request()).await;
    let id = started.map_err(|refusal| format!("{refusal}\n{}", cluster.describe()))?;
    let pauses = drive(&cluster, id, case).await?;
    cluster.mend(REST).await.map_err(|stuck| stuck.0)?;
    judge(&cluster, case)?;
    Ok(Outcome { pauses })
}

/// Follows the update to its end, doing what it asks for.
async fn drive(cluster: &Cluster, mut id: OperationId, case: Case) -> Result<Vec<Problem>, String> {
    let mut pauses = Vec::new();
    loop {
        match cluster.rest(REST).await.map_err(|stuck| stuck.0)? {
            Stand::Ended(OperationEnd::Completed) => return Ok(pauses),
            Stand::Ended(end) => {
                refused_in_time(cluster, id, &end, case)?;
                cluster.mend(REST).await.map_err(|stuck| stuck.0)?;
                let again = cluster.start_update(Cluster::request()).await;
                id = again.map_err(|refusal| format!("{refusal}\n{}", cluster.describe()))?;
                continue;
            }
            Stand::PausedByUser(point) => return Err(format!("paused at {point:?}, unasked")),
            Stand::PausedOnError(problem) => {
                hold_true(cluster, &problem, case)?;
                pauses.push(problem);
            }
        }
        if pauses.len() > PAUSES {
            return Err(format!(
                "it goes in circles: {pauses:#?}\n{}",
                cluster.describe()
            ));
        }
        cluster.mend(REST).await.map_err(|stuck| stuck.0)?;
        let resumed = cluster.act(UpdateAction::Resume).await;
        resumed.map_err(|refusal| format!("{refusal}\n{}", cluster.describe()))?;
    }
}

/// Before its first effect, and only then, an update may be refused for what the blow did.
fn refused_in_time(
    cluster: &Cluster,
    id: OperationId,
    end: &OperationEnd,
    case: Case,
) -> Result<(), String> {
    let view = cluster.view();
    let untouched = view.operation(id).is_some_and(|o| o.tasks.is_empty());
    match end {
        OperationEnd::Failed { .. } if untouched && case.blow == Blow::PowerCut => Ok(()),
        end => Err(format!("ended {end:?}\n{}", cluster.describe())),
    }
}

/// A reason must be what the hardware shows, and it must say what to do.
fn hold_true(cluster: &Cluster, problem: &Problem, case: Case) -> Result<(), String> {
    let untrue = |why: &str| Err(format!("{problem}: untrue: {why}\n{}", cluster.describe()));
    if case.blow == Blow::Kill {
        return untrue("only daemons were killed: the update goes on by itself");
    }
    if problem.action.is_empty() {
        return untrue("it says nothing of what to do");
    }
    let unasked = !cluster.taken_by_others().is_empty();
    if problem.error.contains("not by this update") && !unasked {
        return untrue("no such takeover stands");
    }
    if cluster.away().is_empty() {
        return untrue("every pool is home and every node serves");
    }
    Ok(())
}

fn judge(cluster: &Cluster, case: Case) -> Result<(), String> {
    let mut wrong = cluster.violations();
    wrong.extend(cluster.unfinished());
    let outages = cluster.hardware(|hardware, _| hardware.incidents().cloned().collect::<Vec<_>>());
    for outage in outages {
        if case.blow == Blow::Kill {
            wrong.push(format!("a killed daemon cost service: {outage:?}"));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("{wrong:#?}\n{}", cluster.describe())),
    }
}

/// How many events an undisturbed update records.
fn events(nodes: usize) -> u64 {
    run(async {
        let cluster = Cluster::start(Settings::new(nodes)).await;
        let before = cluster.head().0;
        cluster
            .start_update(Cluster::request())
            .await
            .expect("admitted");
        cluster.rest(REST).await.expect("it rests");
        cluster.head().0 - before
    })
}

fn matrix(nodes: usize, victim: Victim, blow: Blow, every: usize) {
    let mut failed = Vec::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut cases = 0;
    for late in [0, 30, 400].map(Duration::from_millis) {
        for after in (1..=events(nodes)).step_by(every) {
            let case = Case {
                nodes,
                after,
                late,
                victim,
                blow,
            };
            cases += 1;
            match run(strike(case)) {
                Ok(outcome) => {
                    for problem in outcome.pauses {
                        *reasons.entry(problem.to_string()).or_default() += 1;
                    }
                }
                Err(why) => failed.push((case, why)),
            }
        }
    }
    println!("{cases} cases; pauses: {reasons:#?}");
    for (case, why) in &failed {
        println!(
            "FAILED {case:?}: {}",
            why.lines().next().unwrap_or_default()
        );
    }
    if let Some((case, why)) = failed.first() {
        panic!(
            "{} of {cases} cases failed; the first is {case:?}: {why}",
            failed.len()
        );
    }
}

macro_rules! matrix {
    ($($name:ident, $nodes:literal, $victim:ident, $blow:ident, $every:literal;)*) => {
        $(#[test]
        fn $name() {
            matrix($nodes, Victim::$victim, Blow::$blow, $every);
        })*
    };
}

matrix! {
    the_coordinator_is_killed, 2, Coordinator, Kill, 1;
    the_updated_node_is_killed, 2, Updated, Kill, 1;
    the_partner_is_killed, 2, Partner, Kill, 1;
    all_are_killed, 2, All, Kill, 1;
    the_coordinator_loses_power, 2, Coordinator, PowerCut, 1;
    the_updated_node_loses_power, 2, Updated, PowerCut, 1;
    the_partner_loses_power, 2, Partner, PowerCut, 1;
    all_lose_power, 2, All, PowerCut, 1;
}
