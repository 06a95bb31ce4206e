//! What an operator of a storm does beside the update itself. Nobody insists on an answer.

use evenkeel_agent::GateAnswer;
use evenkeel_model::{BundledCheck, BundledFinding, Finding, Refusal, Severity, UpdateRequest};
use evenkeel_orchestrator::{FrontDoor, GatesChange};
use tokio::time::timeout;

use super::play::{EXTRA, OPERATOR, Storm, Undo};
use super::script::{Finds, Gate};
use crate::cluster::Cluster;
use crate::hooks::ScriptedChecks;
use crate::settings::{NEW, admin, version};

/// The check that comes with the package of a storm.
pub(super) fn check() -> BundledCheck {
    BundledCheck {
        path: "checks/storm".to_owned(),
        timeout_seconds: Some(2),
    }
}

impl Storm<'_> {
    pub(super) async fn tell<T>(&self, what: impl AsyncFn(FrontDoor) -> Result<T, Refusal>) {
        let _ = timeout(OPERATOR, self.cluster.tell(what)).await;
    }

    pub(super) async fn set_gates(&self, gate: Gate) {
        let gates = gate.gates();
        let change = GatesChange {
            conditions: Some(gates.conditions),
            hold_minutes: Some(gates.hold_minutes),
            longest_minutes: Some(gates.longest_minutes),
        };
        self.tell(async |door| door.set_gates(change.clone(), admin()).await)
            .await;
    }

    pub(super) fn hold_script(&mut self, trouble: bool, ms: u64) {
        self.cluster.script_gate(match trouble {
            true => GateAnswer::Trouble("the backup failed".to_owned()),
            false => GateAnswer::NotYet("the backup runs".to_owned()),
        });
        self.ends_in(ms, Undo::Script);
    }

    pub(super) fn script_check(&mut self, node: usize, finds: Finds, ms: u64) {
        let severity = match finds {
            Finds::Warning => Some(Severity::Warning),
            Finds::Error => Some(Severity::Error),
            Finds::Hangs => None,
        };
        let finding = severity.map(|severity| BundledFinding {
            check: check().path,
            severity,
            issue: "A storm blows.".to_owned(),
            action: "Wait until it is over.".to_owned(),
        });
        let checks = ScriptedChecks {
            findings: finding.into_iter().collect(),
            hang: finds == Finds::Hangs,
        };
        self.cluster.script_checks(self.node(node), checks);
        self.ends_in(ms, Undo::Check(node));
    }

    pub(super) async fn validate(&self) {
        let ask = async |door: FrontDoor| {
            door.validate(UpdateRequest::new(version(NEW)), admin())
                .await
        };
        let _ = timeout(OPERATOR, self.cluster.ask(ask)).await;
    }

    pub(super) async fn delete(&self) {
        let ask = async |door: FrontDoor| door.delete(version(EXTRA), admin()).await;
        let _ = timeout(OPERATOR, self.cluster.ask(ask)).await;
    }

    pub(super) async fn estimate(&self, rolling: bool, only: Option<usize>) {
        let request = self.asked(rolling, only);
        let ask = async |door: FrontDoor| door.estimate(request.clone(), admin()).await;
        let _ = timeout(OPERATOR, self.cluster.ask(ask)).await;
    }

    fn asked(&self, rolling: bool, only: Option<usize>) -> UpdateRequest {
        Cluster::request_with(|request| {
            request.force_rolling = rolling;
            request.nodes = only.map(|node| self.pair_of(node)).unwrap_or_default();
        })
    }

    /// Looks at the plan that an update would have.
    pub(super) async fn preview(&self, node: usize) {
        let request = self.asked(false, None);
        if let Some(door) = self.cluster.door(self.node(node)) {
            let _ = timeout(OPERATOR, door.preview(&request, admin())).await;
        }
    }

    /// Acknowledges every warning of the newest validation or update.
    pub(super) async fn acknowledge(&self) {
        let view = self.cluster.view();
        let mut newest = view.operations().rev();
        let findings = newest.find_map(|operation| operation.findings.clone());
        let is_new = |f: &Finding| f.severity == Severity::Warning && f.acknowledged.is_none();
        for finding in findings.into_iter().flatten().filter(is_new) {
            let check = finding.check.as_str();
            self.tell(async |door| door.acknowledge(check, "it is a storm", admin()).await)
                .await;
        }
    }

    pub(super) async fn withdraw(&self) {
        let view = self.cluster.view();
        for check in view.control().acknowledged.keys() {
            self.tell(async |door| door.withdraw_acknowledgement(check, admin()).await)
                .await;
        }
    }
}
