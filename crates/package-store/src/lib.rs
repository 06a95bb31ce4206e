//! Packages: built, taken in while they are verified, kept, served, extracted into a slot, deleted.
//!
//! Entry points: [`build()`] makes a package; [`Store`] keeps a node's packages ([`Store::begin`] takes one in,
//! [`Store::extract`] installs one); [`verify_archive`] and [`extract_archive`] do the same for a file.
//!
//! Invariants: no word of a manifest is believed before its signature is proven; nothing unproven ever counts
//! as stored or installed; "done" means durable; whatever fails or is killed leaves nothing that
//! looks whole; memory does not grow with the package. The format is `docs/package-format.md`.

mod build;
mod extract;
mod flush;
mod fsutil;
mod gzip;
mod gzip_write;
mod keys;
mod slot;
mod stage;
mod store;
mod tar;
mod tar_write;
mod verify;

pub use build::{BuildError, BuildOptions, Built, build};
pub use extract::{ExtractError, ExtractProgress, ExtractRequest, extract_archive};
pub use keys::{KeyError, KeyId, PublicKey, SecretKey, Signature, SignatureError, TrustedKeys};
pub use slot::{SlotError, read_slot_manifest};
pub use stage::{StageError, StageLimits, StageProgress, Staging};
pub use store::{Archive, Deleted, Store, StoreError, StoredPackage};
pub use verify::{
    Policy, SignedManifest, Target, VerifyError, read_unproven_manifest, verify_archive,
    verify_stream,
};
