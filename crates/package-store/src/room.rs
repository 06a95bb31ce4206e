//! Room on the store's file system: what is free, less what must stay free and what is promised.

use crate::aside;
use crate::fsutil;
use crate::stage::{RESERVE_BYTES, StageLimits};
use crate::stage_error::StageError;
use crate::store::{Inner, Store, StoreError};

impl Store {
    /// Bytes free on the store's file system.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        let dir = self.dir();
        fsutil::free_bytes(dir).map_err(StoreError::io("examine", dir))
    }

    /// Bytes that a package may still take: those free or held by deleted packages, less the reserve and
    /// what packages on their way in have announced.
    pub fn room_bytes(&self) -> Result<u64, StoreError> {
        let free = self.free_bytes()?;
        let inner = &self.inner;
        Ok(free
            .saturating_add(aside::reapable_bytes(inner))
            .saturating_sub(RESERVE_BYTES)
            .saturating_sub(promised_bytes(inner)))
    }
}

/// Bytes that packages on their way in have announced and that have not come yet.
fn promised_bytes(inner: &Inner) -> u64 {
    let index = inner.index();
    let outstanding = index.staging.values().map(|it| it.outstanding_bytes());
    outstanding.fold(0, u64::saturating_add)
}

/// Whether all that is promised fits, the asking staging's own among it. Deleted packages give up their room
/// first.
pub(crate) fn check_space(inner: &Inner, limits: &StageLimits) -> Result<(), StageError> {
    let needed = limits.reserve_bytes.saturating_add(promised_bytes(inner));
    let mut free = free_bytes(inner)?;
    if free < needed {
        aside::reap(inner);
        free = free_bytes(inner)?;
    }
    if free < needed {
        return Err(no_space(inner, needed, free));
    }
    Ok(())
}

/// Whether the reserve is still free, while bytes come.
pub(crate) fn check_reserve(inner: &Inner, limits: &StageLimits) -> Result<(), StageError> {
    let free = free_bytes(inner)?;
    match free < limits.reserve_bytes {
        true => Err(no_space(inner, limits.reserve_bytes, free)),
        false => Ok(()),
    }
}

pub(crate) fn free_bytes(inner: &Inner) -> Result<u64, StageError> {
    let dir = inner.incoming_dir();
    fsutil::free_bytes(&dir).map_err(StageError::io("examine", &dir))
}

pub(crate) fn no_space(inner: &Inner, needed: u64, free: u64) -> StageError {
    StageError::NoSpace {
        dir: inner.incoming_dir(),
        needed,
        free,
    }
}
