//! Stand-ins for what others wrote and a node runs: a package's checks, and the operator's gate script. A story
//! says what they answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_agent::{GateAnswer, GateContext, GateScript, PackageChecks};
use evenkeel_model::{BundledFinding, CheckOrder, NodeName, NodeObservation};
use tokio::time::sleep;

use crate::world::{World, lock};

/// How long one check takes.
const CHECK: Duration = Duration::from_millis(400);
/// How long the gate script takes.
const SCRIPT: Duration = Duration::from_millis(100);

/// What a story says of one node's checks.
#[derive(Clone, Debug, Default)]
pub struct ScriptedChecks {
    /// What they find.
    pub findings: Vec<BundledFinding>,
    /// They never end.
    pub hang: bool,
}

/// One node's runner.
pub(crate) struct Hooks {
    pub(crate) world: Arc<World>,
    pub(crate) node: NodeName,
}

#[async_trait]
impl PackageChecks for Hooks {
    async fn run(
        &self,
        order: &CheckOrder,
        _seen: &NodeObservation,
        say: &(dyn for<'t> Fn(&'t str) + Send + Sync),
    ) -> Vec<BundledFinding> {
        say("running the checks");
        lock(&self.world.check_runs).push((self.node.clone(), order.clone()));
        sleep(CHECK).await;
        let scripted = lock(&self.world.checks).get(&self.node).cloned();
        let scripted = scripted.unwrap_or_default();
        if scripted.hang {
            std::future::pending::<()>().await;
        }
        scripted.findings
    }
}

#[async_trait]
impl GateScript for Hooks {
    fn is_configured(&self) -> bool {
        true
    }

    async fn ask(&self, context: &GateContext) -> GateAnswer {
        sleep(SCRIPT).await;
        lock(&self.world.gate_asked).push(context.clone());
        lock(&self.world.gate).clone()
    }
}
