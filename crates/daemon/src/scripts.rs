//! Runs the checks that packages bring, and the operator's gate script, for the agent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_agent::{GateAnswer, GateContext, GateScript, PackageChecks};
use evenkeel_model::{BundledCheck, BundledFinding, CheckOrder, NodeObservation, Severity};
use evenkeel_package_store::{Policy, Store, UnpackError};
use evenkeel_record::View;
use evenkeel_rest::PackagePolicy;
use evenkeel_seam::watch;

use crate::cancel::CancelOnDrop;
use crate::errand::{self, Errand, GRACE};
use crate::error::chain;
use crate::sandbox::{Answer, CheckEnd, CheckJob, ScriptJob};

/// What findings are called that are about all checks of a package.
const ALL: &str = "Package checks";

/// Runs checks out of the store's packages.
pub(crate) struct CheckRunner {
    pub(crate) policy: PackagePolicy,
    pub(crate) store: Store,
    pub(crate) views: watch::Receiver<Arc<View>>,
    /// Of its own: emptied before each run.
    pub(crate) folder: PathBuf,
}

#[async_trait]
impl PackageChecks for CheckRunner {
    async fn run(
        &self,
        order: &CheckOrder,
        seen: &NodeObservation,
        say: &(dyn for<'t> Fn(&'t str) + Send + Sync),
    ) -> Vec<BundledFinding> {
        let checks = match self.unpack(order).await {
            Ok(checks) => checks,
            Err(error) => {
                let why = chain(&error);
                return vec![could_not(ALL, &why, order)];
            }
        };
        let mut findings = Vec::new();
        for (number, check) in (1..).zip(&checks) {
            let path = &check.path;
            say(&format!(
                "running {path}, check {number} of {}",
                checks.len()
            ));
            match self.run_one(order, seen, check).await {
                Ok(found) => findings.extend(found),
                Err(why) => findings.push(could_not(path, &why, order)),
            }
        }
        let _ = tokio::fs::remove_dir_all(self.files()).await;
        findings
    }
}

impl CheckRunner {
    fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    async fn unpack(&self, order: &CheckOrder) -> Result<Vec<BundledCheck>, UnpackError> {
        let (store, files, package) = (self.store.clone(), self.files(), order.package);
        let policy: Policy = self.policy.at(&self.views.borrow());
        let canceled = Arc::new(AtomicBool::new(false));
        let _cancel = CancelOnDrop(Arc::clone(&canceled));
        let work = move || store.unpack_checks(package, &files, &policy, &canceled);
        match tokio::task::spawn_blocking(work).await {
            Ok(unpacked) => unpacked,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    async fn run_one(
        &self,
        order: &CheckOrder,
        seen: &NodeObservation,
        check: &BundledCheck,
    ) -> Result<Vec<BundledFinding>, String> {
        let root = self.folder.join("root");
        let made = tokio::fs::create_dir_all(&root).await;
        made.map_err(|error| format!("cannot create {}: {error}", root.display()))?;
        let within = check.within();
        let job = CheckJob {
            check: check.path.clone(),
            files: self.files(),
            root,
            within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            number: 0,
            fallback: None,
            input: input(order, seen),
        };
        match errand::ask(Errand::Check, &job, within + GRACE).await? {
            CheckEnd::Ran { findings } => Ok(findings),
            CheckEnd::CouldNot { why } => Err(why),
        }
    }
}

/// What a check is told: one line of JSON.
fn input(order: &CheckOrder, seen: &NodeObservation) -> String {
    let said = serde_json::json!({
        "protocol": 1,
        "node": seen.node,
        "from": order.from,
        "to": order.target,
        "observation": seen,
    });
    format!("{said}\n")
}

fn could_not(check: &str, why: &str, order: &CheckOrder) -> BundledFinding {
    BundledFinding {
        check: check.to_owned(),
        severity: Severity::Error,
        issue: format!("The check could not run: {why}."),
        action: format!(
            "See to what it says, then validate again; if the check itself is at fault, get a package of {} \
             with a better one.",
            order.target
        ),
    }
}

/// Runs the operator's gate script.
pub(crate) struct GateRunner {
    pub(crate) script: Option<PathBuf>,
    /// How long one run may take.
    pub(crate) within: Duration,
}

impl GateRunner {
    /// How long one run may take where the configuration does not say.
    pub(crate) const WITHIN: Duration = Duration::from_secs(60);
}

#[async_trait]
impl GateScript for GateRunner {
    fn is_configured(&self) -> bool {
        self.script.is_some()
    }

    async fn ask(&self, context: &GateContext) -> GateAnswer {
        let Some(script) = self.script.clone() else {
            let text = "no gate_script is configured in [update] of its evenkeeld.toml";
            return GateAnswer::Trouble(text.to_owned());
        };
        let job = ScriptJob {
            script,
            within_ms: u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX),
            environment: environment(context),
        };
        match errand::ask(Errand::Script, &job, self.within + GRACE).await {
            Ok(Answer::Open) => GateAnswer::Open,
            Ok(Answer::NotYet(said)) => GateAnswer::NotYet(said),
            Ok(Answer::Trouble(why)) | Err(why) => GateAnswer::Trouble(why),
        }
    }
}

fn environment(context: &GateContext) -> BTreeMap<String, String> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let partner = context.partner.as_ref().map(ToString::to_string);
    let pairs = [
        ("PATH", path.to_owned()),
        ("EVENKEEL_NODE", context.node.to_string()),
        ("EVENKEEL_PARTNER", partner.unwrap_or_default()),
        ("EVENKEEL_VERSION", context.version.to_string()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}
