//! What all backends do with values stored by digest.

use evenkeel_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::append::MAX_BLOB_BYTES;
use crate::record::PutBlobError;

/// The digest a value is stored by.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Refuses what would make a transaction long.
pub(crate) fn check_blob_size(bytes: &[u8]) -> Result<(), PutBlobError> {
    match bytes.len() {
        size if size > MAX_BLOB_BYTES => Err(PutBlobError::TooLarge {
            size,
            limit: MAX_BLOB_BYTES,
        }),
        _fits => Ok(()),
    }
}
