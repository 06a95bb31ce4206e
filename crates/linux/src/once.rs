//! Programs whose answers are shared.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::program::{Call, Finished, Programs};
use evenkeel_platform::PlatformError;

type Answer = Arc<OnceCell<Result<Finished, PlatformError>>>;

/// Runs each program once, for as long as this lives: whoever asks the same meanwhile or later is given the same answer. Only for
/// programs that look.
pub(crate) struct Once {
    programs: Arc<dyn Programs>,
    answers: Mutex<Vec<(Call, Answer)>>,
}

impl Once {
    pub(crate) fn new(programs: Arc<dyn Programs>) -> Self {
        Self {
            programs,
            answers: Mutex::default(),
        }
    }

    fn answer(&self, call: &Call) -> Answer {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, answer)) = answers.iter().find(|(asked, _)| asked == call) {
            return Arc::clone(answer);
        }
        let answer = Answer::default();
        answers.push((call.clone(), Arc::clone(&answer)));
        answer
    }
}

#[async_trait]
impl Programs for Once {
    /// Whoever began to ask may give up: then the next one who waits asks.
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        let answer = self.answer(call);
        let asked = answer.get_or_init(|| self.programs.run(call)).await;
        asked.clone()
    }
}
