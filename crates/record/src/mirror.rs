//! A node's own copy of the record: disposable, and enough to answer when the record cannot.

use async_trait::async_trait;

use crate::append::Entry;

/// The mirror could not be read or written. Never fatal: it only answers when the record cannot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the mirror of the record failed: {why}")]
pub struct MirrorError {
    /// What went wrong, for people.
    pub why: String,
}

/// Keeps entries on the node.
#[async_trait]
pub trait Mirror: Send + Sync + 'static {
    /// All entries in the order of their positions.
    async fn load(&self) -> Result<Vec<Entry>, MirrorError>;
    /// Keeps further entries; all or none of them. One that is there already stays as it is.
    async fn store(&self, entries: &[Entry]) -> Result<(), MirrorError>;
    /// Forgets everything: it was not what the record says.
    async fn clear(&self) -> Result<(), MirrorError>;
}

/// Keeps nothing: the node answers only after it has reached the record once.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMirror;

#[async_trait]
impl Mirror for NoMirror {
    async fn load(&self) -> Result<Vec<Entry>, MirrorError> {
        Ok(Vec::new())
    }

    async fn store(&self, _entries: &[Entry]) -> Result<(), MirrorError> {
        Ok(())
    }

    async fn clear(&self) -> Result<(), MirrorError> {
        Ok(())
    }
}
