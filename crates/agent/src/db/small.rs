//! Small state of the daemon's parts, by key.

use rusqlite::{OptionalExtension, params};

use super::open::{DbError, NodeDb};

impl NodeDb {
    /// A value.
    pub fn get(&self, key: &str) -> Result<Option<String>, DbError> {
        let sql = "SELECT value FROM small WHERE key = ?1";
        Ok(self
            .lock()
            .query_row(sql, [key], |row| row.get(0))
            .optional()?)
    }

    /// Sets a value.
    pub fn put(&self, key: &str, value: &str) -> Result<(), DbError> {
        self.write(|transaction| {
            let sql = "INSERT OR REPLACE INTO small (key, value) VALUES (?1, ?2)";
            transaction.execute(sql, params![key, value]).map(drop)
        })
    }

    /// Forgets a value.
    pub fn forget(&self, key: &str) -> Result<(), DbError> {
        self.write(|t| {
            t.execute("DELETE FROM small WHERE key = ?1", [key])
                .map(drop)
        })
    }
}
