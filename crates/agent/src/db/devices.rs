//! The memory of the work on devices' firmware.

use async_trait::async_trait;
use evenkeel_firmware::{DeviceStep, JournalError, NodeJournal};
use evenkeel_platform::devices::DeviceId;

use super::open::{DbError, NodeDb};

impl NodeDb {
    /// The newest steps of devices, in the order of the devices.
    pub fn device_steps(&self) -> Result<Vec<DeviceStep>, DbError> {
        self.look(|tables| tables.device_steps())
    }

    /// Keeps a device's step in place of the one before, whatever that was for.
    pub fn put_device_step(&self, step: &DeviceStep) -> Result<(), DbError> {
        self.transact(|tables| tables.put_device_step(step))
    }

    /// Forgets a device.
    pub fn drop_device_step(&self, device: &DeviceId) -> Result<(), DbError> {
        self.transact(|tables| tables.drop_device_step(device))
    }
}

#[async_trait]
impl NodeJournal for NodeDb {
    async fn record(&self, step: &DeviceStep) -> Result<(), JournalError> {
        self.put_device_step(step).map_err(failed)
    }

    async fn last(&self, device: &DeviceId) -> Result<Option<DeviceStep>, JournalError> {
        let steps = self.device_steps().map_err(failed)?;
        let mut steps = steps.into_iter();
        Ok(steps.find(|known| known.step.device == *device))
    }

    async fn all(&self) -> Result<Vec<DeviceStep>, JournalError> {
        self.device_steps().map_err(failed)
    }

    async fn forget(&self, device: &DeviceId) -> Result<(), JournalError> {
        self.drop_device_step(device).map_err(failed)
    }
}

fn failed(error: DbError) -> JournalError {
    JournalError(error.to_string())
}

#[cfg(test)]
mod tests {
    use evenkeel_firmware::{Phase, Step, WorkId};
    use evenkeel_model::{Digest, OperationId};

    use super::*;

    fn step(disk: &str, package: u8, phase: Phase) -> DeviceStep {
        DeviceStep {
            work: WorkId {
                operation: OperationId(uuid::Uuid::from_u128(1)),
                package: Digest([package; 32]),
            },
            step: Step {
                device: DeviceId::Drive(disk.parse().unwrap()),
                phase,
                attempt: 1,
            },
        }
    }

    #[tokio::test]
    async fn the_newest_step_of_each_device_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.db");
        let db = NodeDb::open(&path).unwrap();
        db.record(&step("D1", 1, Phase::Offline)).await.unwrap();
        db.record(&step("D2", 1, Phase::Done)).await.unwrap();
        db.record(&step("D1", 2, Phase::Writing)).await.unwrap();
        drop(db);
        let db = NodeDb::open(&path).unwrap();
        let newest = step("D1", 2, Phase::Writing);
        let device = newest.step.device.clone();
        assert_eq!(db.last(&device).await.unwrap(), Some(newest.clone()));
        let all = db.all().await.unwrap();
        assert_eq!(all, [newest, step("D2", 1, Phase::Done)]);
        NodeJournal::forget(&db, &device).await.unwrap();
        assert_eq!(db.last(&device).await.unwrap(), None);
    }
}
