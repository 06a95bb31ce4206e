//! Estimates, and plans that are only looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_interconnect::Look;
use evenkeel_model::{
    JobId, NodeName, Operation, OperationEvent, OperationId, Refusal, Request, UpdateRequest,
    UserName, code,
};
use evenkeel_planner::{Input, Preview, learn, preview};
use evenkeel_record::{Survival, View};

use crate::admission::{package, possible};
use crate::front_door::FrontDoor;
use crate::observe::Observer;

impl FrontDoor {
    /// Estimates an update: an operation with a job that touches nothing.
    pub async fn estimate(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        let fits = |view: &View| {
            possible(view, &request)?;
            refuse_mixed(view, "An estimate")?;
            package(view, &request.version).map(drop)
        };
        let description = "PATCH /api/cluster/software?estimate_only=true";
        self.start(Request::Estimate(request.clone()), by, description, fits)
            .await
            .map(|ticket| ticket.job)
    }

    /// What an update would do, from what every node sees now. Nothing is recorded.
    pub async fn preview(&self, request: &UpdateRequest, by: UserName) -> Result<Preview, Refusal> {
        let view = self.fresh().await?;
        possible(&view, request)?;
        package(&view, &request.version)?;
        let control = view.control();
        let topology = control.topology.clone().ok_or_else(|| {
            let text = "There is no cluster yet: no topology has been recorded.";
            Refusal::new(code::VALIDATION_FAILED, text)
        })?;
        let mut observer = Observer::new(Arc::clone(&self.agents), Arc::clone(&self.clock));
        let observations = observer.everyone(&topology, Look::Around).await;
        let operation = self.imagined(request, by)?;
        // The plan depends on who coordinates; while nobody does, this node may come to.
        let coordinator = control.coordinator.as_ref().map(|by| by.node.clone());
        let record = &self.record;
        let survives = |down: &[NodeName]| match record.survives_without(down) {
            Survival::Survives => Ok(()),
            Survival::Lost { why } => Err(why),
        };
        Ok(preview(
            &Input {
                me: coordinator.as_ref().unwrap_or(&self.me),
                topology: &topology,
                control,
                catalogue: view.catalogue(),
                operation: &operation,
                observations: &observations,
                running: &BTreeMap::new(),
                silent: &observer.silent(),
                idle: Duration::ZERO,
                survives_without: &survives,
                wall: self.clock.wall(),
                monotonic: self.clock.monotonic(),
                tunables: self.tunables,
                learned: &learn(view.operations(), self.tunables.minute),
            },
            request,
        ))
    }

    /// How long a minute of plans and estimates takes here.
    pub fn minute(&self) -> Duration {
        self.tunables.minute
    }

    /// An operation that no record has.
    fn imagined(&self, request: &UpdateRequest, by: UserName) -> Result<Operation, Refusal> {
        let event = OperationEvent::Requested {
            at: self.clock.wall(),
            by,
            request: Request::Estimate(request.clone()),
        };
        let id = OperationId(self.ids.uuid());
        Operation::begin(id, &event)
            .map_err(|illegal| Refusal::new(code::VALIDATION_FAILED, illegal.to_string()))
    }
}

/// What daemons of an older release cannot read is not recorded while one of them runs.
pub(crate) fn refuse_mixed(view: &View, what: &str) -> Result<(), Refusal> {
    if !view.control().mixed_daemons() {
        return Ok(());
    }
    let text = format!(
        "{what} is not possible while the nodes run different releases of evenkeeld, or one has not said \
         which. Bring all nodes to one version first."
    );
    Err(Refusal::new(code::WRONG_STATE, text))
}
