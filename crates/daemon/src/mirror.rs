//! The mirror of the record in the node's own database.

use async_trait::async_trait;
use evenkeel_agent::{DbError, MirrorRow, NodeDb};
use evenkeel_record::{Entry, Mirror, MirrorError};

/// Entries as rows of `node.db`.
pub(crate) struct DbMirror(pub(crate) NodeDb);

impl DbMirror {
    /// Off the runtime's threads: a commit waits for an fsync.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&NodeDb) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, MirrorError> {
        let db = self.0.clone();
        match tokio::task::spawn_blocking(move || work(&db)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(MirrorError {
                why: error.to_string(),
            }),
            Err(error) => Err(MirrorError {
                why: error.to_string(),
            }),
        }
    }
}

#[async_trait]
impl Mirror for DbMirror {
    async fn load(&self) -> Result<Vec<Entry>, MirrorError> {
        let rows = self.with(NodeDb::mirror_load).await?;
        Ok(rows.into_iter().map(entry).collect())
    }

    async fn store(&self, entries: &[Entry]) -> Result<(), MirrorError> {
        let rows: Vec<MirrorRow> = entries.iter().cloned().map(row).collect();
        self.with(move |db| db.mirror_store(&rows)).await
    }

    async fn clear(&self) -> Result<(), MirrorError> {
        self.with(NodeDb::mirror_clear).await
    }
}

fn entry(row: MirrorRow) -> Entry {
    let MirrorRow {
        position,
        stream,
        seq,
        id,
        body,
    } = row;
    Entry {
        position,
        stream,
        seq,
        id,
        body,
    }
}

fn row(entry: Entry) -> MirrorRow {
    let Entry {
        position,
        stream,
        seq,
        id,
        body,
    } = entry;
    MirrorRow {
        position,
        stream,
        seq,
        id,
        body,
    }
}
