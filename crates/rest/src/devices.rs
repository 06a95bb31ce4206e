//! What nodes say of their devices' firmware: asked for when somebody wants to know, and kept for a moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_model::{FirmwareStatus, NodeName};
use evenkeel_orchestrator::FrontDoor;
use tokio::time::{Instant, timeout};

/// What was said is asked for again after this.
const FRESH: Duration = Duration::from_secs(3);
/// Who asks then waits so long for the answers.
const WAIT: Duration = Duration::from_secs(1);

type Seen = Arc<BTreeMap<NodeName, FirmwareStatus>>;

/// Asks, one time after the other, whoever wants to know how often.
#[derive(Clone)]
pub(crate) struct DeviceWatch {
    admission: FrontDoor,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    seen: Option<Seen>,
    asked: Option<Instant>,
    /// So many firmware updates were over when it was asked: after another one devices run something else.
    over: usize,
    is_asking: bool,
}

impl DeviceWatch {
    pub(crate) fn new(admission: FrontDoor) -> Self {
        let state = Arc::default();
        Self { admission, state }
    }

    /// What was said, since so many firmware updates were over; of a node that does not answer, nothing.
    pub(crate) async fn seen(&self, over: usize) -> Seen {
        let due = self.edit(|state| {
            let is_old =
                state.asked.is_none_or(|asked| asked.elapsed() >= FRESH) || state.over != over;
            let due = is_old && !state.is_asking;
            state.is_asking |= due;
            due
        });
        if due {
            let watch = self.clone();
            let asking = tokio::spawn(async move { watch.ask(over).await });
            drop(timeout(WAIT, asking).await);
        }
        self.edit(|state| state.seen.clone()).unwrap_or_default()
    }

    async fn ask(&self, over: usize) {
        let said = self.admission.device_firmware().await;
        self.edit(|state| {
            *state = State {
                seen: Some(Arc::new(said)),
                asked: Some(Instant::now()),
                over,
                is_asking: false,
            };
        });
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        edit(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
