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

/// A part of the matrix: at every event.
struct Part {
    scenario: Scenario,
    nodes: usize,
    blow: Blow,
    late_ms: &'static [u64],
    /// How many of the [`VICTIMS`] are struck at each event, one in each run. All of them: as late as each of
    /// `late_ms` says. Fewer: others and another lateness from event to event, so that each meets each.
    each: usize,
    dark_for: Duration,
}

impl Part {
    fn new(scenario: Scenario, blow: Blow) -> Self {
        Self {
            scenario,
            nodes: 2,
            blow,
            late_ms: &[0, 30, 400],
            each: VICTIMS.len(),
            dark_for: Duration::from_secs(6),
        }
    }

    fn cases(&self) -> Vec<Case> {
        let events = events(self.scenario, self.nodes);
        let of_event = |after: u64| {
            let case = move |(victim, late): (Victim, u64)| Case {
                scenario: self.scenario,
                nodes: self.nodes,
                after,
                late: Duration::from_millis(late),
                victim,
                blow: self.blow,
                dark_for: self.dark_for,
            };
            self.strikes(after as usize).into_iter().map(case)
        };
        (1..=events).flat_map(of_event).collect()
    }

    /// Who is struck at that event, and how many milliseconds later.
    fn strikes(&self, event: usize) -> Vec<(Victim, u64)> {
        let all = VICTIMS.len();
        if self.each == all {
            let of = |victim: Victim| self.late_ms.iter().map(move |late| (victim, *late));
            return VICTIMS.into_iter().flat_map(of).collect();
        }
        // Tasks begin and end by turns: who is struck at the beginnings of four is struck at the ends of the next.
        let turn = event + event / all;
        let victims = (0..self.each).map(|it| VICTIMS[(turn + it * all / self.each) % all]);
        let late = self.late_ms[event % self.late_ms.len()];
        victims.map(|victim| (victim, late)).collect()
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

/// Four pairs go in two batches, two nodes at a time: whoever is struck, the other lane goes on.
macro_rules! parts {
    ($($name:ident: $scenario:ident of $nodes:literal, $blow:ident, $late_ms:expr, $each:literal each;)*) => {
        $(#[test]
        fn $name() {
            let mut part = Part::new(Scenario::$scenario, Blow::$blow);
            (part.nodes, part.late_ms, part.each) = ($nodes, &$late_ms, $each);
            part.hold();
        })*
    };
}

parts! {
    a_pair_is_killed: Update of 2, Kill, [0, 30, 400], 4 each;
    a_pair_loses_power: Update of 2, PowerCut, [0, 30, 400], 4 each;
    two_pairs_are_killed: Update of 4, Kill, [0, 30, 400], 1 each;
    two_pairs_lose_power: Update of 4, PowerCut, [0, 30, 400], 1 each;
    batches_are_killed: Update of 8, Kill, [0, 30, 400], 1 each;
    batches_lose_power: Update of 8, PowerCut, [0, 30, 400], 1 each;
    killed_while_a_node_falls_back: Fallback of 2, Kill, [0, 30, 400], 2 each;
    without_power_while_a_node_falls_back: Fallback of 2, PowerCut, [0, 30, 400], 2 each;
    killed_while_it_is_paused_and_cancelled: Cancel of 2, Kill, [0], 4 each;
    without_power_while_it_is_paused_and_cancelled: Cancel of 2, PowerCut, [0, 30, 400], 2 each;
    killed_while_it_pauses_everywhere: Pauses of 2, Kill, [0, 30, 400], 2 each;
    without_power_while_it_pauses_everywhere: Pauses of 2, PowerCut, [0, 30, 400], 2 each;
    killed_while_a_package_comes_in: Get of 2, Kill, [0, 400], 4 each;
    without_power_while_a_package_comes_in: Get of 2, PowerCut, [0, 400], 4 each;
    killed_while_a_package_is_carried_again: Sync of 2, Kill, [0, 100], 4 each;
    without_power_while_a_package_is_carried_again: Sync of 2, PowerCut, [0, 100], 4 each;
    killed_while_a_package_is_deleted: Delete of 2, Kill, [0, 30], 4 each;
    without_power_while_a_package_is_deleted: Delete of 2, PowerCut, [0, 30], 4 each;
}

/// Longer than the planner bears a node's silence.
#[test]
fn power_stays_away_for_long() {
    let mut part = Part::new(Scenario::Update, Blow::PowerCut);
    (part.late_ms, part.each) = (&[30], 1);
    part.dark_for = Duration::from_secs(200);
    part.hold();
}
