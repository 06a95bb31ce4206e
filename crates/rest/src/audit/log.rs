//! The log of one node.

use std::collections::{BTreeMap, VecDeque};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_model::{AuditOutcome, AuditRecord, WallTime};
use evenkeel_seam::{Clock, Ids};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::journal::Journal;

/// Of what users did: some ten thousand requests.
const FILES: usize = 8;
const FILE_BYTES: u64 = 1 << 20;
/// Of what was not let in. Apart from the other, since strangers fill it.
const REFUSED_FILES: usize = 2;
/// Refusals written in a minute; further ones are counted.
const REFUSED_PER_MINUTE: usize = 60;

/// A log that cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the audit log in {folder}")]
pub struct AuditError {
    folder: PathBuf,
    #[source]
    source: io::Error,
}

/// A line of a journal.
#[derive(Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line {
    /// A request is about to be carried out, or was not let in.
    Asked { record: AuditRecord },
    /// What became of it.
    Ended {
        at: WallTime,
        id: Uuid,
        outcome: AuditOutcome,
    },
}

/// What a request says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asking {
    pub(crate) user: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) from: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) what: BTreeMap<String, String>,
}

/// Keeps what is asked of this node.
pub struct AuditLog {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    asked: Mutex<Journal>,
    refused: Mutex<Refused>,
}

struct Refused {
    journal: Journal,
    written: VecDeque<Instant>,
    left_out: u64,
}

impl AuditLog {
    /// Opens or begins the log in a folder of its own. Blocks.
    pub fn open(
        folder: &Path,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Arc<Self>, AuditError> {
        let failed = |source| AuditError {
            folder: folder.to_owned(),
            source,
        };
        let mut how = DirBuilder::new();
        how.recursive(true).mode(0o700);
        how.create(folder).map_err(failed)?;
        let asked = Journal::open(folder, "requests", FILES, FILE_BYTES).map_err(failed)?;
        let refused = Journal::open(folder, "refused", REFUSED_FILES, FILE_BYTES);
        Ok(Arc::new(Self {
            clock,
            ids,
            asked: Mutex::new(asked),
            refused: Mutex::new(Refused {
                journal: refused.map_err(failed)?,
                written: VecDeque::new(),
                left_out: 0,
            }),
        }))
    }

    /// Writes that a request is about to be carried out.
    pub(crate) async fn asked(self: &Arc<Self>, asking: Asking) -> Noted {
        let record = self.record(asking, None);
        let id = record.id;
        let log = Arc::clone(self);
        log.blocking(move |log| log.append(&Line::Asked { record }))
            .await;
        Noted {
            log: Arc::clone(self),
            id,
            is_over: false,
        }
    }

    /// Writes that a request was not let in.
    pub(crate) async fn refused(self: &Arc<Self>, asking: Asking, outcome: AuditOutcome) {
        let record = self.record(asking, Some(outcome));
        let log = Arc::clone(self);
        log.blocking(move |log| log.append_refused(record)).await;
    }

    fn record(&self, asking: Asking, outcome: Option<AuditOutcome>) -> AuditRecord {
        AuditRecord {
            id: self.ids.uuid(),
            at: self.clock.wall(),
            user: asking.user,
            role: asking.role,
            from: asking.from,
            method: asking.method,
            path: asking.path,
            what: asking.what,
            outcome,
            left_out: 0,
        }
    }

    async fn blocking(self: Arc<Self>, work: impl FnOnce(&Self) + Send + 'static) {
        if let Err(error) = tokio::task::spawn_blocking(move || work(&self)).await {
            tracing::error!(%error, "the audit log could not be written");
        }
    }

    /// A log that cannot be written keeps nobody from resuming an update: the daemon's own log has it then.
    fn append(&self, line: &Line) {
        let text = text(line);
        let mut journal = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = journal.append(&text) {
            tracing::error!(%error, line = text, "the audit log cannot be written");
        }
    }

    fn append_refused(&self, mut record: AuditRecord) {
        let now = Instant::now();
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = Duration::from_secs(60);
        while refused
            .written
            .front()
            .is_some_and(|at| now - *at >= minute)
        {
            refused.written.pop_front();
        }
        if refused.written.len() >= REFUSED_PER_MINUTE {
            refused.left_out += 1;
            return;
        }
        refused.written.push_back(now);
        record.left_out = std::mem::take(&mut refused.left_out);
        let text = text(&Line::Asked { record });
        if let Err(error) = refused.journal.append(&text) {
            tracing::error!(%error, line = text, "the audit log cannot be written");
        }
    }

    /// The newest entries, oldest first. Blocks.
    pub fn newest(&self, most: usize) -> Vec<AuditRecord> {
        let journal = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of one instant stay in the order they came in.
        let mut records = newest(journal.texts(), most);
        records.reverse();
        drop(journal);
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        records.extend(newest(refused.journal.texts(), most).into_iter().rev());
        drop(refused);
        records.sort_by_key(|record| record.at.timestamp());
        records.split_off(records.len().saturating_sub(most))
    }
}

fn text(line: &Line) -> String {
    serde_json::to_string(line).expect("text keys, no failing fields")
}

/// Entries with their ends, which come after them: from the files that hold enough, newest first.
fn newest(files: impl Iterator<Item = String>, most: usize) -> Vec<AuditRecord> {
    let mut ends: BTreeMap<Uuid, AuditOutcome> = BTreeMap::new();
    let mut records = Vec::new();
    for file in files {
        for line in file.lines().rev() {
            // A line that a loss of power cut, or one of a later release, is skipped.
            match serde_json::from_str(line) {
                Ok(Line::Ended { id, outcome, .. }) => drop(ends.insert(id, outcome)),
                Ok(Line::Asked { mut record }) => {
                    let outcome = ends.remove(&record.id);
                    record.outcome = record.outcome.or(outcome);
                    records.push(record);
                }
                Err(_) => {}
            }
            if records.len() >= most {
                return records;
            }
        }
    }
    records
}

/// A request that is in the log and has not ended.
pub(crate) struct Noted {
    log: Arc<AuditLog>,
    id: Uuid,
    is_over: bool,
}

impl Noted {
    /// Writes what became of it.
    pub(crate) async fn ended(mut self, outcome: AuditOutcome) {
        self.is_over = true;
        let line = self.line(outcome);
        let log = Arc::clone(&self.log);
        log.blocking(move |log| log.append(&line)).await;
    }

    fn line(&self, outcome: AuditOutcome) -> Line {
        let (at, id) = (self.log.clock.wall(), self.id);
        Line::Ended { at, id, outcome }
    }
}

impl Drop for Noted {
    /// The client left before the answer.
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (line, log) = (self.line(AuditOutcome::default()), Arc::clone(&self.log));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || log.append(&line))),
            Err(_) => log.append(&line),
        }
    }
}
