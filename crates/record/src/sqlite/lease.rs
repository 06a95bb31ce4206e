//! Leases, measured by the machine's own clock so that a jump of the wall clock means nothing.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{BootId, NodeName};
use evenkeel_seam::Clock;
use rusqlite::{
    Connection, OptionalExtension, Transaction, TransactionBehavior, params, types::Type,
};

use super::tables::signed;
use crate::record::LeaseState;

/// What leases are measured by: milliseconds since the machine's boot.
#[derive(Clone)]
pub(super) struct LeaseClock {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) machine_boot: BootId,
}

impl LeaseClock {
    pub(super) fn take(
        &self,
        connection: &mut Connection,
        name: &str,
        holder: &NodeName,
        ttl: Duration,
    ) -> Result<LeaseState, rusqlite::Error> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read after the lock is had: the wait for it may have been long.
        let now = self.clock.monotonic().since_boot_ms;
        if let Some(state) = self.held(&transaction, name, now)?
            && state.holder != *holder
        {
            return Ok(state);
        }
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let (boot, expires) = (
            self.machine_boot.to_string(),
            signed(now.saturating_add(ttl_ms)),
        );
        transaction.execute(
            "INSERT INTO lease (name, holder, boot_id, expires_ms, ttl_ms) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (name) DO UPDATE SET
                holder = excluded.holder, boot_id = excluded.boot_id,
                expires_ms = excluded.expires_ms, ttl_ms = excluded.ttl_ms",
            params![name, holder.as_str(), boot, expires, signed(ttl_ms)],
        )?;
        transaction.commit()?;
        Ok(LeaseState {
            holder: holder.clone(),
            remaining: ttl,
        })
    }

    pub(super) fn release(
        &self,
        connection: &mut Connection,
        name: &str,
        holder: &NodeName,
    ) -> Result<(), rusqlite::Error> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "DELETE FROM lease WHERE name = ?1 AND holder = ?2",
            params![name, holder.as_str()],
        )?;
        transaction.commit()
    }

    /// Goes on measuring the leases that another machine measured, or an earlier boot of this one. How long they still
    /// were is not known, since the clocks have nothing in common, and on a pair's pool their holders may be alive. So each
    /// is trusted once more for as long as it was asked for, from now on, and no longer.
    pub(super) fn adopt(&self, transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
        let now = signed(self.clock.monotonic().since_boot_ms);
        transaction.execute(
            "UPDATE lease SET boot_id = ?1, expires_ms = ?2 + ttl_ms WHERE boot_id <> ?1",
            params![self.machine_boot.to_string(), now],
        )?;
        Ok(())
    }

    /// The holder, unless the lease expired or is of an earlier boot, when no holder can be alive.
    fn held(
        &self,
        connection: &Connection,
        name: &str,
        now: u64,
    ) -> Result<Option<LeaseState>, rusqlite::Error> {
        let mut select = connection.prepare_cached(
            "SELECT holder, expires_ms FROM lease WHERE name = ?1 AND boot_id = ?2 AND expires_ms > ?3",
        )?;
        let bound = params![name, self.machine_boot.to_string(), signed(now)];
        let found = select
            .query_row(bound, |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?;
        let Some((holder, expires)) = found else {
            return Ok(None);
        };
        let holder = NodeName::new(holder).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
        })?;
        let remaining = Duration::from_millis(expires.unsigned_abs().saturating_sub(now));
        Ok(Some(LeaseState { holder, remaining }))
    }
}
