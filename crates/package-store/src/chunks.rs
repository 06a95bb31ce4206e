//! An archive in chunks, each with a digest of its own: for transfer, scrub and resume.

use evenkeel_model::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes of a chunk. The last one of an archive may be shorter.
pub const CHUNK_BYTES: u64 = 1 << 20;

/// Bytes of a digest in the list.
const DIGEST_BYTES: usize = 32;

/// The SHA-256 digests of an archive's chunks, in order. Their concatenation is what is stored and sent;
/// *its* SHA-256 is the archive's digest, so whoever knows that can check a list from anybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkList {
    bytes: Vec<u8>,
}

/// Why bytes are no chunk list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk list has {DIGEST_BYTES} bytes for each chunk, not {found} in all")]
pub struct ChunkListError {
    /// How many bytes there were.
    pub found: usize,
}

impl ChunkList {
    /// Reads a list as it is stored or sent. Says nothing about whose it is: compare [`digest`](Self::digest).
    pub fn parse(bytes: &[u8]) -> Result<Self, ChunkListError> {
        match bytes.len() % DIGEST_BYTES {
            0 => Ok(Self {
                bytes: bytes.to_vec(),
            }),
            _ => Err(ChunkListError { found: bytes.len() }),
        }
    }

    /// The whole digests at the front of what a power cut may have torn.
    pub(crate) fn parse_torn(mut bytes: Vec<u8>) -> Self {
        bytes.truncate(bytes.len() / DIGEST_BYTES * DIGEST_BYTES);
        Self { bytes }
    }

    /// The list as it is stored and sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The archive's digest.
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(&self.bytes).into())
    }

    /// The digest of one chunk.
    pub fn get(&self, index: usize) -> Option<Digest> {
        let at = index.checked_mul(DIGEST_BYTES)?;
        let bytes = self.bytes.get(at..at.checked_add(DIGEST_BYTES)?)?;
        Some(Digest(bytes.try_into().expect("a slice of that length")))
    }

    /// How many chunks there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / DIGEST_BYTES
    }

    /// Whether it is the list of an empty archive.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether it can be the list of an archive of that size.
    pub fn fits(&self, archive_bytes: u64) -> bool {
        self.len() as u64 == archive_bytes.div_ceil(CHUNK_BYTES)
    }

    pub(crate) fn push(&mut self, digest: Digest) {
        self.bytes.extend_from_slice(&digest.0);
    }
}

/// The digest of one chunk's bytes.
pub fn chunk_digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_and_knows_its_chunks() {
        let mut list = ChunkList::default();
        let digests = [chunk_digest(b"a"), chunk_digest(b"b"), chunk_digest(b"c")];
        digests.iter().for_each(|digest| list.push(*digest));
        let again = ChunkList::parse(list.as_bytes()).unwrap();
        assert_eq!(again, list);
        assert_eq!((again.len(), again.is_empty()), (3, false));
        assert_eq!(again.get(2), Some(digests[2]));
        assert_eq!((again.get(3), again.get(usize::MAX)), (None, None));
        assert_eq!(again.digest(), chunk_digest(again.as_bytes()));
        assert!(again.fits(3 * CHUNK_BYTES) && again.fits(2 * CHUNK_BYTES + 1));
        assert!(!again.fits(2 * CHUNK_BYTES) && !again.fits(3 * CHUNK_BYTES + 1));
    }

    #[test]
    fn what_is_not_whole_digests_is_no_list() {
        assert_eq!(
            ChunkList::parse(&[0; 33]),
            Err(ChunkListError { found: 33 })
        );
        assert_eq!(ChunkList::parse_torn(vec![0; 65]).len(), 2);
    }
}
