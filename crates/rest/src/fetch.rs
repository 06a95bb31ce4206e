//! A download: from a server into the store, under an operation that survives the daemon.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel_download::{Client, Event, Source, SourceError, StartsOver, Transfer, Validator};
use evenkeel_model::{Refusal, TransferSource, WallTime, code, error_chain};
use evenkeel_orchestrator::{FrontDoor as Admission, GetTicket};
use evenkeel_package_store::{Policy, StageError, StageLimits, Store};
use evenkeel_record::Follower;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::incoming::{ROOM_EVERY, Room, end, hand_over, hand_over_firmware, refusal};
use crate::inlet::{Inlet, InletError, Stored};
use crate::live::{LiveDownload, Retry, Standing};
use crate::policy::PackagePolicy;

/// What is kept beside a partial: what it takes to go on with it. Never a secret.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Note {
    #[serde(default)]
    validator: Validator,
    /// Why it began anew, if it did.
    #[serde(default)]
    remark: Option<String>,
}

/// What all downloads of a node need.
#[derive(Clone)]
pub(crate) struct Fetcher {
    pub(crate) policy: PackagePolicy,
    pub(crate) admission: Admission,
    pub(crate) follower: Arc<Follower>,
    pub(crate) store: Store,
    pub(crate) room: Room,
    pub(crate) client: Client,
    pub(crate) live: LiveDownload,
}

impl Fetcher {
    /// Fetches the package in the background. Goes on with what an earlier daemon has left of it, if it did.
    pub(crate) fn start(&self, ticket: GetTicket, source: Source) {
        let fetcher = self.clone();
        tokio::spawn(async move {
            let work = fetcher.clone();
            let fetched = tokio::spawn(async move { work.fetch(ticket, source).await });
            let refused = match fetched.await {
                Ok(Ok(())) => None,
                Ok(Err(refusal)) => Some(refusal),
                // Cut with the daemon: its next start goes on.
                Err(error) if error.is_cancelled() => return,
                Err(error) => {
                    tracing::error!(%error, "a download panicked");
                    Some(Refusal::new(code::DOWNLOAD_FAILED, "Internal error."))
                }
            };
            if let Some(refusal) = refused {
                tracing::warn!(operation = %ticket.operation, %refusal, "download failed");
                end(&fetcher.admission, ticket, &refusal).await;
            }
            fetcher.live.clear();
            fetcher.discard(ticket.operation.to_string()).await;
        });
    }

    async fn fetch(&self, ticket: GetTicket, source: Source) -> Result<(), Refusal> {
        let id = ticket.operation.to_string();
        // The daemon before this one may have died between storing it and saying so.
        if let Some(stored) = self.store.staged(&id) {
            tracing::info!(operation = %ticket.operation, "what it downloads is here already");
            hand_over(&self.admission, &self.store, ticket, stored, None).await?;
            return Ok(());
        }
        let file = source.shown();
        let mut firmware = self.store.firmware().into_iter();
        if let Some(stored) = firmware.find(|firmware| firmware.stage_id == id) {
            tracing::info!(operation = %ticket.operation, "what it downloads is here already");
            hand_over_firmware(&self.admission, ticket, stored, Some(&file)).await?;
            return Ok(());
        }
        let kept = self.take_up(&id, &source).await?;
        let (inlet, offset, note) = match kept {
            Some((inlet, offset, note)) => (Some(inlet), offset, note),
            None => (None, 0, Note::default()),
        };
        let host = source.host().to_owned();
        tracing::info!(operation = %ticket.operation, url = source.shown(), offset, "downloading");
        let transfer =
            Transfer::resume(self.client.clone(), source, offset, note.validator.clone());
        let view = self.follower.view();
        let since = view.operation(ticket.operation).map(|get| get.state_since);
        let mut fetch = Fetch {
            fetcher: self,
            ticket,
            id,
            host,
            transfer,
            file,
            inlet,
            note,
            content_type: None,
            since,
            retry: None,
            room_asked_at: 0,
        };
        let outcome = fetch.run().await;
        // What is refused leaves nothing, and that before anybody is told.
        if let Some(inlet) = fetch.inlet.take() {
            inlet.abort().await;
        }
        outcome
    }

    fn limits(&self, host: &str, total: Option<u64>) -> StageLimits {
        StageLimits {
            expected_bytes: total,
            keep_partial: true,
            source: TransferSource::Download {
                host: host.to_owned(),
            },
            ..StageLimits::default()
        }
    }

    fn policy(&self) -> Policy {
        self.policy.at(&self.follower.view())
    }

    /// What is on disk of this download, proven again.
    async fn take_up(
        &self,
        id: &str,
        source: &Source,
    ) -> Result<Option<(Inlet, u64, Note)>, Refusal> {
        let (store, policy, id) = (self.store.clone(), self.policy(), id.to_owned());
        let this = self.clone();
        let host = source.host().to_owned();
        let resumed = tokio::task::spawn_blocking(move || {
            let partials = match store.partials() {
                Ok(partials) => partials,
                Err(error) => {
                    tracing::warn!(error = error_chain(&error), "partials cannot be read");
                    return Ok(None);
                }
            };
            let Some(partial) = partials.into_iter().find(|partial| partial.stage_id == id) else {
                return Ok(None);
            };
            let Ok(note) = serde_json::from_slice::<Note>(&partial.note) else {
                return Ok(None);
            };
            if !note.validator.is_usable() {
                return Ok(None);
            }
            let limits = this.limits(&host, note.validator.total);
            match store.resume(&id, policy.clone(), limits.clone()) {
                // Nothing is here yet: whether it is a software package has not been seen.
                Ok((_, 0)) => Ok(None),
                Ok((staging, offset)) => {
                    let inlet = Inlet::resumed(&store, &id, policy, limits, staging);
                    Ok(Some((inlet, offset, note)))
                }
                Err(error) => taken_up_in_vain(error),
            }
        });
        match resumed.await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "taking up a download panicked");
                Ok(None)
            }
        }
    }

    /// Nobody wants what is left of it.
    async fn discard(&self, id: String) {
        let store = self.store.clone();
        let discarded = tokio::task::spawn_blocking(move || store.discard(&id)).await;
        match discarded {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = error_chain(&error), "part of a package stays")
            }
            Err(error) => tracing::error!(%error, "discarding part of a package panicked"),
        }
    }

    /// Discards what is left of downloads that are not wanted any more. A get's stage id is its operation's.
    pub(crate) async fn discard_unwanted(&self) {
        let store = self.store.clone();
        let partials = tokio::task::spawn_blocking(move || store.partials()).await;
        let Ok(Ok(partials)) = partials else {
            return;
        };
        let view = self.follower.view();
        for partial in partials {
            let Ok(id) = partial.stage_id.parse::<uuid::Uuid>() else {
                continue;
            };
            let operation = view.operation(evenkeel_model::OperationId(id));
            if operation.is_none_or(|get| get.is_ended() || get.staged.is_some()) {
                self.discard(partial.stage_id).await;
            }
        }
    }
}

/// What cannot be gone on with is fetched anew, unless it is the package that is refused.
fn taken_up_in_vain<T>(error: StageError) -> Result<Option<T>, Refusal> {
    match error {
        StageError::Refused(_)
        | StageError::VersionExists { .. }
        | StageError::TooLarge { .. }
        | StageError::NoSpace { .. } => Err(refusal(&error)),
        StageError::NothingKept { .. }
        | StageError::Io { .. }
        | StageError::Aborted
        | StageError::Ended
        | StageError::BadId { .. }
        | StageError::Busy { .. } => {
            tracing::warn!(error = error_chain(&error), "a download begins anew");
            Ok(None)
        }
    }
}

/// One download under way.
struct Fetch<'a> {
    fetcher: &'a Fetcher,
    ticket: GetTicket,
    id: String,
    host: String,
    transfer: Transfer,
    /// The address: its last part is the file's name.
    file: String,
    inlet: Option<Inlet>,
    note: Note,
    content_type: Option<String>,
    /// When it was asked for.
    since: Option<WallTime>,
    /// Why nothing comes just now.
    retry: Option<Retry>,
    room_asked_at: u64,
}

impl Fetch<'_> {
    async fn run(&mut self) -> Result<(), Refusal> {
        loop {
            self.show();
            match self.transfer.next().await {
                Ok(Event::Opened {
                    validator,
                    content_type,
                    ..
                }) => self.opened(validator, content_type).await?,
                Ok(Event::StartsOver(why)) => self.start_over(why).await,
                Ok(Event::Bytes(bytes)) => self.write(bytes).await?,
                Ok(Event::Failed {
                    error,
                    pause,
                    tries_left,
                }) => {
                    let error = error_chain(&error);
                    tracing::info!(
                        operation = %self.ticket.operation, error, ?pause, tries_left, "trying again"
                    );
                    self.retry = Some(Retry {
                        error,
                        again: Instant::now() + pause,
                        tries_left,
                    });
                    self.check_open()?;
                }
                Ok(Event::End) => return self.finish().await,
                Err(error) => return Err(failed(&error)),
            }
        }
    }

    fn show(&self) {
        self.fetcher.live.set(Standing {
            operation: self.ticket.operation,
            host: self.host.clone(),
            since: self.since,
            received: self.transfer.position(),
            total: self.transfer.total(),
            remark: self.note.remark.clone(),
            retry: self.retry.clone(),
        });
    }

    /// The coordinator may have ended the get of a node that it could not reach.
    fn check_open(&self) -> Result<(), Refusal> {
        let view = self.fetcher.follower.view();
        match view.operation(self.ticket.operation) {
            Some(get) if get.is_ended() => Err(Refusal::new(
                code::GET_FAILED,
                "The package get was ended while the package was on its way.",
            )),
            Some(_) | None => Ok(()),
        }
    }

    async fn opened(
        &mut self,
        validator: Validator,
        content_type: Option<String>,
    ) -> Result<(), Refusal> {
        self.retry = None;
        self.content_type = content_type;
        self.note.validator = validator;
        let total = self.note.validator.total;
        let inlet = match self.inlet.take() {
            Some(inlet) => inlet,
            None => {
                self.fetcher.room.check(total.unwrap_or(0)).await?;
                let limits = self.fetcher.limits(&self.host, total);
                let (store, policy) = (&self.fetcher.store, self.fetcher.policy());
                let begun = Inlet::begin(store, &self.id, policy, limits);
                begun.map_err(|error| download_refusal(&error.into()))?
            }
        };
        let note = serde_json::to_vec(&self.note).expect("texts and numbers");
        let noted = inlet.note(&note);
        self.inlet = Some(inlet);
        noted.map_err(|error| download_refusal(&error.into()))
    }

    async fn start_over(&mut self, why: StartsOver) {
        let received = self.transfer.position();
        tracing::info!(operation = %self.ticket.operation, received, %why, "download starts over");
        self.note.remark = Some(format!("started over, since {why}"));
        self.room_asked_at = 0;
        if let Some(inlet) = self.inlet.take() {
            inlet.abort().await;
        }
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Refusal> {
        let position = self.transfer.position();
        if position == bytes.len() as u64 {
            self.look_at(&bytes)?;
        }
        if position - self.room_asked_at >= ROOM_EVERY {
            self.room_asked_at = position;
            self.check_open()?;
            let needed = self.transfer.total().unwrap_or(position).max(position);
            self.fetcher.room.check_others(needed).await?;
        }
        let Some(inlet) = &mut self.inlet else {
            return Err(download_refusal(&StageError::Ended.into()));
        };
        let written = inlet.write(bytes).await;
        written.map_err(|error| download_refusal(&error))
    }

    /// A server that answers with a page instead of the file is told from a damaged package.
    fn look_at(&self, head: &[u8]) -> Result<(), Refusal> {
        let Some(what) = not_a_package(head) else {
            return Ok(());
        };
        let called = match &self.content_type {
            Some(kind) => format!(", called \"{kind}\""),
            None => String::new(),
        };
        let text = format!(
            "Processing the package failed: what {} sent is {what}{called}, and no package. The address \
             may be wrong, or need a login.",
            self.host
        );
        Err(Refusal::new(code::PROCESSING_FAILED, text))
    }

    async fn finish(&mut self) -> Result<(), Refusal> {
        if self.transfer.position() == 0 {
            let text = format!(
                "Processing the package failed: {} sent an empty file.",
                self.host
            );
            return Err(Refusal::new(code::PROCESSING_FAILED, text));
        }
        let Some(inlet) = self.inlet.take() else {
            return Err(download_refusal(&StageError::Ended.into()));
        };
        let stored = inlet.finish().await;
        let stored = stored.map_err(|error| download_refusal(&error))?;
        let Fetcher {
            admission, store, ..
        } = self.fetcher;
        let remark = self.note.remark.clone();
        match stored {
            Stored::Software(stored) => {
                hand_over(admission, store, self.ticket, stored, remark).await?;
            }
            Stored::Firmware(stored) => {
                hand_over_firmware(admission, self.ticket, stored, Some(&self.file)).await?;
            }
        }
        Ok(())
    }
}

/// What the first bytes of a file are, if they begin no archive.
fn not_a_package(head: &[u8]) -> Option<&'static str> {
    let begins = |magic: &[u8]| head.iter().zip(magic).all(|(a, b)| a == b);
    if begins(&[0x1f, 0x8b]) || begins(b"PK\x03\x04") {
        return None;
    }
    let text = head.trim_ascii_start();
    Some(match text.first() {
        Some(b'<') => "a page (HTML or XML)",
        Some(b'{' | b'[') => "a JSON text",
        Some(byte) if byte.is_ascii_graphic() && text.iter().take(64).all(is_text) => "a text",
        Some(_) | None => "neither gzip nor zip",
    })
}

fn is_text(byte: &u8) -> bool {
    byte.is_ascii_graphic() || byte.is_ascii_whitespace()
}

/// Why the source gave no file.
fn failed(error: &SourceError) -> Refusal {
    let text = format!("Package download failed: {}.", error_chain(error));
    Refusal::new(code::DOWNLOAD_FAILED, text)
}

/// The store's errors, without the codes that are about uploads.
fn download_refusal(error: &InletError) -> Refusal {
    let refusal = error.refusal();
    match error.is_io() {
        true => Refusal {
            code: code::DOWNLOAD_FAILED,
            ..refusal
        },
        false => refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_archive_is_called_by_its_name() {
        for (head, what) in [
            (&b"\x1f\x8b\x08"[..], None),
            (b"\x1f", None),
            (b"PK\x03\x04", None),
            (b"\n <!DOCTYPE html>", Some("a page (HTML or XML)")),
            (b"{\"error\":1}", Some("a JSON text")),
            (b"not found\n", Some("a text")),
            (b"\x7fELF\x02", Some("neither gzip nor zip")),
        ] {
            assert_eq!(not_a_package(head), what, "{head:?}");
        }
    }
}
