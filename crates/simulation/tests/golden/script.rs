//! The language of stories: one command a line. `#` begins a comment; an indented line is output.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::NodeName;
use evenkeel_platform::sim::Fault;

use crate::errands::{self, Errand};

/// A line of a story, without its output.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    /// A comment or an empty line, as it is.
    Text(String),
    /// A command, and how it was written.
    Command(String, Command),
}

/// `key=value` and bare words behind a command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options(pub(crate) BTreeMap<String, String>);

impl Options {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, String> {
        let parse = |text: &str| text.parse().map_err(|_| format!("{name}={text}: a number"));
        self.text(name).map(parse).transpose()
    }

    pub(crate) fn duration(&self, name: &str) -> Result<Option<Duration>, String> {
        self.text(name).map(duration).transpose()
    }
}

/// Which moment of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Starts,
    Ends,
}

/// What is waited for.
#[derive(Clone, Debug)]
pub(crate) enum Until {
    /// `wait rest`: the newest update has ended or paused.
    Rest,
    /// `wait idle`: nothing is open any more.
    Idle,
    /// `wait 20min`, `wait 5s`.
    Passed(Duration),
    /// `wait do-boot-job of node02 starts|ends`.
    Task(String, NodeName, Moment),
    /// `wait coordinator`: another one than now.
    Coordinator,
    /// `wait node02 up`: its daemon answers.
    Up(NodeName),
}

/// What `show` shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shown {
    Software,
    Tasks,
    Phases,
    History,
    Jobs,
    Nodes,
    Explain,
    Hardware,
    Settings,
    Packages,
    Firmware,
}

/// Who is cut from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Everything,
    Record,
}

/// A command of a story.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// `cluster nodes=4 minute=60s seed=1 restart=800ms`: the first one of every story.
    Cluster(Options),
    /// `update 9.10.1 skip_warnings pause_after=all stabilize=8`.
    Update(String, Options),
    /// `validate 9.10.1`.
    Validate(String),
    /// `delete 9.10.0`.
    Delete(String),
    /// `estimate 9.10.1 force_rolling`: with the options of an update.
    Estimate(String, Options),
    /// What has no part in an update.
    Errand(Errand),
    Pause,
    Resume,
    Cancel,
    /// `fault node02 bad-image on|off`.
    Fault(NodeName, Fault, bool),
    /// `kill node01`: its daemon, which is started again.
    Kill(NodeName),
    /// `power cut node01`: it comes back after a while (`cluster dark=…`).
    PowerCut(NodeName),
    /// `reset node01`: the reset button.
    Reset(NodeName),
    /// `cut node01 from record|everything`, `heal node01`.
    Cut(NodeName, Cut),
    Heal(NodeName),
    /// `record down`, `record up`: for everyone.
    Record(bool),
    /// `clock of node01 jumps 3600`: seconds; may be negative.
    ClockJumps(NodeName, i64),
    /// `by hand: take over node02`, `by hand: give back node02`.
    TakeOver(NodeName),
    GiveBack(NodeName),
    /// `lose package 9.10.1 on node02`.
    Lose(String, NodeName),
    /// `package disk of node02 full|free`.
    Full(NodeName, bool),
    Wait(Until),
    Show(Shown),
}

/// Reads a story.
pub(crate) fn parse(text: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.starts_with(' ') {
            continue;
        }
        lines.push(match line.starts_with('#') || line.is_empty() {
            true => Line::Text(line.to_owned()),
            false => {
                let parsed = command(line);
                let parsed = parsed.map_err(|why| format!("line {}: {line}: {why}", number + 1))?;
                Line::Command(line.to_owned(), parsed)
            }
        });
    }
    Ok(lines)
}

fn command(line: &str) -> Result<Command, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok(match words[..] {
        ["cluster", ref rest @ ..] => Command::Cluster(options(rest)),
        ["update", version, ref rest @ ..] => Command::Update(version.to_owned(), options(rest)),
        ["validate", version] => Command::Validate(version.to_owned()),
        ["delete", version] => Command::Delete(version.to_owned()),
        ["estimate", version, ref rest @ ..] => {
            Command::Estimate(version.to_owned(), options(rest))
        }
        ["pause"] => Command::Pause,
        ["resume"] => Command::Resume,
        ["cancel"] => Command::Cancel,
        ["fault", node, fault, on] => Command::Fault(name(node)?, known(fault)?, switch(on)?),
        ["kill", node] => Command::Kill(name(node)?),
        ["power", "cut", node] => Command::PowerCut(name(node)?),
        ["reset", node] => Command::Reset(name(node)?),
        ["cut", node, "from", "record"] => Command::Cut(name(node)?, Cut::Record),
        ["cut", node, "from", "everything"] => Command::Cut(name(node)?, Cut::Everything),
        ["heal", node] => Command::Heal(name(node)?),
        ["record", state @ ("down" | "up")] => Command::Record(state == "up"),
        ["clock", "of", node, "jumps", seconds] => {
            let seconds = seconds.parse().map_err(|_| "seconds are a number")?;
            Command::ClockJumps(name(node)?, seconds)
        }
        ["by", "hand:", "take", "over", node] => Command::TakeOver(name(node)?),
        ["by", "hand:", "give", "back", node] => Command::GiveBack(name(node)?),
        ["lose", "package", version, "on", node] => Command::Lose(version.to_owned(), name(node)?),
        ["package", "disk", "of", node, state @ ("full" | "free")] => {
            Command::Full(name(node)?, state == "full")
        }
        ["wait", ref rest @ ..] => Command::Wait(until(rest)?),
        ["show", what] => Command::Show(shown(what)?),
        ref words => {
            let errand = errands::parse(words)?;
            Command::Errand(errand.ok_or("there is no such command")?)
        }
    })
}

fn until(words: &[&str]) -> Result<Until, String> {
    Ok(match words {
        ["rest"] => Until::Rest,
        ["idle"] => Until::Idle,
        ["coordinator"] => Until::Coordinator,
        [node, "up"] => Until::Up(name(node)?),
        [task, "of", node, "starts"] => {
            Until::Task((*task).to_owned(), name(node)?, Moment::Starts)
        }
        [task, "of", node, "ends"] => Until::Task((*task).to_owned(), name(node)?, Moment::Ends),
        [time] => Until::Passed(duration(time)?),
        _ => return Err("nobody can wait for that".to_owned()),
    })
}

fn shown(what: &str) -> Result<Shown, String> {
    Ok(match what {
        "software" => Shown::Software,
        "tasks" => Shown::Tasks,
        "phases" => Shown::Phases,
        "history" => Shown::History,
        "jobs" => Shown::Jobs,
        "nodes" => Shown::Nodes,
        "explain" => Shown::Explain,
        "hardware" => Shown::Hardware,
        "settings" => Shown::Settings,
        "packages" => Shown::Packages,
        "firmware" => Shown::Firmware,
        _ => return Err("nothing of that name is shown".to_owned()),
    })
}

fn options(words: &[&str]) -> Options {
    let split = |word: &&str| match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => ((*word).to_owned(), String::new()),
    };
    Options(words.iter().map(split).collect())
}

fn name(text: &str) -> Result<NodeName, String> {
    NodeName::new(text).map_err(|error| error.to_string())
}

fn known(fault: &str) -> Result<Fault, String> {
    fault
        .parse()
        .map_err(|error: evenkeel_platform::sim::NoSuchFault| error.to_string())
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("on or off".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| format!("{text}: no duration"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "min" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("{text}: ms, s or min")),
    }
}
