//! Plays a story.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use evenkeel_agent::GateAnswer;
use evenkeel_interconnect::Echo;
use evenkeel_model::{FirmwareKind, NodeName, OperationEnd, OperationKind, UpdateRequest};
use evenkeel_orchestrator::UpdateAction;
use evenkeel_platform::sim::Fault;
use evenkeel_record::View;
use evenkeel_seam::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::script::{Act, Gust, Script, When};
use crate::cluster::{Cluster, run};
use crate::conditions::DiskState;
use crate::drive::{Stand, stand_of};
use crate::hooks::ScriptedChecks;
use crate::settings::{NEW, Settings};
use crate::world::Blow;

/// A version that is no one's yet.
pub(super) const EXTRA: &str = "9.10.2";
/// Longer than any wait that the planner allows at the length of a minute that storms use.
pub(super) const REST: Duration = Duration::from_secs(900);
/// How long a gust waits for its task.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long a storm waits for an operator who does not get an answer.
pub(super) const OPERATOR: Duration = Duration::from_secs(60);
/// How long a node's word of what it runs may be on its way.
const SHOWN: Duration = Duration::from_secs(30);
/// Following what is asked for must lead to the end, not in circles.
const STOPS: usize = 12;

/// What came of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// What went wrong, if anything did.
    pub wrong: Option<String>,
    /// Of every event and every line of the hardware's log: the same story gives the same.
    pub fingerprint: u64,
    /// How many events were recorded.
    pub events: usize,
    /// Everything that was recorded, and what the hardware did: as [`tell`] wants it, else empty.
    pub told: String,
}

/// Plays a story, and tells all that happened.
pub fn tell(script: &Script) -> String {
    run(storm(script, true)).told
}

/// Plays a story on a runtime of its own.
pub fn play(script: &Script) -> Played {
    let played = catch_unwind(AssertUnwindSafe(|| run(storm(script, false))));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Played {
            wrong: Some(format!("a panic: {}", text.unwrap_or_default())),
            fingerprint: 0,
            events: 0,
            told: String::new(),
        }
    })
}

async fn storm(script: &Script, tells: bool) -> Played {
    let mut settings = Settings::new(script.nodes);
    settings.seed = script.seed;
    settings.record_faults = script.record;
    if script.checks {
        settings.checks = vec![super::hands::check()];
    }
    let cluster = Cluster::start(settings).await;
    let mut storm = Storm {
        names: cluster.names(),
        bell: cluster.bell(),
        cluster,
        script,
        undo: Vec::new(),
        brought: BTreeSet::new(),
    };
    let wrong = storm.play().await.err();
    Played {
        wrong: wrong.map(|what| format!("{what}\n{}", storm.cluster.describe())),
        fingerprint: storm.fingerprint(),
        events: storm.cluster.entries().len(),
        told: match tells {
            true => storm.cluster.describe(),
            false => String::new(),
        },
    }
}

pub(super) struct Storm<'a> {
    pub(super) cluster: Cluster,
    pub(super) script: &'a Script,
    names: Vec<NodeName>,
    bell: watch::Receiver<u64>,
    /// What ends by itself, and when.
    undo: Vec<(Instant, Undo)>,
    /// Firmware that was brought in.
    pub(super) brought: BTreeSet<FirmwareKind>,
}

#[derive(Clone, Copy)]
pub(super) enum Undo {
    Cut(usize),
    Record(usize),
    Delay(usize),
    Appends(usize),
    Machine(usize),
    Disk(usize),
    Fault(usize, Fault),
    Script,
    Check(usize),
}

impl Storm<'_> {
    async fn play(&mut self) -> Result<(), String> {
        let script = self.script;
        if let Some(gate) = script.gates {
            self.set_gates(gate).await;
        }
        let early = script.early.min(script.gusts.len());
        for gust in &script.gusts[..early] {
            self.gust(gust).await?;
        }
        self.start().await;
        for gust in &script.gusts[early..] {
            self.gust(gust).await?;
            if let Some(Stand::PausedOnError(_)) = self.stand() {
                self.act(UpdateAction::Resume).await;
            }
        }
        self.cluster.heal();
        for (_, undo) in std::mem::take(&mut self.undo) {
            self.end(undo);
        }
        self.calm().await?;
        self.calm_firmware().await?;
        self.sound()
    }

    /// Nothing happened that may never happen.
    fn sound(&self) -> Result<(), String> {
        match self.cluster.violations() {
            none if none.is_empty() => Ok(()),
            found => Err(found.join("\n")),
        }
    }

    pub(super) fn node(&self, number: usize) -> &NodeName {
        &self.names[number % self.names.len()]
    }

    pub(super) fn pair_of(&self, node: usize) -> Vec<NodeName> {
        let first = (node % self.names.len()) & !1;
        let pair = (first..first + 2).filter_map(|n| self.names.get(n).cloned());
        pair.collect()
    }

    fn request(&self) -> UpdateRequest {
        let script = self.script;
        let nodes = script.only.iter().flat_map(|node| self.pair_of(*node));
        let nodes = nodes.collect();
        Cluster::request_with(|request| {
            request.pause_after = script.pause_after;
            request.skip_warnings = script.skip_warnings;
            request.force_rolling = script.force_rolling;
            request.first = script
                .first
                .filter(|_| script.only.is_empty())
                .map(|n| self.node(n).clone());
            request.nodes = nodes;
        })
    }

    /// Asks for the update. What the storm has in the way of that is asked again in the calm.
    async fn start(&mut self) {
        let request = self.request();
        let _ = timeout(OPERATOR, self.cluster.start_update(request)).await;
    }

    async fn act(&self, action: UpdateAction) {
        let _ = timeout(OPERATOR, self.cluster.act(action)).await;
    }

    fn stand(&self) -> Option<Stand> {
        let view = self.cluster.view();
        let newest = view.control().newest_of(&[OperationKind::Update])?;
        stand_of(view.operation(newest)?)
    }

    async fn gust(&mut self, gust: &Gust) -> Result<(), String> {
        match gust.when {
            When::After { ms } => self.pass(Instant::now() + Duration::from_millis(ms)).await,
            When::Into { task, ms } => {
                self.until_task(task).await;
                self.pass(Instant::now() + Duration::from_millis(ms)).await;
            }
        }
        self.happen(&gust.act).await;
        self.cluster.demand_answers(&self.cluster.view());
        match self.cluster.violated() {
            none if none.is_empty() => Ok(()),
            found => Err(found.join("\n")),
        }
    }

    /// Lets time pass, and what is due end.
    async fn pass(&mut self, until: Instant) {
        loop {
            let due = self.undo.iter().map(|(at, _)| *at).min();
            let Some(due) = due.filter(|due| *due <= until) else {
                return sleep_until(until).await;
            };
            sleep_until(due).await;
            self.end_due();
        }
    }

    fn end_due(&mut self) {
        let now = Instant::now();
        let (due, left) = self.undo.drain(..).partition(|(at, _)| *at <= now);
        self.undo = left;
        let due: Vec<(Instant, Undo)> = due;
        due.into_iter().for_each(|(_, undo)| self.end(undo));
    }

    async fn until_task(&mut self, action: &str) {
        let known = tasks(&self.cluster.view(), action);
        let patience = Instant::now() + PATIENCE;
        while Instant::now() < patience && tasks(&self.cluster.view(), action) <= known {
            let due = self.undo.iter().map(|(at, _)| *at).min();
            let until = due.map_or(patience, |due| due.min(patience));
            tokio::select! {
                biased;
                _ = self.bell.changed() => {}
                () = sleep_until(until) => {}
            }
            self.end_due();
        }
    }

    pub(super) fn ends_in(&mut self, ms: u64, undo: Undo) {
        let at = Instant::now() + Duration::from_millis(ms);
        self.undo.push((at, undo));
    }

    fn end(&self, undo: Undo) {
        let cluster = &self.cluster;
        match undo {
            Undo::Cut(node) => cluster.cut(self.node(node), false),
            Undo::Record(node) => cluster.cut_record(self.node(node), false),
            Undo::Delay(node) => cluster.delay(self.node(node), 0),
            Undo::Appends(node) => cluster.set_append_lag(self.node(node), Duration::ZERO),
            Undo::Machine(node) => cluster.set_act_lag(self.node(node), Duration::ZERO),
            Undo::Disk(node) => cluster.set_disk(self.node(node), DiskState::default()),
            Undo::Fault(node, fault) => cluster.set_fault(self.node(node), fault, false),
            Undo::Script => cluster.script_gate(GateAnswer::Open),
            Undo::Check(node) => {
                cluster.script_checks(self.node(node), ScriptedChecks::default());
            }
        }
    }

    async fn happen(&mut self, act: &Act) {
        let millis = Duration::from_millis;
        let cluster = &self.cluster;
        match *act {
            Act::Kill { node } => cluster.strike(self.node(node), Blow::Kill),
            Act::PowerCut { node, ms } => cluster.darken(self.node(node), millis(ms)),
            Act::Cut { node, ms } => {
                cluster.cut(self.node(node), true);
                self.ends_in(ms, Undo::Cut(node));
            }
            Act::CutRecord { node, ms } => {
                cluster.cut_record(self.node(node), true);
                self.ends_in(ms, Undo::Record(node));
            }
            Act::NoRecord { ms } => {
                for node in 0..self.names.len() {
                    self.cluster.cut_record(self.node(node), true);
                    self.ends_in(ms, Undo::Record(node));
                }
            }
            Act::Lose {
                from,
                to,
                requests,
                answers,
            } => {
                cluster.lose(self.node(from), self.node(to), requests, answers);
            }
            Act::Echo {
                from,
                to,
                requests,
                after,
            } => {
                let after = millis(after);
                cluster.echo(self.node(from), self.node(to), Echo { requests, after });
            }
            Act::Late {
                from,
                to,
                requests,
                after,
            } => {
                let after = millis(after);
                cluster.lose(self.node(from), self.node(to), requests, 0);
                cluster.echo(self.node(from), self.node(to), Echo { requests, after });
            }
            Act::Delay { node, by, ms } => {
                cluster.delay(self.node(node), by);
                self.ends_in(ms, Undo::Delay(node));
            }
            Act::LateAppends { node, by, ms } => {
                cluster.set_append_lag(self.node(node), millis(by));
                self.ends_in(ms, Undo::Appends(node));
            }
            Act::SlowMachine { node, by, ms } => {
                cluster.set_act_lag(self.node(node), millis(by));
                self.ends_in(ms, Undo::Machine(node));
            }
            Act::DiskFull { node, ms } => {
                let disk = DiskState {
                    full: true,
                    errors_per_mille: 0,
                };
                cluster.set_disk(self.node(node), disk);
                self.ends_in(ms, Undo::Disk(node));
            }
            Act::DiskErrors {
                node,
                per_mille,
                ms,
            } => {
                let disk = DiskState {
                    full: false,
                    errors_per_mille: per_mille,
                };
                cluster.set_disk(self.node(node), disk);
                self.ends_in(ms, Undo::Disk(node));
            }
            Act::ClockJump { node, seconds } => cluster.jump_clock(self.node(node), seconds),
            Act::Fault { node, fault, ms } => {
                cluster.set_fault(self.node(node), fault, true);
                self.ends_in(ms, Undo::Fault(node, fault));
            }
            Act::TakeOver { node } => {
                let node = self.node(node);
                // The HA engine refuses what it must.
                let _ = cluster.hardware(|hardware, now| hardware.take_over_by_hand(node, now));
            }
            Act::GiveBack { node } => {
                let node = self.node(node);
                let _ = cluster.hardware(|hardware, now| hardware.give_back_by_hand(node, now));
            }
            Act::Pause => self.act(UpdateAction::Pause).await,
            Act::Resume => self.act(UpdateAction::Resume).await,
            Act::Cancel => self.act(UpdateAction::Cancel).await,
            Act::Upload { node } => {
                let _ = timeout(OPERATOR, cluster.upload(self.node(node), EXTRA)).await;
            }
            Act::Firmware { node, kind } => self.bring_firmware(node, kind).await,
            Act::CancelFirmware => self.cancel_firmware().await,
            Act::BackgroundFirmware { on } => self.background_firmware(on).await,
            Act::LosePackage { node } => cluster.lose_package(self.node(node), NEW),
            Act::Delete => self.delete().await,
            Act::Validate => self.validate().await,
            Act::Acknowledge => self.acknowledge().await,
            Act::Withdraw => self.withdraw().await,
            Act::Estimate { rolling, only } => self.estimate(rolling, only).await,
            Act::Preview { node } => self.preview(node).await,
            Act::Gates(gate) => self.set_gates(gate).await,
            Act::ScriptHolds { trouble, ms } => self.hold_script(trouble, ms),
            Act::Check { node, finds, ms } => self.script_check(node, finds, ms),
        }
    }

    /// After the storm: mends, resumes, starts anew, until it is done.
    async fn calm(&mut self) -> Result<(), String> {
        let mut stands = Vec::new();
        // Whoever asked for pauses gets them: two at every node.
        let stops = STOPS + 2 * self.names.len();
        for _ in 0..stops {
            self.cluster.mend(REST).await.map_err(|stuck| stuck.0)?;
            self.firmware_over().await?;
            if self.cluster.newest_update().is_none() {
                self.cluster.idle(REST).await.map_err(|stuck| stuck.0)?;
                self.start().await;
                continue;
            }
            let stand = self.cluster.rest(REST).await.map_err(|stuck| stuck.0)?;
            let unfinished = self.cluster.unfinished_of(&self.request().nodes);
            match &stand {
                Stand::Ended(_) if unfinished.is_empty() => {
                    return self.cluster.idle(REST).await.map_err(|s| s.0);
                }
                // What a node runs is shown once its own word of it is recorded: it may be on its way.
                Stand::Ended(OperationEnd::Completed) if self.shows_soon().await => continue,
                Stand::Ended(OperationEnd::Completed) => {
                    return Err(format!("it completed, and {unfinished:?}"));
                }
                Stand::Ended(_) => {
                    // A package that is on its way comes first.
                    self.cluster.idle(REST).await.map_err(|stuck| stuck.0)?;
                    self.left_disks_come_back().await;
                    let mut again = self.request();
                    match self.script.acknowledges {
                        true => self.acknowledge().await,
                        false => again.skip_warnings = true,
                    }
                    let _ = timeout(OPERATOR, self.cluster.start_update(again)).await;
                }
                Stand::PausedOnError(_) | Stand::PausedByUser(_) => {
                    self.act(UpdateAction::Resume).await;
                }
            }
            stands.push(stand);
        }
        Err(format!("it goes in circles: {stands:#?}"))
    }

    async fn shows_soon(&self) -> bool {
        let nodes = self.request().nodes;
        let due = |_: &View| self.cluster.unfinished_of(&nodes).is_empty().then_some(());
        self.cluster.until(SHOWN, due).await.is_ok()
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for entry in self.cluster.entries() {
            (entry.stream.to_string(), entry.id.to_string(), entry.body).hash(&mut hasher);
        }
        self.cluster.hardware(|hardware, _| {
            for entry in hardware.log() {
                (entry.at_ms, entry.node.as_str(), &entry.text).hash(&mut hasher);
            }
        });
        hasher.finish()
    }
}

/// How many tasks with that name have begun.
fn tasks(view: &View, action: &str) -> usize {
    let tasks = view.operations().flat_map(|o| o.tasks.values());
    tasks
        .filter(|task| task.task.action.name() == action)
        .count()
}
