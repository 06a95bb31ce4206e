//! Small state of the daemon's parts, by key.

use super::open::{DbError, NodeDb};

impl NodeDb {
    /// A value.
    pub fn get(&self, key: &str) -> Result<Option<String>, DbError> {
        self.look(|tables| tables.value(key))
    }

    /// Sets a value.
    pub fn put(&self, key: &str, value: &str) -> Result<(), DbError> {
        self.transact(|tables| tables.set_value(key, Some(value)))
    }

    /// Forgets a value.
    pub fn forget(&self, key: &str) -> Result<(), DbError> {
        self.transact(|tables| tables.set_value(key, None))
    }
}
