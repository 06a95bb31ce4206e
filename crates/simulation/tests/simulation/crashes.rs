//! The crash matrix: whoever coordinates, is updated, partners that, or everyone is struck right after
//! each recorded event, or a while later. Whatever happens, what was begun comes to its end; where an
//! update pauses, its reason is true, and following it leads to the end.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::{NodeName, OperationKind, Position, Problem};
use evenkeel_record::View;
use evenkeel_simulation::{Blow, Cluster, Scene, Settings, run};

use crate::scenarios::Scenario;
use crate::stories::REST;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Victim {
    Coordinator,
    Updated,
    Partner,
    All,
}

const VICTIMS: [Victim; 4] = [
    Victim::Coordinator,
    Victim::Updated,
    Victim::Partner,
    Victim::All,
];

/// One cell of the matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    pub(crate) nodes: usize,
    /// The event, counted from the scenario's begin.
    pub(crate) after: u64,
    pub(crate) late: Duration,
    pub(crate) victim: Victim,
    pub(crate) blow: Blow,
    pub(crate) dark_for: Duration,
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

/// Runs a case; says with what problems the update paused.
async fn strike(case: Case) -> Result<Vec<Problem>, String> {
    let mut settings = Settings::new(case.nodes);
    settings.dark_for = case.dark_for;
    let cluster = Cluster::start(settings).await;
    let at = Position(cluster.head().0 + case.after);
    let victim = case.victim;
    cluster.trip(at, case.late, case.blow, move |view, scene| {
        whom(victim, view, scene)
    });
    let pauses = case.scenario.play(&cluster, case.blow).await;
    let pauses = pauses.map_err(|why| format!("{why}\n{}", cluster.describe()))?;
    cluster.mend(REST).await.map_err(|stuck| stuck.0)?;
    // Nodes that came up together say one after the other what they run, a quarter of a second each; and a
    // blow after the last event may still be felt.
    for _ in 0..30 {
        if judge(&cluster, case).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    judge(&cluster, case)?;
    Ok(pauses)
}

fn judge(cluster: &Cluster, case: Case) -> Result<(), String> {
    let mut wrong = cluster.violations();
    wrong.extend(case.scenario.left_undone(cluster));
    let outages: Vec<_> = cluster.hardware(|hardware, _| hardware.incidents().cloned().collect());
    if case.blow == Blow::Kill {
        let cost = |outage| format!("a killed daemon cost service: {outage:?}");
        wrong.extend(outages.into_iter().map(cost));
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(format!("{wrong:#?}\n{}", cluster.describe())),
    }
}

/// How many events an undisturbed run records.
fn events(scenario: Scenario, nodes: usize) -> u64 {
    run(async {
        let cluster = Cluster::start(Settings::new(nodes)).await;
        let before = cluster.head().0;
        let played = scenario.play(&cluster, Blow::Kill).await;
        played.unwrap_or_else(|why| panic!("undisturbed: {why}\n{}", cluster.describe()));
        cluster.head().0 - before
    })
}

/// A part of the matrix.
struct Part {
    scenario: Scenario,
    nodes: usize,
    victims: &'static [Victim],
    blow: Blow,
    late_ms: &'static [u64],
    every: usize,
    dark_for: Duration,
}

impl Part {
    fn new(scenario: Scenario, blow: Blow, victims: &'static [Victim]) -> Self {
        Self {
            scenario,
            nodes: 2,
            victims,
            blow,
            late_ms: &[0, 30, 400],
            every: 1,
            dark_for: Duration::from_secs(6),
        }
    }

    fn cases(&self) -> Vec<Case> {
        let events = events(self.scenario, self.nodes);
        let mut cases = Vec::new();
        for victim in self.victims {
            for late in self.late_ms {
                cases.extend((1..=events).step_by(self.every).map(|after| Case {
                    scenario: self.scenario,
                    nodes: self.nodes,
                    after,
                    late: Duration::from_millis(*late),
                    victim: *victim,
                    blow: self.blow,
                    dark_for: self.dark_for,
                }));
            }
        }
        cases
    }

    fn hold(self) {
        let cases = self.cases();
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut failed = Vec::new();
        for case in &cases {
            match run(strike(*case)) {
                Ok(pauses) => pauses
                    .into_iter()
                    .for_each(|problem| *reasons.entry(problem.to_string()).or_default() += 1),
                Err(why) => failed.push((case, why)),
            }
        }
        println!("{} cases; pauses: {reasons:#?}", cases.len());
        for (case, why) in &failed {
            let first = why.lines().next().unwrap_or_default();
            println!("FAILED {case:?}: {first}");
        }
        if let Some((case, why)) = failed.first() {
            let (all, bad) = (cases.len(), failed.len());
            panic!("{bad} of {all} cases failed; the first is {case:?}: {why}");
        }
    }
}

macro_rules! of_a_pair {
    ($($name:ident: $victim:ident, $blow:ident;)*) => {
        $(#[test]
        fn $name() {
            Part::new(Scenario::Update, Blow::$blow, &[Victim::$victim]).hold();
        })*
    };
}

of_a_pair! {
    the_coordinator_is_killed: Coordinator, Kill;
    the_updated_node_is_killed: Updated, Kill;
    the_partner_is_killed: Partner, Kill;
    all_are_killed: All, Kill;
    the_coordinator_loses_power: Coordinator, PowerCut;
    the_updated_node_loses_power: Updated, PowerCut;
    the_partner_loses_power: Partner, PowerCut;
    all_lose_power: All, PowerCut;
}

/// Longer than the planner bears a node's silence.
#[test]
fn power_stays_away_for_long() {
    let mut part = Part::new(Scenario::Update, Blow::PowerCut, &VICTIMS);
    (part.late_ms, part.every) = (&[30], 5);
    part.dark_for = Duration::from_secs(200);
    part.hold();
}

#[test]
fn two_pairs_are_killed() {
    let mut part = Part::new(Scenario::Update, Blow::Kill, &VICTIMS);
    (part.nodes, part.late_ms, part.every) = (4, &[0], 4);
    part.hold();
}

#[test]
fn two_pairs_lose_power() {
    let mut part = Part::new(Scenario::Update, Blow::PowerCut, &VICTIMS);
    (part.nodes, part.late_ms, part.every) = (4, &[30], 4);
    part.hold();
}

/// Four pairs go in two batches, two nodes at a time: whoever is struck, the other lane goes on.
#[test]
fn batches_are_killed() {
    let mut part = Part::new(Scenario::Update, Blow::Kill, &VICTIMS);
    (part.nodes, part.late_ms, part.every) = (8, &[0], 24);
    part.hold();
}

#[test]
fn batches_lose_power() {
    let mut part = Part::new(Scenario::Update, Blow::PowerCut, &VICTIMS);
    (part.nodes, part.late_ms, part.every) = (8, &[30], 37);
    part.hold();
}

macro_rules! of_scenarios {
    ($($name:ident: $scenario:ident, $blow:ident, $late_ms:expr, every $every:literal;)*) => {
        $(#[test]
        fn $name() {
            let mut part = Part::new(Scenario::$scenario, Blow::$blow, &VICTIMS);
            (part.late_ms, part.every) = (&$late_ms, $every);
            part.hold();
        })*
    };
}

of_scenarios! {
    killed_while_a_node_falls_back: Fallback, Kill, [0], every 2;
    without_power_while_a_node_falls_back: Fallback, PowerCut, [30], every 3;
    killed_while_it_is_paused_and_cancelled: Cancel, Kill, [0], every 1;
    without_power_while_it_is_paused_and_cancelled: Cancel, PowerCut, [30], every 2;
    killed_while_it_pauses_everywhere: Pauses, Kill, [0], every 2;
    without_power_while_it_pauses_everywhere: Pauses, PowerCut, [30], every 3;
    killed_while_a_package_comes_in: Get, Kill, [0, 400], every 1;
    without_power_while_a_package_comes_in: Get, PowerCut, [0, 400], every 1;
    killed_while_a_package_is_carried_again: Sync, Kill, [0, 100], every 1;
    without_power_while_a_package_is_carried_again: Sync, PowerCut, [0, 100], every 1;
    killed_while_a_package_is_deleted: Delete, Kill, [0, 30], every 1;
    without_power_while_a_package_is_deleted: Delete, PowerCut, [0, 30], every 1;
}
