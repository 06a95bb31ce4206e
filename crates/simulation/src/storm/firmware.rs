//! Firmware in a storm: brought in amid everything, and in the end on every device.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_model::{CatalogueEvent, Event, FirmwareKind};
use evenkeel_record::projections::firmware;
use tokio::time::{Instant, sleep, timeout};

use super::play::{OPERATOR, REST, Storm};
use crate::firmware::Edition;
use crate::settings::admin;

/// Longer than any of it takes, resets of ten minutes and all tries included.
const LONG: Duration = Duration::from_secs(12 * 3600);
/// How often a firmware update is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How often what was left is brought in again.
const AGAIN: usize = 4;

impl Storm<'_> {
    /// Nobody insists on an answer.
    pub(super) async fn bring_firmware(&mut self, node: usize, kind: FirmwareKind) {
        self.brought.insert(kind);
        let node = self.node(node).clone();
        let sent = self.cluster.upload_firmware(&node, kind, Edition::First);
        let _ = timeout(OPERATOR, sent).await;
    }

    /// Ends the firmware update that runs, and takes back those that wait.
    pub(super) async fn cancel_firmware(&self) {
        let view = self.cluster.view();
        let asked = view.catalogue().firmware.values();
        for entry in asked.filter(|entry| entry.asked.is_some()) {
            let digest = entry.firmware.digest;
            self.tell(async |door| door.withdraw_firmware(digest, admin()).await)
                .await;
        }
        let open = firmware(&view)
            .into_iter()
            .rev()
            .find(|row| !row.state.is_over());
        if let Some(job) = open.and_then(|row| row.job) {
            self.tell(async |door| door.cancel_firmware(job, admin()).await)
                .await;
        }
    }

    /// A node that finds a disk out of its group, and no order to go on with it, brings it back within two minutes.
    pub(super) async fn left_disks_come_back(&self) {
        if !self.brought.is_empty() {
            sleep(Duration::from_secs(120)).await;
        }
    }

    pub(super) async fn background_firmware(&self, on: bool) {
        self.tell(async |door| door.set_background_firmware(on, admin()).await)
            .await;
    }

    /// After the storm, and the update: what was asked for has begun, and what is brought in again reaches every device.
    pub(super) async fn calm_firmware(&self) -> Result<(), String> {
        if self.brought.is_empty() {
            return Ok(());
        }
        self.firmware_over().await?;
        while self.cluster.view().control().firmware_spares_only {
            self.background_firmware(true).await;
            sleep(LOOK).await;
        }
        for _ in 0..AGAIN {
            self.nothing_lost()?;
            let behind: Vec<FirmwareKind> = self.behind().into_keys().collect();
            if behind.is_empty() {
                return Ok(());
            }
            for kind in behind {
                let names = self.cluster.names();
                let sent = self
                    .cluster
                    .upload_firmware(&names[0], kind, Edition::First);
                let _ = timeout(OPERATOR, sent).await;
            }
            self.firmware_over().await?;
        }
        Err(format!("firmware does not reach {:?}", self.behind()))
    }

    /// Nothing waits, and whatever was asked for was begun, or withdrawn, or asked for once more before it began.
    fn nothing_lost(&self) -> Result<(), String> {
        let (mut asked, mut begun) = (BTreeSet::new(), BTreeSet::new());
        for entry in self.cluster.entries() {
            match Event::decode(entry.stream, &entry.body) {
                Ok(Event::Catalogue(CatalogueEvent::FirmwareAsked { digest, .. })) => {
                    asked.insert(digest);
                }
                Ok(Event::Catalogue(CatalogueEvent::FirmwareWithdrawn { digest, .. })) => {
                    asked.remove(&digest);
                }
                Ok(Event::Catalogue(CatalogueEvent::FirmwareBegun {
                    digest, operation, ..
                })) => {
                    asked.remove(&digest);
                    begun.insert(operation);
                }
                _ => {}
            }
        }
        let rows = firmware(&self.cluster.view());
        let told: BTreeSet<_> = rows.iter().map(|row| row.operation).collect();
        match asked.is_empty() && told == begun {
            true => Ok(()),
            false => Err(format!(
                "firmware updates were lost: {asked:?} wait; begun {begun:?}, told {told:?}"
            )),
        }
    }

    /// Devices that do not run what was brought in for them.
    fn behind(&self) -> BTreeMap<FirmwareKind, Vec<String>> {
        let mut behind = self.cluster.behind_firmware();
        behind.retain(|kind, _| self.brought.contains(kind));
        behind
    }

    /// Until no firmware update is open, and none will be before something else ends. What is lost on the way is given
    /// back.
    pub(super) async fn firmware_over(&self) -> Result<(), String> {
        if self.brought.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        loop {
            let view = self.cluster.view();
            let asked = view.catalogue().firmware.values();
            let waits = asked.filter(|entry| entry.asked.is_some()).count();
            let all_over = firmware(&view).iter().all(|row| row.state.is_over());
            if all_over && (waits == 0 || !view.control().open.is_empty()) {
                return Ok(());
            }
            if begun.elapsed() > LONG {
                return Err(format!("a firmware update does not end, and {waits} wait"));
            }
            sleep(LOOK).await;
            self.cluster.mend(REST).await.map_err(|stuck| stuck.0)?;
        }
    }
}
