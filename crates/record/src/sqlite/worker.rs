//! A thread that owns a connection and does one job after the other on it.

use std::io;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Jobs that may wait. More than one per caller is rare, so this many waiting means trouble.
const QUEUE: usize = 64;
/// How long a caller waits for room in the queue: several times what a healthy queue takes to move.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Handle to the thread, which ends when the last handle is gone.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
    answer_wait: Duration,
}

/// Why a job has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoResult {
    /// It was not begun and will not be.
    NotBegun,
    /// It may have been done, or be done yet.
    Unknown,
}

impl Worker {
    /// `answer_wait` bounds how long a caller waits for a job once it is queued.
    pub(super) fn spawn(
        name: &str,
        mut connection: Connection,
        answer_wait: Duration,
    ) -> io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
            })?;
        Ok(Self { jobs, answer_wait })
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // The caller may have stopped waiting; the work is done all the same.
            let _unheard = answer.send(work(connection));
        });
        match timeout(QUEUE_WAIT, self.jobs.send(job)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return Err(NoResult::NotBegun),
        }
        match timeout(self.answer_wait, answered).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) | Err(_) => Err(NoResult::Unknown),
        }
    }
}
