//! Packages: built, taken in while they are verified, kept, served, extracted into a slot, deleted.
//!
//! Entry points: [`build()`] makes a package; [`Store`] keeps a node's packages ([`Store::begin`] takes one in,
//! [`Store::extract`] installs one); [`verify_archive`] and [`extract_archive`] do the same for a file. For
//! firmware: [`build_firmware`], [`Store::begin_firmware`], [`Store::open_image`], [`verify_firmware`];
//! [`recognise`] tells the two apart.
//!
//! Invariants: no word of a manifest is believed before its signature is proven; nothing unproven ever counts
//! as stored or installed; "done" means durable; whatever fails or is killed leaves nothing that
//! looks whole; memory does not grow with the package. The formats are `docs/package-format.md` and `docs/firmware.md`.

mod archive;
mod aside;
mod buffers;
mod build;
mod build_error;
mod chunks;
mod commit;
mod crew;
mod extract;
mod firmware;
mod flush;
mod follow;
mod fsutil;
mod fuzzing;
mod gzip;
#[cfg(test)]
mod gzip_tests;
mod gzip_write;
mod head;
mod keys;
mod listed;
mod members;
mod open;
mod pack;
mod partial;
mod piece;
mod receive;
mod remove;
mod replaced;
mod restore;
mod room;
mod scrub;
mod signature;
mod slot;
mod stage;
mod stage_error;
mod step;
mod store;
mod tar;
mod tar_write;
mod underway;
mod unpack;
mod verify;
mod verify_error;
mod walk;
mod zip;

pub use build::{BuildOptions, Built, Owners, Recorded, build};
pub use build_error::BuildError;
pub use chunks::{CHUNK_BYTES, ChunkList, ChunkListError, chunk_digest};
pub use extract::{ExtractError, ExtractProgress, ExtractRequest, extract_archive};
pub use firmware::{
    BuiltFirmware, FRONT_BYTES, FirmwareBuild, FirmwareBuildError, FirmwareError,
    FirmwareStageError, FirmwareStaging, ImageError, OpenImage, Recognised, SignedFirmware,
    StoredFirmware, TakenIn, build_firmware, read_unproven_firmware, recognise, verify_firmware,
};
pub use follow::ArchiveReader;
#[doc(hidden)]
pub use fuzzing::inflate_all;
pub use gzip_write::Compression;
pub use head::{Policy, SignedManifest, Target};
pub use keys::{KeyError, KeyId, PublicKey, SecretKey};
pub use partial::Partial;
pub use remove::{DamagedPackage, Deleted, Quarantined};
pub use scrub::{CopyId, ScrubOutcome};
pub use signature::{Signature, SignatureError, TrustedKeys};
pub use slot::{SlotError, read_slot_manifest};
pub use stage::{StageLimits, StageProgress, Staging};
pub use stage_error::StageError;
#[doc(hidden)]
pub use step::{StepHook, hook_steps};
pub use store::{Archive, Store, StoreError, StoredPackage};
pub use unpack::UnpackError;
pub use verify::{read_unproven_manifest, verify_archive, verify_stream};
pub use verify_error::VerifyError;
pub use zip::{ZipEntry, ZipError, ZipKindProblem, ZipLimits, ZipReader};
