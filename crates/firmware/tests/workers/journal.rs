//! A journal that outlives its worker, and can be where the worker ends.

use std::sync::Mutex;

use async_trait::async_trait;
use evenkeel_firmware::{Journal, JournalError, Phase, Step};
use evenkeel_platform::devices::DeviceId;
use tokio::sync::Notify;

/// Where a worker is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// When it is about to record its nth step.
    Before(usize),
    /// When it has.
    After(usize),
}

/// What happens meanwhile.
type Act = Box<dyn FnOnce() + Send>;

/// Steps, in memory.
#[derive(Default)]
pub struct Steps {
    act: Mutex<Option<(Kill, Act)>>,
    steps: Mutex<Vec<Step>>,
    kill: Mutex<Option<Kill>>,
    pub killed: Notify,
}

impl Steps {
    pub fn killing(kill: Kill) -> Self {
        let steps = Self::default();
        *steps.kill.lock().unwrap() = Some(kill);
        steps
    }

    /// Lets something happen at a step, while the worker goes on.
    pub fn meanwhile(at: Kill, act: impl FnOnce() + Send + 'static) -> Self {
        let steps = Self::default();
        *steps.act.lock().unwrap() = Some((at, Box::new(act)));
        steps
    }

    /// The next worker is killed there, counted from its own first step.
    pub fn kill_next(&self, kill: Kill) {
        let past = self.steps.lock().unwrap().len();
        *self.kill.lock().unwrap() = Some(match kill {
            Kill::Before(step) => Kill::Before(past + step),
            Kill::After(step) => Kill::After(past + step),
        });
    }

    /// Nobody is killed any more.
    pub fn spare_them(&self) {
        *self.kill.lock().unwrap() = None;
    }

    pub fn phases(&self) -> Vec<Phase> {
        let steps = self.steps.lock().unwrap();
        steps.iter().map(|step| step.phase).collect()
    }

    /// The worker comes no further if it is killed here.
    async fn perhaps_die(&self, here: Kill) {
        let act = self.act.lock().unwrap().take_if(|(at, _)| *at == here);
        if let Some((_, act)) = act {
            act();
        }
        if *self.kill.lock().unwrap() == Some(here) {
            *self.kill.lock().unwrap() = None;
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Journal for Steps {
    async fn record(&self, step: &Step) -> Result<(), JournalError> {
        let number = self.steps.lock().unwrap().len();
        self.perhaps_die(Kill::Before(number)).await;
        self.steps.lock().unwrap().push(step.clone());
        self.perhaps_die(Kill::After(number)).await;
        Ok(())
    }

    async fn last(&self, device: &DeviceId) -> Result<Option<Step>, JournalError> {
        let steps = self.steps.lock().unwrap();
        Ok(steps
            .iter()
            .rev()
            .find(|step| step.device == *device)
            .cloned())
    }

    async fn was_touched(&self, device: &DeviceId) -> Result<bool, JournalError> {
        Ok(self.last(device).await?.is_some())
    }

    async fn forget(&self, device: &DeviceId) -> Result<(), JournalError> {
        let mut steps = self.steps.lock().unwrap();
        steps.retain(|step| step.device != *device);
        Ok(())
    }
}
