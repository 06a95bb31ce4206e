//! Plays a story, and writes down what a person sees.

use std::time::Duration;

use evenkeel_model::{JobId, NodeName, OperationKind, Refusal, TaskState, UpdateRequest, Version};
use evenkeel_orchestrator::UpdateAction;
use evenkeel_platform::sim::Hardware;
use evenkeel_record::{Entry, View};
use evenkeel_simulation::{Blow, Cluster, Settings, admin, run, stand_of};
use tokio::time::{Instant, sleep};

use crate::errands;
use crate::narrate::Narrator;
use crate::script::{Command, Cut, Line, Moment, Options, Until};
use crate::show::show;

/// How often a story looks around.
const LOOK: Duration = Duration::from_millis(100);
/// Nothing that a story waits for takes longer.
const BOUND: Duration = Duration::from_secs(12 * 3600);
/// What stands before every line of output.
const INDENT: &str = "    ";

/// What came of a story.
pub(crate) struct Played {
    /// What its file should hold.
    pub(crate) text: String,
    /// All that its cluster recorded.
    pub(crate) recorded: Vec<Entry>,
}

/// Plays a story under virtual time.
pub(crate) fn play(script: &[Line]) -> Result<Played, String> {
    run(async {
        let mut player: Option<Player> = None;
        let mut text = String::new();
        for line in script {
            match line {
                Line::Text(line) => text.push_str(line),
                Line::Command(written, command) => {
                    text.push_str(written);
                    let output = match (&mut player, command) {
                        (None, Command::Cluster(options)) => {
                            let (started, output) = Player::start(options).await?;
                            player = Some(started);
                            output
                        }
                        (Some(player), command) => {
                            let carried = player.carry_out(command).await;
                            carried.map_err(|why| format!("{why}\nso far:\n{text}"))?
                        }
                        (None, _) => return Err("a story begins with its cluster".to_owned()),
                    };
                    for line in output {
                        text.push('\n');
                        text.push_str(format!("{INDENT}{line}").trim_end());
                    }
                }
            }
            text.push('\n');
        }
        let player = player.ok_or("a story needs a cluster")?;
        let wrong = player.cluster.violations();
        match wrong.is_empty() {
            true => Ok(Played {
                text,
                recorded: player.cluster.entries(),
            }),
            false => Err(format!("what must never happen: {wrong:#?}\n{text}")),
        }
    })
}

/// A story that is being played.
struct Player {
    cluster: Cluster,
    narrator: Narrator,
    begun: Instant,
}

impl Player {
    async fn start(options: &Options) -> Result<(Self, Vec<String>), String> {
        let nodes = options.number("nodes")?.unwrap_or(2) as usize;
        let mut settings = Settings::new(nodes);
        settings.seed = options.number("seed")?.unwrap_or(1);
        settings.minute = options
            .duration("minute")?
            .unwrap_or(Duration::from_secs(60));
        settings.restart_after = options
            .duration("restart")?
            .unwrap_or(settings.restart_after);
        settings.dark_for = options.duration("dark")?.unwrap_or(Duration::from_secs(60));
        let cluster = Cluster::start(settings).await;
        let narrator = Narrator::new(&cluster);
        let begun = Instant::now();
        let coordinator = cluster.coordinator();
        let coordinator = coordinator.map_or("nobody".to_owned(), |node| node.to_string());
        let told = vec![format!("{nodes} nodes; {coordinator} coordinates")];
        let player = Self {
            cluster,
            narrator,
            begun,
        };
        Ok((player, told))
    }

    async fn carry_out(&mut self, command: &Command) -> Result<Vec<String>, String> {
        let mut told = match command {
            Command::Cluster(_) => return Err("a story has one cluster".to_owned()),
            Command::Update(version, options) => {
                let request = request(version, options)?;
                let ask = async |door: evenkeel_orchestrator::FrontDoor| {
                    door.start_update(request.clone(), admin()).await
                };
                answered(self.cluster.ask(ask).await)
            }
            Command::Validate(version) => {
                let version = parse_version(version)?;
                let ask = async |door: evenkeel_orchestrator::FrontDoor| {
                    door.validate(UpdateRequest::new(version.clone()), admin())
                        .await
                };
                answered(self.cluster.ask(ask).await)
            }
            Command::Delete(version) => {
                let version = parse_version(version)?;
                let ask = async |door: evenkeel_orchestrator::FrontDoor| {
                    door.delete(version.clone(), admin()).await
                };
                answered(self.cluster.ask(ask).await)
            }
            Command::Estimate(version, options) => {
                let request = request(version, options)?;
                let ask = async |door: evenkeel_orchestrator::FrontDoor| {
                    door.estimate(request.clone(), admin()).await
                };
                answered(self.cluster.ask(ask).await)
            }
            Command::Errand(errand) => errands::run(&self.cluster, errand).await?,
            Command::Pause => self.act(UpdateAction::Pause).await,
            Command::Resume => self.act(UpdateAction::Resume).await,
            Command::Cancel => self.act(UpdateAction::Cancel).await,
            Command::Wait(until) => self.wait(until).await?,
            Command::Show(shown) => show(&self.cluster, *shown, self.begun),
            act => self.lay_hands_on(act)?,
        };
        // What followed at once.
        told.extend(self.narrator.news(&self.cluster, self.begun.elapsed()));
        Ok(told)
    }

    async fn act(&self, action: UpdateAction) -> Vec<String> {
        let ask = async |door: evenkeel_orchestrator::FrontDoor| door.act(action, admin()).await;
        answered(self.cluster.ask(ask).await)
    }

    /// What needs no answer of the cluster.
    fn lay_hands_on(&self, command: &Command) -> Result<Vec<String>, String> {
        let cluster = &self.cluster;
        match command {
            Command::Fault(node, fault, on) => cluster.set_fault(node, *fault, *on),
            Command::Kill(node) => cluster.strike(node, Blow::Kill),
            Command::PowerCut(node) => cluster.strike(node, Blow::PowerCut),
            Command::Reset(node) => {
                let reset = |hardware: &mut Hardware, now| hardware.reset(node, "by hand", now);
                let reset = cluster.hardware(reset);
                reset.map_err(|unknown| format!("{unknown:?}"))?;
            }
            Command::Cut(node, Cut::Everything) => cluster.cut(node, true),
            Command::Cut(node, Cut::Record) => cluster.cut_record(node, true),
            Command::Heal(node) => cluster.cut(node, false),
            Command::Record(up) => {
                for node in cluster.names() {
                    cluster.cut_record(&node, !up);
                }
            }
            Command::ClockJumps(node, seconds) => cluster.jump_clock(node, *seconds),
            Command::TakeOver(node) => {
                return by_hand(cluster.hardware(|h, now| h.take_over_by_hand(node, now)));
            }
            Command::GiveBack(node) => {
                return by_hand(cluster.hardware(|h, now| h.give_back_by_hand(node, now)));
            }
            Command::Lose(version, node) => cluster.lose_package(node, version),
            Command::Full(node, full) => cluster.set_full(node, *full),
            Command::Cluster(_)
            | Command::Update(..)
            | Command::Validate(_)
            | Command::Delete(_)
            | Command::Estimate(..)
            | Command::Errand(_)
            | Command::Pause
            | Command::Resume
            | Command::Cancel
            | Command::Wait(_)
            | Command::Show(_) => return Err("this is no laying on of hands".to_owned()),
        }
        Ok(Vec::new())
    }

    async fn wait(&mut self, until: &Until) -> Result<Vec<String>, String> {
        let start = Instant::now();
        let coordinator = self.cluster.coordinator();
        let mut told = Vec::new();
        let mut view = self.cluster.view();
        loop {
            let news = self.narrator.news(&self.cluster, self.begun.elapsed());
            if !news.is_empty() || view.position() != self.cluster.head() {
                told.extend(news);
                view = self.cluster.view();
            }
            let come = match until {
                Until::Rest => newest_update_rests(&view),
                Until::Idle => view.control().open.is_empty(),
                Until::Passed(time) => start.elapsed() >= *time,
                Until::Task(task, node, moment) => has_come(&view, task, node, *moment),
                Until::Coordinator => {
                    let now = self.cluster.coordinator();
                    now != coordinator && view.control().coordinator.is_some()
                }
                Until::Up(node) => self.cluster.door(node).is_some(),
            };
            if come {
                return Ok(told);
            }
            if start.elapsed() > BOUND {
                return Err(format!("it never comes:\n{}", told.join("\n")));
            }
            sleep(LOOK).await;
        }
    }
}

fn newest_update_rests(view: &View) -> bool {
    let newest = view.control().newest_of(&[OperationKind::Update]);
    let update = newest.and_then(|id| view.operation(id));
    update.is_some_and(|update| stand_of(update).is_some())
}

fn has_come(view: &View, task: &str, node: &NodeName, moment: Moment) -> bool {
    let mut tasks = view.operations().flat_map(|o| o.tasks.values());
    tasks.any(|progress| {
        let fits = progress.task.node == *node && progress.task.action.name() == task;
        let over = !matches!(progress.state, TaskState::Running);
        fits && (moment == Moment::Starts || over)
    })
}

fn parse_version(text: &str) -> Result<Version, String> {
    Version::new(text).map_err(|error| error.to_string())
}

fn request(version: &str, options: &Options) -> Result<UpdateRequest, String> {
    let mut request = Cluster::request();
    request.version = parse_version(version)?;
    request.skip_warnings = options.has("skip_warnings");
    request.stabilize_minutes = options.number("stabilize")?.unwrap_or(8) as u32;
    request.force_rolling = options.has("force_rolling");
    let node = |name: &str| NodeName::new(name).map_err(|error| error.to_string());
    if let Some(names) = options.text("nodes") {
        request.nodes = names.split(',').map(node).collect::<Result<_, _>>()?;
    }
    request.first = options.text("first").map(node).transpose()?;
    request.pause_after = match options.text("pause_after") {
        None => evenkeel_model::PauseAfter::None,
        Some("takeover_giveback") => evenkeel_model::PauseAfter::TakeoverGiveback,
        Some("all") => evenkeel_model::PauseAfter::All,
        Some(other) => return Err(format!("pause_after={other}")),
    };
    Ok(request)
}

fn answered(answer: Result<JobId, Refusal>) -> Vec<String> {
    vec![match answer {
        Ok(_) => "accepted".to_owned(),
        Err(refusal) => format!("refused, {}: {}", refusal.code, refusal.message),
    }]
}

fn by_hand<E: std::fmt::Display, U: std::fmt::Debug>(
    done: Result<Result<(), E>, U>,
) -> Result<Vec<String>, String> {
    match done {
        Ok(Ok(())) => Ok(vec!["done".to_owned()]),
        Ok(Err(why)) => Ok(vec![format!("refused: {why}")]),
        Err(unknown) => Err(format!("{unknown:?}")),
    }
}
