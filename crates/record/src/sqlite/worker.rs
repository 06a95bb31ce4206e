//! A thread that owns a connection and does one job after the other on it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::holder::Hold;

/// Jobs that may wait. More than one per caller is rare, so this many waiting means trouble.
const QUEUE: usize = 64;
/// How long a caller waits for room in the queue: several times what a healthy queue takes to move.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// Without a connection it only says that it was not begun.
type Job = Box<dyn FnOnce(Option<&mut Connection>) + Send>;

/// The last thing done with a connection before it is closed.
pub(super) type Farewell = Box<dyn FnOnce(&mut Connection) + Send>;

/// What a thread has for as long as its connection is open.
pub(super) struct Held {
    /// Of the file.
    pub(super) _hold: Option<Hold>,
    /// Says to the thread that closes last that this one has not.
    pub(super) _open: Option<std::sync::mpsc::Sender<()>>,
}

/// Handle to the thread, which ends when the last handle is gone, or is told to.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
    ending: Arc<AtomicBool>,
    answer_wait: Duration,
}

/// Why a job has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoResult {
    /// It was not begun and will not be: too much else waits.
    NotBegun,
    /// It was not begun and will not be: the database is being closed.
    Closing,
    /// It may have been done, or be done yet.
    Unknown,
}

impl Worker {
    /// `answer_wait` bounds how long a caller waits for a job once it is queued. `held` is dropped after the connection is closed.
    pub(super) fn spawn(
        name: &str,
        connection: Connection,
        answer_wait: Duration,
        farewell: Farewell,
        held: Held,
    ) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>(QUEUE);
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let mut connection = work(connection, queue, &told);
                farewell(&mut connection);
                // The last connection to close writes the log back into the file. Only then may others have it.
                drop(connection);
                drop(held);
            })?;
        Ok(Self {
            jobs,
            ending,
            answer_wait,
        })
    }

    /// Ends the job that runs, and the thread after it. Jobs that wait are not begun. Does not wait for it.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        // Wakes it. With a full queue it is awake, and finds out after the job that runs.
        let _full = self.jobs.try_send(Box::new(|_| ()));
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, NoResult> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = connection.map(work).ok_or(NoResult::Closing);
            // The caller may have stopped waiting; the work is done all the same.
            let _unheard = answer.send(outcome);
        });
        match timeout(QUEUE_WAIT, self.jobs.send(job)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(NoResult::Closing),
            Err(_) => return Err(NoResult::NotBegun),
        }
        match timeout(self.answer_wait, answered).await {
            Ok(Ok(outcome)) => outcome,
            // The job was dropped: unbegun when the thread was told to end, or by a panic in its midst.
            Ok(Err(_)) | Err(_) => Err(NoResult::Unknown),
        }
    }
}

/// One job after the other, until there are no more handles or the thread is told to end.
fn work(
    mut connection: Connection,
    mut queue: mpsc::Receiver<Job>,
    ending: &AtomicBool,
) -> Connection {
    while let Some(job) = queue.blocking_recv() {
        if ending.load(Ordering::Acquire) {
            job(None);
            queue.close();
            while let Some(job) = queue.blocking_recv() {
                job(None);
            }
            break;
        }
        job(Some(&mut connection));
    }
    connection
}
