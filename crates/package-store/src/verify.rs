//! Proves a package while it passes: the manifest's signature before its first word is believed, then
//! each entry by order, kind, mode, size and digest. Stops at the first thing that is wrong.

use std::convert::Infallible;
use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use evenkeel_model::{Entry, EntryKind};

use crate::crew::{BATCH_BYTES, Crew, Files, Office};
use crate::gzip::{Blocks, Inflated};
use crate::head::{Policy, Second, SignedManifest, prove, read_head};
use crate::listed::{check_archive_path, check_header, misplaced};
use crate::tar::{TarEntry, TarReader};
use crate::verify_error::VerifyError;

/// What is done with a package as it is proven. Its methods are called in the archive's order, on one thread;
/// files' content goes to several, as [`Files`].
pub(crate) trait Sink {
    type Error: Send;
    type Files: Files<Error = Self::Error>;
    /// The manifest is signed, valid and meets the policy.
    fn begin(&mut self, signed: &Arc<SignedManifest>) -> Result<Self::Files, Self::Error>;
    /// An entry starts; for directories and links this is all.
    fn entry(&mut self, files: &Self::Files, entry: &Entry) -> Result<(), Self::Error>;
    /// Some content was read: the occasion to look around.
    fn progress(&mut self, files: &Self::Files) -> Result<(), Self::Error>;
}

/// Why a verified copy was not made.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    /// The package is to blame.
    Package(VerifyError),
    /// The place it should go to is.
    Sink(E),
}

impl<E> From<VerifyError> for Failure<E> {
    fn from(error: VerifyError) -> Self {
        Self::Package(error)
    }
}

/// Reads a whole package through `sink`.
pub(crate) fn verify<S: Sink>(
    input: impl Read + Send + 'static,
    policy: &Policy,
    sink: &mut S,
) -> Result<Arc<SignedManifest>, Failure<S::Error>> {
    let mut tar = TarReader::new(Inflated::new(input).map_err(VerifyError::Read)?);
    let unproven = read_head(&mut tar)?;
    let (signed, second) = prove(unproven, policy)?;
    let signed = Arc::new(signed);
    let files = sink.begin(&signed).map_err(Failure::Sink)?;
    let entries = &signed.manifest.entries;
    let office = Office::new();
    thread::scope(|scope| {
        let mut crew = Crew::hire(scope, &office, &files, entries)?;
        let turns = Turns::new(&mut tar, second);
        let read = read_entries(turns, entries, sink, &files, &mut crew);
        crew.conclude(read)
    })?;
    sink.progress(&files).map_err(Failure::Sink)?;
    Ok(signed)
}

/// Reads the entries; the content of files goes to the crew. An error says at which entry it was found.
fn read_entries<R: Blocks, S: Sink>(
    mut turns: Turns<'_, R>,
    entries: &[Entry],
    sink: &mut S,
    files: &S::Files,
    crew: &mut Crew<'_, S::Error>,
) -> Result<(), (usize, Failure<S::Error>)> {
    for at in 0..entries.len() {
        let read = read_entry(&mut turns, entries, at, sink, files, crew);
        read.map_err(|failure| (at, failure))?;
        if crew.has_failed() {
            return Ok(());
        }
    }
    let after = match turns.next() {
        Ok(None) => return Ok(()),
        Ok(Some(extra)) => match check_archive_path(&extra) {
            Ok(()) => misplaced(entries, entries.len(), &extra),
            Err(error) => error,
        },
        Err(error) => error,
    };
    Err((entries.len(), after.into()))
}

fn read_entry<R: Blocks, S: Sink>(
    turns: &mut Turns<'_, R>,
    entries: &[Entry],
    at: usize,
    sink: &mut S,
    files: &S::Files,
    crew: &mut Crew<'_, S::Error>,
) -> Result<(), Failure<S::Error>> {
    let listed = &entries[at];
    let Some(found) = turns.next()? else {
        let path = listed.path.clone();
        return Err(VerifyError::Missing { path }.into());
    };
    check_header(&found, listed)
        .map_err(|e| e.unwrap_or_else(|| misplaced(entries, at, &found)))?;
    sink.entry(files, listed).map_err(Failure::Sink)?;
    if !matches!(listed.kind, EntryKind::File { .. }) {
        return Ok(());
    }
    crew.open(at);
    while let Some(piece) = turns.tar.take_piece(BATCH_BYTES)? {
        crew.data(piece);
        sink.progress(files).map_err(Failure::Sink)?;
        if crew.has_failed() {
            return Ok(());
        }
    }
    crew.close();
    Ok(())
}

/// The entries after manifest and signature: where there is no signature, the first was read already.
struct Turns<'a, R> {
    tar: &'a mut TarReader<R>,
    first: Option<TarEntry>,
    ended: bool,
}

impl<'a, R: BufRead> Turns<'a, R> {
    fn new(tar: &'a mut TarReader<R>, second: Second) -> Self {
        let ended = matches!(second, Second::None);
        let first = match second {
            Second::Other(entry) => Some(entry),
            Second::Signature | Second::None => None,
        };
        Self { tar, first, ended }
    }

    fn next(&mut self) -> Result<Option<TarEntry>, VerifyError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None if self.ended => Ok(None),
            None => self.tar.next(),
        }
    }
}

/// Proves an archive file and gives its manifest.
pub fn verify_archive(path: &Path, policy: &Policy) -> Result<Arc<SignedManifest>, VerifyError> {
    verify_stream(open(path)?, policy)
}

/// Proves an archive from any source and gives its manifest.
pub fn verify_stream(
    input: impl Read + Send + 'static,
    policy: &Policy,
) -> Result<Arc<SignedManifest>, VerifyError> {
    struct Nowhere;
    impl Sink for Nowhere {
        type Error = Infallible;
        type Files = Self;
        fn begin(&mut self, _: &Arc<SignedManifest>) -> Result<Self, Infallible> {
            Ok(Self)
        }
        fn entry(&mut self, _: &Self, _: &Entry) -> Result<(), Infallible> {
            Ok(())
        }
        fn progress(&mut self, _: &Self) -> Result<(), Infallible> {
            Ok(())
        }
    }
    impl Files for Nowhere {
        type Error = Infallible;
        type File = ();
        fn open(&self, _: &Entry) -> Result<(), Infallible> {
            Ok(())
        }
        fn data(&self, (): &mut (), _: &[u8]) -> Result<(), Infallible> {
            Ok(())
        }
        fn close(&self, (): (), _: &Entry) -> Result<(), Infallible> {
            Ok(())
        }
    }
    match verify(input, policy, &mut Nowhere) {
        Ok(signed) => Ok(signed),
        Err(Failure::Package(error)) => Err(error),
        Err(Failure::Sink(never)) => match never {},
    }
}

/// Reads an archive's manifest **without checking its signature**: for showing, never for acting.
pub fn read_unproven_manifest(path: &Path) -> Result<SignedManifest, VerifyError> {
    let inflated = Inflated::new(open(path)?).map_err(VerifyError::Read)?;
    let (manifest, _) = read_head(&mut TarReader::new(inflated))?.parse()?;
    Ok(manifest)
}

fn open(path: &Path) -> Result<File, VerifyError> {
    File::open(path).map_err(VerifyError::Read)
}
