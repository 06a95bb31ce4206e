//! What others wrote and a node runs: nothing, and it is content.

use async_trait::async_trait;
use evenkeel_agent::{FirmwareWork, GateAnswer, GateContext, GateScript, PackageChecks};
use evenkeel_firmware::{FirmwareOrder, NodeJournal, WorkError};
use evenkeel_model::*;
use evenkeel_seam::watch;

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

/// A node without devices.
#[async_trait]
impl FirmwareWork for Scripts {
    async fn renew(
        &self,
        _order: &FirmwareOrder,
        _journal: &dyn NodeJournal,
        _progress: &watch::Sender<Progress>,
    ) -> Result<How, WorkError> {
        Ok(How::AlreadyDone)
    }

    fn status(&self) -> Result<FirmwareStatus, String> {
        Ok(FirmwareStatus::default())
    }
}
