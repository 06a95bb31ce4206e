//! What the rules of this database read and write, whatever keeps it: see [`super::rules`].

use evenkeel_firmware::DeviceStep;
use evenkeel_interconnect::ConsentRequest;
use evenkeel_model::{Generation, TaskKey, TaskOrder, TransitionId};
use evenkeel_platform::devices::DeviceId;

use super::{JournalEntry, Side};

/// One transaction.
pub(super) trait Tables {
    fn generation(&self) -> rusqlite::Result<Generation>;
    fn set_generation(&mut self, to: Generation) -> rusqlite::Result<()>;
    fn order(&self, key: TaskKey) -> rusqlite::Result<Option<JournalEntry>>;
    /// Orders that have not ended, oldest first.
    fn open(&self) -> rusqlite::Result<Vec<JournalEntry>>;
    /// Open orders and the newest `limit` ended ones, oldest first.
    fn recent(&self, limit: u32) -> rusqlite::Result<Vec<JournalEntry>>;
    /// Adds an order that nothing was done for.
    fn add(&mut self, order: &TaskOrder) -> rusqlite::Result<()>;
    /// Writes stage, count of resumptions and end of a journaled order.
    fn change(&mut self, entry: &JournalEntry) -> rusqlite::Result<()>;
    /// Promises in the order of their transitions' ids.
    fn consents(&self, side: Side) -> rusqlite::Result<Vec<ConsentRequest>>;
    /// Adds a promise, in place of one for the same takeover.
    fn put_consent(&mut self, side: Side, request: &ConsentRequest) -> rusqlite::Result<()>;
    fn drop_consent(&mut self, side: Side, transition: TransitionId) -> rusqlite::Result<()>;
    /// The newest steps of devices, in the order of the devices.
    fn device_steps(&self) -> rusqlite::Result<Vec<DeviceStep>>;
    /// Keeps a device's step in place of the one before.
    fn put_device_step(&mut self, step: &DeviceStep) -> rusqlite::Result<()>;
    fn drop_device_step(&mut self, device: &DeviceId) -> rusqlite::Result<()>;
    /// Small state, by key.
    fn value(&self, key: &str) -> rusqlite::Result<Option<String>>;
    fn set_value(&mut self, key: &str, value: Option<&str>) -> rusqlite::Result<()>;
}
