//! What uploads and downloads share on their way into the store: the get that must end, the room that
//! must be there, and what an error of the store means to the client.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{FirmwareRef, JobId, PackageRef, Refusal, code, error_chain};
use evenkeel_orchestrator::{FrontDoor as Admission, GetTicket};
use evenkeel_package_store::{
    FirmwareError, StageError, Store, StoreError, StoredFirmware, StoredPackage,
};
use tokio::time::sleep;

use crate::cluster::PeerRoom;

/// Tries to end a get while the record is out of reach, and the pause between them: an hour.
const END_TRIES: u32 = 720;
const END_PAUSE: Duration = Duration::from_secs(5);

/// Tries to hand a package over while the record is out of reach, and the pause between them: half a minute,
/// above an election.
const HAND_OVER_TRIES: u32 = 16;
const HAND_OVER_PAUSE: Duration = Duration::from_secs(2);

/// The other nodes' room is asked for again after so many bytes.
pub(crate) const ROOM_EVERY: u64 = 64 << 20;

/// Whether a package fits, here and on the other nodes.
#[derive(Clone)]
pub(crate) struct Room {
    pub(crate) store: Store,
    pub(crate) peers: Arc<dyn PeerRoom>,
}

impl Room {
    /// Whether `bytes` more fit here, and a package of `bytes` fits on the others.
    pub(crate) async fn check(&self, bytes: u64) -> Result<(), Refusal> {
        let store = self.store.clone();
        let room = tokio::task::spawn_blocking(move || store.room_bytes()).await;
        match room {
            Ok(Ok(room)) if room < bytes => Err(no_room("this node", bytes, room)),
            Ok(Ok(_)) => self.check_others(bytes).await,
            Ok(Err(error)) => Err(refusal(&unreadable(error))),
            Err(error) => {
                tracing::error!(%error, "asking for room panicked");
                self.check_others(bytes).await
            }
        }
    }

    /// Whether a package of `bytes` fits on the other nodes that answer.
    pub(crate) async fn check_others(&self, bytes: u64) -> Result<(), Refusal> {
        let rooms = self.peers.rooms().await;
        match rooms.into_iter().find(|(_, room)| *room < bytes) {
            Some((node, room)) => Err(no_room(&format!("node \"{node}\""), bytes, room)),
            None => Ok(()),
        }
    }
}

fn unreadable(error: StoreError) -> StageError {
    match error {
        StoreError::Io { step, path, source } => StageError::Io { step, path, source },
        _ => StageError::Ended,
    }
}

fn no_room(place: &str, needed: u64, room: u64) -> Refusal {
    let text = format!(
        "There is not sufficient space for the package on {place}: {needed} bytes are needed, {room} are \
         left for packages. Delete packages that are not needed any more."
    );
    Refusal::new(code::NO_SPACE, text).about("file")
}

/// An admitted get that this node must end.
pub(crate) struct Get {
    pub(crate) admission: Admission,
    pub(crate) ticket: Option<GetTicket>,
}

impl Get {
    /// Ends the get and its job with the refusal; while that cannot be recorded, dropping it tries on.
    pub(crate) async fn fail(&mut self, refusal: Refusal) -> Refusal {
        if let Some(ticket) = self.ticket
            && self.admission.fail_get(ticket, &refusal).await.is_ok()
        {
            self.ticket = None;
        }
        refusal
    }
}

impl Drop for Get {
    /// The client went away, or the record is out of reach. An open get keeps updates from being
    /// admitted, so this tries for a while; after that, the daemon's next start ends it.
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let admission = self.admission.clone();
        runtime.spawn(async move { end(&admission, ticket, &refusal(&StageError::Aborted)).await });
    }
}

/// Ends a get, and tries again while the record is out of reach.
pub(crate) async fn end(admission: &Admission, ticket: GetTicket, refusal: &Refusal) {
    for _ in 0..END_TRIES {
        match admission.fail_get(ticket, refusal).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "a failed get cannot be ended yet"),
        }
        sleep(END_PAUSE).await;
    }
    tracing::error!(operation = %ticket.operation, "a failed get stays open");
}

/// Hands a proven package over to the cluster; a record that is out of reach is waited for a while, since
/// getting the package again would take longer. One that the cluster will never ask for goes at once.
pub(crate) async fn hand_over(
    admission: &Admission,
    store: &Store,
    ticket: GetTicket,
    stored: StoredPackage,
    remark: Option<String>,
) -> Result<JobId, Refusal> {
    let mut tries = 1;
    let outcome = loop {
        let outcome = admission
            .staged(ticket, package(&stored), remark.clone())
            .await;
        match &outcome {
            Err(refusal) if is_passing(refusal) && tries < HAND_OVER_TRIES => {
                tracing::warn!(%refusal, "a package cannot be handed over yet");
            }
            Ok(_) | Err(_) => break outcome,
        }
        tries += 1;
        sleep(HAND_OVER_PAUSE).await;
    };
    if let Err(refusal) = &outcome
        && refusal.code == code::PACKAGE_EXISTS
    {
        forget(store, stored).await;
    }
    outcome
}

/// Hands proven firmware over to the cluster, with the same patience. `file` is the name that it came under. What the
/// cluster does not take goes as every leftover does.
pub(crate) async fn hand_over_firmware(
    admission: &Admission,
    ticket: GetTicket,
    stored: StoredFirmware,
    file: Option<&str>,
) -> Result<JobId, Refusal> {
    let file = file.and_then(bare_name);
    let file = file.unwrap_or_else(|| stored.summary.name.clone());
    let firmware = FirmwareRef::from(stored);
    let mut tries = 1;
    loop {
        let outcome = admission
            .firmware_staged(ticket, firmware.clone(), file.clone())
            .await;
        match &outcome {
            Err(refusal) if is_passing(refusal) && tries < HAND_OVER_TRIES => {
                tracing::warn!(%refusal, "firmware cannot be handed over yet");
            }
            Ok(_) | Err(_) => return outcome,
        }
        tries += 1;
        sleep(HAND_OVER_PAUSE).await;
    }
}

/// A file's name without folders, as clients and addresses name files.
fn bare_name(path: &str) -> Option<String> {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let is_name = !name.is_empty() && !name.chars().any(char::is_control);
    is_name.then(|| name.to_owned())
}

/// Whether handing over again may help. It is done once, however often it is asked for, so an unknown outcome
/// is settled by asking again.
fn is_passing(refusal: &Refusal) -> bool {
    [code::CANNOT_CREATE_TASK, code::OUTCOME_UNKNOWN].contains(&refusal.code)
}

/// The catalogue has other content for the version, so this one will never be asked for.
async fn forget(store: &Store, stored: StoredPackage) {
    let store = store.clone();
    let deleted = tokio::task::spawn_blocking(move || store.delete(stored.manifest_digest));
    match deleted.await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a refused package stays in the store"),
        Err(error) => tracing::error!(%error, "deleting a refused package panicked"),
    }
}

fn package(stored: &StoredPackage) -> PackageRef {
    PackageRef {
        signed_by: stored.signed_by.clone(),
        digest: stored.manifest_digest,
        archive_digest: stored.archive_digest,
        archive_bytes: stored.archive_bytes,
        summary: stored.summary.clone(),
    }
}

/// Whether it is about what the package is, and not about how it came: such a package fails its job.
pub(crate) fn is_verdict(refusal: &Refusal) -> bool {
    [code::PROCESSING_FAILED, code::PACKAGE_EXISTS].contains(&refusal.code)
}

/// What an error of the store means to whoever sends the package.
pub(crate) fn refusal(error: &StageError) -> Refusal {
    let code = match error {
        StageError::NoSpace { .. } => code::NO_SPACE,
        StageError::VersionExists { .. } => code::PACKAGE_EXISTS,
        StageError::TooLarge { .. } | StageError::Refused(_) => code::PROCESSING_FAILED,
        StageError::Io { step, source, .. } => io_code(step, source),
        StageError::Aborted
        | StageError::Ended
        | StageError::NothingKept { .. }
        | StageError::BadId { .. }
        | StageError::Busy { .. } => code::GET_FAILED,
    };
    let text = match error {
        // Clients look for these words.
        StageError::VersionExists { version, .. } => {
            format!("Package image with the same name already exists: version {version}.")
        }
        StageError::Refused(refused) => {
            format!(
                "The package is refused: {}; {}.",
                error_chain(refused),
                refused.advice()
            )
        }
        StageError::NoSpace { .. }
        | StageError::TooLarge { .. }
        | StageError::Io { .. }
        | StageError::Aborted
        | StageError::NothingKept { .. }
        | StageError::Ended
        | StageError::BadId { .. }
        | StageError::Busy { .. } => {
            format!("The package was not taken in: {}.", error_chain(error))
        }
    };
    Refusal::new(code, text).about("file")
}

/// What is wrong with firmware.
pub(crate) fn firmware_refusal(error: &FirmwareError) -> Refusal {
    let (code, text) = match error {
        FirmwareError::Read(_) => (
            code::UPLOAD_IO,
            format!("The package was not taken in: {}.", error_chain(error)),
        ),
        _ => (
            code::PROCESSING_FAILED,
            format!(
                "The package is refused: {}; {}.",
                error_chain(error),
                error.advice()
            ),
        ),
    };
    Refusal::new(code, text).about("file")
}

/// The API tells the reasons why a file cannot be written apart.
fn io_code(step: &str, error: &io::Error) -> u32 {
    match error.kind() {
        io::ErrorKind::PermissionDenied => code::UPLOAD_PERMISSION,
        io::ErrorKind::ReadOnlyFilesystem => code::UPLOAD_READ_ONLY,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => code::UPLOAD_HANDLE,
        _ if step == "create" => code::UPLOAD_SETUP,
        _ => code::UPLOAD_IO,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_file_is_called_by_its_bare_name() {
        for (path, name) in [
            ("X423.zip", Some("X423.zip")),
            ("/fw/all disk.zip", Some("all disk.zip")),
            ("C:\\fw\\sp.zip", Some("sp.zip")),
            ("http://h/fw/", None),
            ("a\u{7}b", None),
        ] {
            assert_eq!(bare_name(path).as_deref(), name, "{path:?}");
        }
    }

    #[test]
    fn each_reason_why_a_file_cannot_be_written_has_its_code() {
        use io::ErrorKind::{
            InvalidFilename, Other, PermissionDenied, ReadOnlyFilesystem, StorageFull,
        };
        for (step, kind, code) in [
            ("write", PermissionDenied, code::UPLOAD_PERMISSION),
            ("create", PermissionDenied, code::UPLOAD_PERMISSION),
            ("create", ReadOnlyFilesystem, code::UPLOAD_READ_ONLY),
            ("create", InvalidFilename, code::UPLOAD_HANDLE),
            ("create", Other, code::UPLOAD_SETUP),
            ("write", Other, code::UPLOAD_IO),
            // A full disk is told before, by what is free.
            ("sync", StorageFull, code::UPLOAD_IO),
        ] {
            let (path, source) = (PathBuf::from("/p"), kind.into());
            let refused = refusal(&StageError::Io { step, path, source });
            assert_eq!(refused.code, code, "{step} {kind:?}");
            assert!(refused.message.contains("/p"), "{refused}");
        }
    }
}
