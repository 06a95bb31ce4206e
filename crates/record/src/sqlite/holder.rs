//! Who holds a file on a pair's shared pool.
//!
//! **What makes it safe is the HA engine's fencing**: the pool is mounted by one machine at a time, and a machine that does not let
//! go is dead before the other one mounts it. The row here is no lock. It says afterwards who had the file and whether it was
//! closed in good order; and where two machines do see the same file at once (a cluster filesystem, a mistake), whoever
//! opened it last wins, and the other one finds out before its next write.

use std::sync::Arc;

use evenkeel_model::{BootId, NodeName};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::lease::LeaseClock;

/// Something that lives until the last connection to the file is closed.
pub type Hold = Arc<dyn Send + Sync>;

/// Opens the file as one of the two nodes of a pair that share it.
#[derive(Clone)]
pub struct PoolHolder {
    /// This node.
    pub node: NodeName,
    /// Dropped when every connection is closed, and with it whatever would keep the pool from being unmounted.
    pub hold: Hold,
}

/// Who opened the file last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastHolder {
    /// The node.
    pub node: NodeName,
    /// The boot of its machine.
    pub boot: BootId,
    /// Whether it closed the file in good order: otherwise it, its machine or the pool died.
    pub released: bool,
}

/// The mark that one opening of the file leaves in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    node: NodeName,
    boot: BootId,
}

impl Mark {
    pub(super) fn new(node: NodeName, boot: BootId) -> Self {
        Self { node, boot }
    }

    /// Marks the file as this node's, and goes on measuring its leases. Says who had it before.
    pub(super) fn take(
        &self,
        connection: &mut Connection,
        leases: &LeaseClock,
    ) -> Result<Option<LastHolder>, rusqlite::Error> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = last_holder(&transaction)?;
        transaction.execute(
            "INSERT INTO holder (one, node, boot_id, released) VALUES (1, ?1, ?2, 0)
             ON CONFLICT (one) DO UPDATE SET
                node = excluded.node, boot_id = excluded.boot_id, released = 0",
            params![self.node.as_str(), self.boot.to_string()],
        )?;
        leases.adopt(&transaction)?;
        transaction.commit()?;
        Ok(before)
    }

    /// Notes that the file is closed in good order, if it still is this node's.
    pub(super) fn release(&self, connection: &mut Connection) -> Result<(), rusqlite::Error> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "UPDATE holder SET released = 1 WHERE node = ?1 AND boot_id = ?2",
            params![self.node.as_str(), self.boot.to_string()],
        )?;
        transaction.commit()
    }

    /// Whether the file still is this node's. If not: why nothing may be written.
    pub(super) fn check(&self, transaction: &Transaction<'_>) -> Result<(), String> {
        match last_holder(transaction).map_err(|error| error.to_string())? {
            Some(now) if now.node == self.node && now.boot == self.boot => Ok(()),
            Some(now) => Err(format!(
                "{} has opened the record's file after this node did (boot {}): nothing is written to it here",
                now.node, now.boot
            )),
            None => Err("somebody removed this node's mark from the record's file".to_owned()),
        }
    }
}

fn last_holder(connection: &Connection) -> Result<Option<LastHolder>, rusqlite::Error> {
    let mut select = connection.prepare_cached("SELECT node, boot_id, released FROM holder")?;
    select.query_row([], holder_of).optional()
}

fn holder_of(row: &Row<'_>) -> Result<LastHolder, rusqlite::Error> {
    let (node, boot): (String, String) = (row.get(0)?, row.get(1)?);
    Ok(LastHolder {
        node: NodeName::new(node).map_err(|error| super::tables::damaged(0, error))?,
        boot: boot
            .parse()
            .map_err(|error| super::tables::damaged(1, error))?,
        released: row.get(2)?,
    })
}
