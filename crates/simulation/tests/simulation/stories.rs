//! What stories have in common.

use std::time::Duration;

use evenkeel_model::{OperationEnd, Problem};
use evenkeel_orchestrator::UpdateAction;
use evenkeel_simulation::{Blow, Cluster, Settings, Stand};

/// Longer than any wait that the planner allows at the length of a minute that stories use.
pub(crate) const REST: Duration = Duration::from_secs(900);

/// A version that is no one's yet.
pub(crate) const EXTRA: &str = "9.10.2";

/// A pair that has begun to update.
pub(crate) async fn updating(nodes: usize) -> Cluster {
    let cluster = Cluster::start(Settings::new(nodes)).await;
    let started = cluster.start_update(Cluster::request()).await;
    started.expect("nothing is in the way");
    cluster
}

/// Waits until a task with that name has begun for the node with that number.
pub(crate) async fn begun(cluster: &Cluster, node: usize, action: &str) {
    let name = cluster.names()[node].clone();
    let begun = cluster.until(REST, |view| {
        let mut tasks = view.operations().flat_map(|o| o.tasks.values());
        let fits = |task: &evenkeel_model::Task| task.node == name && task.action.name() == action;
        tasks.any(|progress| fits(&progress.task)).then_some(())
    });
    begun.await.expect("the task begins");
}

/// The problem that the update comes to rest with.
pub(crate) async fn problem(cluster: &Cluster) -> Problem {
    match cluster.rest(REST).await.expect("it rests") {
        Stand::PausedOnError(problem) => problem,
        other => panic!("{other:?}\n{}", cluster.describe()),
    }
}

/// Resumes.
pub(crate) async fn resume(cluster: &Cluster) {
    let resumed = cluster.act(UpdateAction::Resume).await;
    resumed.unwrap_or_else(|refusal| panic!("{refusal}\n{}", cluster.describe()));
}

/// The update completes, and all that holds at the end holds.
pub(crate) async fn completes(cluster: &Cluster) {
    let stand = cluster.rest(REST).await.expect("it rests");
    let completed = Stand::Ended(OperationEnd::Completed);
    assert_eq!(stand, completed, "{}", cluster.describe());
    assert_eq!(
        cluster.unfinished(),
        Vec::<String>::new(),
        "{}",
        cluster.describe()
    );
    sound(cluster);
}

/// Nothing happened that may never happen.
pub(crate) fn sound(cluster: &Cluster) {
    assert_eq!(
        cluster.violations(),
        Vec::<String>::new(),
        "{}",
        cluster.describe()
    );
}

/// At no time was a pair out of service.
pub(crate) fn served_always(cluster: &Cluster) {
    let outages: Vec<_> = cluster.hardware(|hardware, _| hardware.incidents().cloned().collect());
    assert!(outages.is_empty(), "{outages:?}\n{}", cluster.describe());
}

/// Kills whoever coordinates now.
pub(crate) fn kill_coordinator(cluster: &Cluster) {
    if let Some(node) = cluster.coordinator() {
        cluster.strike(&node, Blow::Kill);
    }
}
