//! Drives that leave their group for a while, and come back.
//!
//! By `mdadm` the order is: a note on disk, then `--fail`, then `--remove`; back by `--re-add`, then the note goes. Wherever this stops,
//! a repeat goes on from what the array says: a note of a drive that is in its array means that nothing was done yet, or all; a note of
//! one that is failed or absent means that it is out on our account. Nothing but the array's own map of what was missed (its bitmap)
//! makes coming back short, so without one no drive leaves.

use std::path::Path;
use std::time::Duration;

use evenkeel_model::{DiskSerial, PoolHealth};

use super::Hardware;
use super::groups::{MDADM, Made, Part, Seat, Seen, WITHIN, partition, uuid};
use super::notes::Note;
use crate::Call;
use crate::block;
use crate::inventory::disks::Disk;
use crate::inventory::md::Array;
use crate::look::{Answer, blocking, output, refused, unavailable};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::OfflineRequest;

/// An array that was told to fail a member lets go of it when its requests have ended.
const REMOVE_TRIES: u32 = 10;
const REMOVE_PAUSE: Duration = Duration::from_millis(300);
const ZFS: &str = "zfsutils-linux";
/// Levels that bear the loss of a member.
const REDUNDANT: [&str; 5] = ["raid1", "raid10", "raid4", "raid5", "raid6"];

impl Hardware {
    pub(super) async fn leave(&self, request: &OfflineRequest) -> Answer<()> {
        let (group, seat) = self.seat(request).await?;
        match (&group.made, seat.part) {
            (_, Part::Failed) => Err(refused(format!("disk {} has failed", request.drive))),
            (_, Part::Standby) => Err(refused(format!(
                "disk {} stands by for {}, and is in no group",
                request.drive, request.group
            ))),
            (Made::Zfs { .. }, Part::Out) => Ok(()),
            (Made::Zfs { pool }, Part::In) => {
                is_whole(&group)?;
                let note = Note {
                    group: request.group.clone(),
                    array: pool.clone(),
                    partition: None,
                    mapped: None,
                };
                self.notes.write(&request.drive, &note)?;
                let args = ["offline", "-t", pool.as_str(), seat.device.as_str()];
                let call = Call::new("zpool", args, WITHIN);
                output(&self.host, &call, ZFS).await?;
                self.verify(request, Part::Out).await
            }
            // Forgotten by its array: it is out.
            (Made::Array(_), Part::Out) if seat.device.is_empty() => Ok(()),
            (Made::Array(array), Part::Out) => {
                self.remove(array, &seat.device).await?;
                self.verify(request, Part::Out).await
            }
            (Made::Array(array), Part::In) => {
                bears(array, &group)?;
                self.note(request, array, &seat).await?;
                self.mdadm(array, "--fail", &seat.device).await?;
                self.remove(array, &seat.device).await?;
                self.verify(request, Part::Out).await
            }
        }
    }

    pub(super) async fn come_back(&self, request: &OfflineRequest) -> Answer<()> {
        let (group, seat) = self.seat(request).await?;
        match (&group.made, seat.part) {
            (_, Part::In) => self.notes.remove(&request.drive),
            (_, Part::Standby) => Err(refused(format!(
                "disk {} stands by, and was not out",
                request.drive
            ))),
            (_, Part::Failed) => Err(refused(format!(
                "disk {} has failed in {}, or was taken out of it by somebody else: replace it, or bring it back by hand",
                request.drive, request.group
            ))),
            (Made::Zfs { pool }, Part::Out) => {
                self.answers(&request.drive).await?;
                let args = ["online", pool.as_str(), seat.device.as_str()];
                let call = Call::new("zpool", args, WITHIN);
                output(&self.host, &call, ZFS).await?;
                self.verify(request, Part::In).await?;
                self.notes.remove(&request.drive)
            }
            (Made::Array(array), Part::Out) => {
                let disk = self.answers(&request.drive).await?;
                self.re_add(request, array, &seat, &disk).await
            }
        }
    }

    /// The group and the place in it that a request means, as they are now.
    async fn seat(&self, request: &OfflineRequest) -> Answer<(Seen, Seat)> {
        let OfflineRequest { drive, group } = request;
        let groups = self.seen_groups().await?;
        let seats = groups.iter().flat_map(|group| &group.seats);
        if seats.filter(|seat| seat.drive == *drive).count() > 1 {
            return Err(refused(format!(
                "disk {drive} is in several groups, by its partitions: it cannot leave one of them alone"
            )));
        }
        let found = groups.into_iter().find(|seen| seen.id == *group);
        let Some(seen) = found else {
            return Err(refused(format!("this node does not serve {group}")));
        };
        let seat = seen.seats.iter().find(|seat| seat.drive == *drive).cloned();
        match seat {
            Some(seat) => Ok((seen, seat)),
            None => Err(refused(format!("disk {drive} is not in {group}"))),
        }
    }

    /// What was done is looked at, not believed.
    async fn verify(&self, request: &OfflineRequest, wanted: Part) -> Answer<()> {
        let (_, seat) = self.seat(request).await?;
        match seat.part == wanted {
            true => Ok(()),
            false => Err(unavailable(format!(
                "disk {} in {} is {:?} after it was to be {wanted:?}",
                request.drive, request.group, seat.part
            ))),
        }
    }

    /// A drive that has a path that works.
    async fn answers(&self, drive: &DiskSerial) -> Answer<Disk> {
        let disk = self.disk(drive).await?;
        match disk.way() {
            Some(_) => Ok(disk),
            None => Err(unavailable(format!("disk {drive} has no path that works"))),
        }
    }

    async fn note(&self, request: &OfflineRequest, array: &Array, seat: &Seat) -> Answer<()> {
        let uuid = self.uuid("--detail", &array.name).await?;
        let device = seat.device.clone();
        let about = blocking(&self.host, "the member", move |host| {
            let mapped = host.read_if_any(block::folder(&device).join("dm/name"))?;
            Ok((partition(host, &device)?, mapped))
        });
        let (partition, mapped) = about.await?;
        let note = Note {
            group: request.group.clone(),
            array: uuid,
            partition,
            mapped,
        };
        self.notes.write(&request.drive, &note)
    }

    /// The id of an array, which must have one.
    async fn uuid(&self, question: &str, device: &str) -> Answer<String> {
        let uuid = uuid(&self.host, question, device).await?;
        uuid.ok_or_else(|| {
            unavailable(format!("{MDADM} {question} /dev/{device} names no MD_UUID"))
        })
    }

    async fn mdadm(&self, array: &Array, what: &str, device: &str) -> Answer<()> {
        let (array, device) = (format!("/dev/{}", array.name), format!("/dev/{device}"));
        let call = Call::new(MDADM, [array.as_str(), what, device.as_str()], WITHIN);
        output(&self.host, &call, MDADM).await.map(drop)
    }

    async fn remove(&self, array: &Array, device: &str) -> Answer<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.mdadm(array, "--remove", device).await {
                Ok(()) => return Ok(()),
                Err(error) if tries >= REMOVE_TRIES => return Err(error),
                Err(_) => tokio::time::sleep(REMOVE_PAUSE).await,
            }
        }
    }

    async fn re_add(
        &self,
        request: &OfflineRequest,
        array: &Array,
        seat: &Seat,
        disk: &Disk,
    ) -> Answer<()> {
        let note = self.notes.read(&request.drive)?;
        let note = note.ok_or_else(|| {
            refused(format!(
                "disk {} was not taken out by Evenkeel",
                request.drive
            ))
        })?;
        if !seat.device.is_empty() {
            self.remove(array, &seat.device).await?;
        }
        let device = self.member(&note, disk).await?;
        let uuid = self.uuid("--detail", &array.name).await?;
        let carried = self.uuid("--examine", &device).await?;
        if uuid != note.array || carried != note.array {
            return Err(refused(format!(
                "/dev/{device} carries the array {carried}, {} is the array {uuid}, and the disk was taken out of {}",
                array.name, note.array
            )));
        }
        let added = self.mdadm(array, "--re-add", &device).await;
        if let Err(error) = added {
            // udev may have been faster: what the array says counts.
            return match self.verify(request, Part::In).await {
                Ok(()) => self.notes.remove(&request.drive),
                Err(_) => Err(unavailable(format!(
                    "{error}. If it stays so, `mdadm /dev/{} --add /dev/{device}` rebuilds the disk wholly",
                    array.name
                ))),
            };
        }
        self.verify(request, Part::In).await?;
        self.notes.remove(&request.drive)
    }

    /// The device that was the member, by the name that it has now.
    async fn member(&self, note: &Note, disk: &Disk) -> Answer<String> {
        let (note, disk) = (note.clone(), disk.clone());
        blocking(&self.host, "the member", move |host| {
            if let Some(mapped) = &note.mapped {
                let path = Path::new("/dev/mapper").join(mapped);
                return block::must_resolve(host, &path.to_string_lossy());
            }
            for name in block::names(host)? {
                let own = disk.blocks.contains(&block::whole(host, &name)?);
                if own && partition(host, &name)? == note.partition {
                    return Ok(name);
                }
            }
            Err(unavailable(format!(
                "partition {:?} of disk {} is not seen",
                note.partition, disk.serial
            )))
        })
        .await
    }
}

/// Whether an array may be without one of its members for a while. The caller has looked at the group; a tool that does as it is told
/// is not asked to break one.
fn bears(array: &Array, group: &Seen) -> Answer<()> {
    let why = if !REDUNDANT.contains(&array.level.as_str()) {
        format!("it is a {}, which bears no loss", array.level)
    } else if !array.bitmap {
        format!(
            "it keeps no map of what a member misses: `mdadm --grow /dev/{} --bitmap=internal`",
            array.name
        )
    } else {
        return is_whole(group);
    };
    Err(cannot_spare(group, &why))
}

fn is_whole(group: &Seen) -> Answer<()> {
    match group.health {
        PoolHealth::Online => Ok(()),
        PoolHealth::Resyncing => Err(cannot_spare(group, "a drive of it is catching up")),
        PoolHealth::Degraded => Err(cannot_spare(group, "it is degraded")),
        PoolHealth::Offline => Err(cannot_spare(group, "it is offline")),
    }
}

fn cannot_spare(group: &Seen, why: &str) -> PlatformError {
    refused(format!("{} cannot spare a drive: {why}", group.id))
}
