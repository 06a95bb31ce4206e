//! Packages that come to a node from outside, as an upload or a download brings them.

use std::time::Duration;

use evenkeel_model::{
    Digest, FirmwareKind, FirmwareRef, GetSource, JobId, NodeName, PackageRef, Refusal, code,
};
use evenkeel_orchestrator::{FrontDoor, Unpacked};
use tokio::sync::oneshot;
use tokio::time::sleep;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::daemon;
use crate::firmware::{Edition, firmware};
use crate::settings::{admin, package};
use crate::shelf::Shelf;

/// How long a package takes to come in.
const TRANSFER: Duration = Duration::from_secs(1);

/// A package on its way to a node.
struct Incoming {
    package: Package,
    source: GetSource,
    /// The call that brings it.
    description: &'static str,
    /// What is remarkable about how it came.
    remark: Option<String>,
}

/// What comes in.
enum Package {
    Software(PackageRef),
    Firmware(FirmwareRef),
}

impl Package {
    fn digest(&self) -> Digest {
        match self {
            Self::Software(package) => package.digest,
            Self::Firmware(firmware) => firmware.digest,
        }
    }
}

impl Cluster {
    /// Sends a node the firmware package of a kind, as [`upload`](Self::upload) does a software package.
    pub async fn upload_firmware(
        &self,
        node: &NodeName,
        kind: FirmwareKind,
        edition: Edition,
    ) -> Option<Result<JobId, Refusal>> {
        let incoming = Incoming {
            package: Package::Firmware(firmware(kind, edition)),
            source: GetSource::Upload,
            description: "POST /api/cluster/software/upload",
            remark: None,
        };
        self.receive(node, incoming).await
    }

    /// Sends a node a package: it takes it in for a second, then names it in the catalogue. Nothing comes
    /// back when the node's daemon dies meanwhile.
    pub async fn upload(&self, node: &NodeName, version: &str) -> Option<Result<JobId, Refusal>> {
        let incoming = Incoming {
            package: Package::Software(package(version)),
            source: GetSource::Upload,
            description: "POST /api/cluster/software/upload",
            remark: None,
        };
        self.receive(node, incoming).await
    }

    /// Has a node fetch a package; the same in all else. Of the address the record keeps what is no secret.
    pub async fn download(
        &self,
        node: &NodeName,
        version: &str,
        url: &str,
    ) -> Option<Result<JobId, Refusal>> {
        let incoming = Incoming {
            package: Package::Software(package(version)),
            source: GetSource::download(url, false),
            description: "POST /api/cluster/software/download",
            remark: Some("started over, since the file changed at its source".to_owned()),
        };
        self.receive(node, incoming).await
    }

    /// The coordinator takes firmware of that kind out of the package that the cluster was updated to.
    pub async fn unpack_firmware(
        &self,
        version: &str,
        kind: FirmwareKind,
    ) -> Option<Result<(), Refusal>> {
        let node = self.coordinator()?;
        let (door, shelf) = {
            let nodes = self.world.nodes();
            let node = nodes.get(&node)?;
            (node.daemon.as_ref()?.door.clone(), node.shelf.clone())
        };
        let firmware = firmware(kind, Edition::First);
        shelf.put(firmware.digest);
        let unpacked = Unpacked {
            taken: vec![(format!("{}.zip", firmware.summary.name), firmware)],
            refused: vec!["firmware/other.zip: it is not signed".to_owned()],
        };
        Some(
            door.firmware_unpacked(package(version).digest, &unpacked)
                .await,
        )
    }

    /// What a daemon does with what comes in ends with the daemon.
    async fn receive(&self, node: &NodeName, incoming: Incoming) -> Option<Result<JobId, Refusal>> {
        let receiver = {
            let mut nodes = self.world.nodes();
            let shelf = nodes[node].shelf.clone();
            let daemon = nodes.get_mut(node)?.daemon.as_mut()?;
            let (answer, receiver) = oneshot::channel();
            let (door, incarnation) = (daemon.door.clone(), daemon.incarnation);
            let node = node.clone();
            daemon.tasks.spawn(async move {
                let taken = take_in(&door, node, incarnation, &shelf, incoming).await;
                let _unheard = answer.send(taken);
            });
            receiver
        };
        receiver.await.ok()
    }
}

async fn take_in(
    door: &FrontDoor,
    node: NodeName,
    incarnation: Uuid,
    shelf: &Shelf,
    incoming: Incoming,
) -> Result<JobId, Refusal> {
    let Incoming {
        package,
        source,
        description,
        remark,
    } = incoming;
    let begun = door.begin_get(node.clone(), incarnation, source, admin(), description);
    let taken = match begun.await {
        Ok(ticket) => {
            sleep(TRANSFER).await;
            match shelf.is_full() {
                true => {
                    let no_room = no_room(&node);
                    let failed = door.fail_get(ticket, &no_room).await;
                    failed.and(Err(no_room))
                }
                false => {
                    shelf.put(package.digest());
                    match package {
                        Package::Software(package) => door.staged(ticket, package, remark).await,
                        Package::Firmware(firmware) => {
                            let file = format!("{}.zip", firmware.summary.name);
                            door.firmware_staged(ticket, firmware, file).await
                        }
                    }
                }
            }
        }
        Err(refusal) => Err(refusal),
    };
    if taken.is_err() {
        // It may have begun, or be staged, all the same: what nobody receives is ended.
        daemon::end_stale_gets(door.clone(), node, Uuid::nil()).await;
    }
    taken
}

fn no_room(node: &NodeName) -> Refusal {
    let text = format!("Node \"{node}\" has no room for the package.");
    Refusal::new(code::NO_SPACE, text)
}
