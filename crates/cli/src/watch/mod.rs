//! Watching an update until it ends or needs a person: bars in a terminal, lines elsewhere.

mod bars;
mod lines;
mod progress;

use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

use evenkeel_api::{Explain, Software, UpdateState};
use serde::Serialize;

pub(crate) use self::progress::Snapshot;

use self::bars::Bars;
use self::lines::Lines;
use crate::client::{CallError, Client};
use crate::clock::Stopwatch;
use crate::outcome::Stop;

/// Pause between two looks: people do not see more.
const POLL: Duration = Duration::from_millis(300);

/// How long a silent cluster is waited for before that is shown.
const SILENCE: Duration = Duration::from_secs(2);
/// A node that is a little behind may still show the end of the update before: that an update stands still
/// is believed once it was seen to move, or after this long.
const BEHIND: Duration = Duration::from_secs(3);

/// Shows how far an update is.
pub(crate) trait View {
    /// What is true now, `at` this time since watching began.
    fn show(&mut self, at: Duration, snapshot: &Snapshot);
    /// The cluster does not answer; watching goes on.
    fn lost(&mut self, at: Duration, why: &str);
    /// Nothing more will be shown.
    fn finish(&mut self);
}

/// How watching ended.
pub(crate) struct End {
    /// The update's last state.
    pub(crate) state: UpdateState,
    /// What it was last seen doing, and why it stands still if it does.
    pub(crate) snapshot: Snapshot,
}

impl End {
    /// An update that is paused or did not complete is not a success.
    pub(crate) fn into_result(self) -> Result<(), Stop> {
        let why = self.snapshot.trouble.join("; ");
        let text = |what: &str| match why.is_empty() {
            true => format!("the update {what}"),
            false => format!("the update {what}: {why}"),
        };
        match self.state {
            UpdateState::Completed => Ok(()),
            UpdateState::PausedByUser => Err(Stop::Paused(text("is paused"))),
            UpdateState::PausedOnError => Err(Stop::Paused(text("is paused on an error"))),
            UpdateState::Canceled => Err(Stop::Failed(text("was canceled"))),
            UpdateState::Failed => Err(Stop::Failed(text("failed"))),
            UpdateState::InProgress
            | UpdateState::Waiting
            | UpdateState::PausePending
            | UpdateState::CancelPending => Err(Stop::Failed(text("goes on unwatched"))),
        }
    }
}

/// Watches on the view that fits standard error.
pub(crate) fn watch(client: &Client) -> Result<End, Stop> {
    match std::io::stderr().is_terminal() {
        true => watch_on(client, &mut Bars::new()),
        false => watch_on(client, &mut Lines::new(std::io::stderr())),
    }
}

/// Watches until the update ends or stands still. A cluster that does not answer is waited for without
/// end: the update itself does not depend on being watched.
pub(crate) fn watch_on(client: &Client, view: &mut dyn View) -> Result<End, Stop> {
    let client = client.patient_for(SILENCE);
    let clock = Stopwatch::start();
    let mut moved = false;
    loop {
        match look(&client) {
            Ok(snapshot) => {
                view.show(clock.elapsed(), &snapshot);
                let still = snapshot.state.filter(|state| is_still(*state));
                moved |= still.is_none();
                if let Some(state) = still.filter(|_| moved || clock.elapsed() > BEHIND) {
                    view.finish();
                    return Ok(End { state, snapshot });
                }
            }
            Err(CallError::Unreachable(why)) => view.lost(clock.elapsed(), &why),
            Err(error) => {
                view.finish();
                return Err(error.into());
            }
        }
        thread::sleep(POLL);
    }
}

fn look(client: &Client) -> Result<Snapshot, CallError> {
    let software: Software = client.get("/api/cluster/software")?;
    let explain: Explain = client.get("/evenkeel/v1/explain")?;
    Ok(Snapshot::of(&software, &explain))
}

/// Whether nothing more happens without a person.
fn is_still(state: UpdateState) -> bool {
    match state {
        UpdateState::PausedByUser
        | UpdateState::PausedOnError
        | UpdateState::Completed
        | UpdateState::Canceled
        | UpdateState::Failed => true,
        UpdateState::InProgress
        | UpdateState::Waiting
        | UpdateState::PausePending
        | UpdateState::CancelPending => false,
    }
}

/// A state in the API's own word.
pub(crate) fn word(state: &impl Serialize) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => format!("({error})"),
    }
}
