//! What goes on while the matrix strikes, and what it must come to.

use std::time::Duration;

use evenkeel_model::{Action, OperationEnd, OperationKind, PauseAfter, Problem, Version};
use evenkeel_orchestrator::{FrontDoor, UpdateAction};
use evenkeel_platform::sim::Fault;
use evenkeel_simulation::{Blow, Cluster, OLD, Stand, admin, stand_of};
use tokio::time::sleep;

use crate::stories::{EXTRA, REST};

/// Following actions must lead to an end, not in circles.
const STOPS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scenario {
    /// An update.
    Update,
    /// An update whose image does not boot on one node, until it is mended.
    Fallback,
    /// An update that is paused during its first takeover, then cancelled.
    Cancel,
    /// An update that pauses at every pause point, and is resumed.
    Pauses,
    /// A package is uploaded.
    Get,
    /// A package is deleted.
    Delete,
    /// A node has lost a package, which is carried to it again.
    Sync,
}

type Played = Result<Vec<Problem>, String>;

impl Scenario {
    /// Goes to the end, doing what it is asked for. Says with what problems an update paused.
    pub(crate) async fn play(self, cluster: &Cluster, blow: Blow) -> Played {
        match self {
            Self::Update => update(cluster, blow).await,
            Self::Fallback => fallback(cluster, blow).await,
            Self::Cancel => cancel(cluster, blow).await,
            Self::Pauses => pauses(cluster, blow).await,
            Self::Get => get(cluster).await,
            Self::Delete => delete(cluster).await,
            Self::Sync => sync(cluster).await,
        }
    }

    /// What is not as it must be at the end.
    pub(crate) fn left_undone(self, cluster: &Cluster) -> Vec<String> {
        let mut left = match self {
            Self::Update | Self::Fallback | Self::Pauses => {
                [cluster.unfinished(), cluster.without_history()].concat()
            }
            Self::Cancel | Self::Get | Self::Delete | Self::Sync => cluster.away(),
        };
        let expected = |version: &str, there: bool| {
            let holders = cluster.holders(version).len();
            let due = if there { cluster.names().len() } else { 0 };
            (holders != due).then(|| format!("{holders} nodes hold {version}, not {due}"))
        };
        left.extend(match self {
            Self::Get => expected(EXTRA, true),
            Self::Delete => expected(OLD, false),
            Self::Update | Self::Fallback | Self::Pauses | Self::Cancel | Self::Sync => {
                expected(OLD, true)
            }
        });
        left
    }
}

async fn rest(cluster: &Cluster) -> Result<Stand, String> {
    cluster.rest(REST).await.map_err(|stuck| stuck.0)
}

/// Starts an update; one that is refused before its first effect, because of what the blow did, is
/// started again once the cluster is well.
async fn start(cluster: &Cluster) -> Result<(), String> {
    let started = cluster.start_update(Cluster::request()).await;
    started.map(drop).map_err(|refusal| refusal.to_string())
}

async fn update(cluster: &Cluster, blow: Blow) -> Played {
    start(cluster).await?;
    drive(cluster, blow, |problem| untrue(cluster, problem, blow)).await
}

/// Follows an update to its end. `hold` says what is wrong with a problem.
async fn drive(
    cluster: &Cluster,
    blow: Blow,
    mut hold: impl FnMut(&Problem) -> Option<&'static str>,
) -> Played {
    let mut pauses = Vec::new();
    for _ in 0..STOPS {
        match rest(cluster).await? {
            Stand::Ended(OperationEnd::Completed) => return Ok(pauses),
            Stand::PausedOnError(problem) => {
                if let Some(why) = hold(&problem) {
                    return Err(format!("{problem}: untrue: {why}"));
                }
                pauses.push(problem);
                mend(cluster).await?;
                // Refused only when it was accepted before and the answer was lost.
                let _ = cluster.act(UpdateAction::Resume).await;
            }
            Stand::Ended(end) => {
                if blow == Blow::Kill || !refused_in_time(cluster, &end) {
                    return Err(format!("it ended: {end:?}"));
                }
                mend(cluster).await?;
                start(cluster).await?;
            }
            Stand::PausedByUser(point) => return Err(format!("paused at {point:?}, unasked")),
        }
    }
    Err(format!("it goes in circles: {pauses:#?}"))
}

async fn mend(cluster: &Cluster) -> Result<(), String> {
    cluster.mend(REST).await.map_err(|stuck| stuck.0)
}

/// Before its first effect, and only then, an update may be refused.
fn refused_in_time(cluster: &Cluster, end: &OperationEnd) -> bool {
    let view = cluster.view();
    let newest = view.control().newest_of(&[OperationKind::Update]);
    let untouched = newest
        .and_then(|id| view.operation(id))
        .is_some_and(|o| o.tasks.is_empty());
    matches!(end, OperationEnd::Failed { .. }) && untouched
}

/// What is wrong with a reason: it must be what the hardware shows, and say what to do.
fn untrue(cluster: &Cluster, problem: &Problem, blow: Blow) -> Option<&'static str> {
    if blow == Blow::Kill {
        return Some("only daemons were killed: the update goes on by itself");
    }
    if problem.action.is_empty() {
        return Some("it says nothing of what to do");
    }
    let unasked = !cluster.taken_by_others().is_empty();
    if problem.error.contains("not by this update") && !unasked {
        return Some("no such takeover stands");
    }
    if cluster.away().is_empty() {
        return Some("every pool is home and every node serves");
    }
    None
}

/// Resumes at each pause point, until it is over.
async fn pauses(cluster: &Cluster, blow: Blow) -> Played {
    let mut request = Cluster::request();
    request.pause_after = PauseAfter::All;
    let mut problems = Vec::new();
    let mut stops = 0;
    let begin = async || {
        let started = cluster.start_update(request.clone()).await;
        started.map(drop).map_err(|refusal| refusal.to_string())
    };
    begin().await?;
    while stops < STOPS {
        match rest(cluster).await? {
            Stand::Ended(OperationEnd::Completed) => return Ok(problems),
            Stand::PausedByUser(_) => {}
            Stand::PausedOnError(problem) => {
                if let Some(why) = untrue(cluster, &problem, blow) {
                    return Err(format!("{problem}: untrue: {why}"));
                }
                stops += 1;
                problems.push(problem);
                mend(cluster).await?;
            }
            Stand::Ended(end) => {
                if blow == Blow::Kill || !refused_in_time(cluster, &end) {
                    return Err(format!("it ended: {end:?}"));
                }
                stops += 1;
                mend(cluster).await?;
                begin().await?;
            }
        }
        // Refused only when it was accepted before and the answer was lost.
        let _ = cluster.act(UpdateAction::Resume).await;
    }
    Err(format!("it goes in circles: {problems:#?}"))
}

async fn fallback(cluster: &Cluster, blow: Blow) -> Played {
    let node = cluster.names()[1].clone();
    cluster.set_fault(&node, Fault::BadImage, true);
    start(cluster).await?;
    let mut fell_back = 0;
    let played = drive(cluster, blow, |problem| {
        if problem.error.contains(&format!("fell back to {OLD}")) {
            fell_back += 1;
            cluster.set_fault(&node, Fault::BadImage, false);
            return None;
        }
        untrue(cluster, problem, blow)
    });
    let pauses = played.await?;
    match (fell_back, blow) {
        (1, _) | (0, Blow::PowerCut) => Ok(pauses),
        (times, _) => Err(format!("it fell back {times} times: {pauses:#?}")),
    }
}

async fn cancel(cluster: &Cluster, blow: Blow) -> Played {
    start(cluster).await?;
    let mut pauses = Vec::new();
    let mut asked = false;
    begun_or_stopped(cluster).await?;
    let _ = cluster.act(UpdateAction::Pause).await;
    for _ in 0..STOPS {
        match rest(cluster).await? {
            Stand::Ended(OperationEnd::Canceled) if asked => return Ok(pauses),
            Stand::PausedByUser(_) => {}
            Stand::PausedOnError(problem) => {
                if let Some(why) = untrue(cluster, &problem, blow) {
                    return Err(format!("{problem}: untrue: {why}"));
                }
                pauses.push(problem);
                mend(cluster).await?;
            }
            Stand::Ended(end) if blow == Blow::PowerCut && refused_in_time(cluster, &end) => {
                return Ok(pauses);
            }
            Stand::Ended(end) => return Err(format!("it ended: {end:?}")),
        }
        asked = true;
        // Refused only when it was accepted before and the answer was lost.
        let _ = cluster.act(UpdateAction::Cancel).await;
    }
    Err(format!("it goes in circles: {pauses:#?}"))
}

/// The first takeover has begun, or trouble came first.
async fn begun_or_stopped(cluster: &Cluster) -> Result<(), String> {
    let begun = cluster.until(REST, |view| {
        let newest = view.control().newest_of(&[OperationKind::Update])?;
        let update = view.operation(newest)?;
        let mut tasks = update.tasks.values();
        let begun = tasks.any(|progress| progress.task.action == Action::Takeover);
        (begun || stand_of(update).is_some()).then_some(())
    });
    begun.await.map_err(|stuck| stuck.0)
}

/// Uploads until a node has said yes, as a client does.
async fn get(cluster: &Cluster) -> Played {
    for try_ in 0..STOPS {
        let names = cluster.names();
        let node = &names[try_ % names.len()];
        if let Some(Ok(_)) = cluster.upload(node, EXTRA).await {
            closed(cluster).await?;
            return carried(cluster).await;
        }
        closed(cluster).await?;
        sleep(Duration::from_secs(5)).await;
    }
    Err("nobody takes the package in".to_owned())
}

/// No operation is open any more.
async fn closed(cluster: &Cluster) -> Result<(), String> {
    let closed = cluster.until(REST, |view| view.control().open.is_empty().then_some(()));
    closed.await.map_err(|stuck| stuck.0)
}

async fn carried(cluster: &Cluster) -> Played {
    let all = cluster.names().len();
    let carried = cluster.until(REST, |_| {
        (cluster.holders(EXTRA).len() == all).then_some(())
    });
    carried.await.map_err(|stuck| stuck.0)?;
    Ok(Vec::new())
}

/// The coordinator sees by itself that a node lacks a package.
async fn sync(cluster: &Cluster) -> Played {
    cluster.lose_package(&cluster.names()[1], OLD);
    let synchronized = cluster.until(REST, |view| {
        let newest = view.control().newest_of(&[OperationKind::PackageSync])?;
        let over = view.operation(newest)?.is_ended() && view.control().open.is_empty();
        (over && cluster.holders(OLD).len() == cluster.names().len()).then_some(())
    });
    synchronized.await.map_err(|stuck| stuck.0)?;
    // Nothing of it is left to do, and nothing is a job or an update.
    let view = cluster.view();
    let silent = view.operations().all(|operation| operation.jobs.is_empty());
    match silent && view.control().newest_of(&[OperationKind::Update]).is_none() {
        true => Ok(Vec::new()),
        false => Err("a synchronization shows as a job or an update".to_owned()),
    }
}

/// Deletes until it is done, or was done already.
async fn delete(cluster: &Cluster) -> Played {
    let version = || Version::new(OLD).expect("digits and dots");
    for _ in 0..STOPS {
        let ask = async |door: FrontDoor| door.delete(version(), admin()).await;
        let _ = cluster.ask(ask).await;
        closed(cluster).await?;
        let there = cluster.view().catalogue().by_version(&version()).is_some();
        let gone = || cluster.holders(OLD).is_empty().then_some(());
        if !there && cluster.until(REST, |_| gone()).await.is_ok() {
            return Ok(Vec::new());
        }
        sleep(Duration::from_secs(1)).await;
    }
    Err("it is never deleted".to_owned())
}
