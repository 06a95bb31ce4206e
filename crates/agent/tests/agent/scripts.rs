//! What others wrote and a node runs: nothing, and it is content.

use async_trait::async_trait;
use evenkeel_agent::{GateAnswer, GateContext, GateScript, PackageChecks};
use evenkeel_model::*;

pub(crate) struct Scripts;

#[async_trait]
impl PackageChecks for Scripts {
    async fn run(
        &self,
        _order: &CheckOrder,
        _seen: &NodeObservation,
        _say: &(dyn for<'t> Fn(&'t str) + Send + Sync),
    ) -> Vec<BundledFinding> {
        Vec::new()
    }
}

#[async_trait]
impl GateScript for Scripts {
    fn is_configured(&self) -> bool {
        true
    }

    async fn ask(&self, _context: &GateContext) -> GateAnswer {
        GateAnswer::Open
    }
}
