//! Writes packages into slots, for the agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_agent::{InstallError, InstallRequest, Installer};
use evenkeel_model::{NodeName, Progress};
use evenkeel_package_store::{ExtractError, ExtractRequest, Policy, Store};
use evenkeel_record::View;
use evenkeel_rest::package_policy;
use tokio::sync::watch;

use crate::error::chain;

/// Pause between two looks at a slot that another extraction writes to.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// How often: an extraction that was told to stop does so at its next chunk, so a minute is ample.
const BUSY_LOOKS: u32 = 300;

/// Extracts from the store.
pub(crate) struct SlotInstaller {
    pub(crate) node: NodeName,
    pub(crate) store: Store,
    pub(crate) views: watch::Receiver<Arc<View>>,
}

/// Tells an extraction to stop when nobody waits for it any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Installer for SlotInstaller {
    async fn install(
        &self,
        request: &InstallRequest,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), InstallError> {
        let policy = package_policy(&self.views.borrow(), &self.node);
        let mut looks = 0;
        loop {
            match self
                .extract(request, policy.clone(), progress.clone())
                .await
            {
                Err(ExtractError::Busy { .. }) if looks < BUSY_LOOKS => {
                    looks += 1;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                outcome => return outcome.map_err(refuse),
            }
        }
    }
}

impl SlotInstaller {
    async fn extract(
        &self,
        request: &InstallRequest,
        policy: Policy,
        progress: watch::Sender<Progress>,
    ) -> Result<(), ExtractError> {
        let (store, request) = (self.store.clone(), request.clone());
        let canceled = Arc::new(AtomicBool::new(false));
        let _cancel = CancelOnDrop(Arc::clone(&canceled));
        let work = move || {
            let extract = ExtractRequest {
                slot_dir: &request.path,
                running: Some(&request.running),
                expected: Some(request.package),
                policy: &policy,
            };
            let mut report = |at: evenkeel_package_store::ExtractProgress| {
                let text = format!(
                    "extracting, entry {} of {}",
                    at.done_entries, at.total_entries
                );
                progress.send_replace(Progress {
                    text,
                    done: at.done_bytes,
                    total: at.total_bytes,
                });
            };
            store
                .extract(request.package, extract, &mut report, &canceled)
                .map(drop)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

fn refuse(error: ExtractError) -> InstallError {
    let text = chain(&error);
    match error {
        ExtractError::Running { .. }
        | ExtractError::WrongPackage { .. }
        | ExtractError::Refused(_) => InstallError::Refused(text),
        ExtractError::Busy { .. }
        | ExtractError::Store(_)
        | ExtractError::NoSpace { .. }
        | ExtractError::Canceled
        | ExtractError::Io { .. } => InstallError::Failed(text),
    }
}
