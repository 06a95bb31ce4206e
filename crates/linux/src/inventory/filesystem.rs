//! Filesystems: mounted, writable, without errors, and who says so.

use std::path::{Path, PathBuf};

use evenkeel_model::PoolHealth;
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use crate::Host;
use crate::block;
use crate::look::{Answer, blocking, entries, number, number_if_any, unavailable};
use crate::mounts::{Mount, Mounts};

/// A filesystem that is mounted where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// What it stands on.
    pub(crate) on: On,
    /// What the filesystem says of itself.
    pub(crate) health: PoolHealth,
}

/// What a filesystem stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// Block devices, by the kernel's names: one, or all that a btrfs is made of.
    Devices(Vec<String>),
    /// A ZFS pool.
    Zpool(String),
}

/// The filesystem of a device on a folder; none if nothing is mounted there.
///
/// # Errors
/// Also when something else is mounted there, or what is on no device that is seen here: then nobody knows how the pool is.
pub(crate) async fn mounted(host: &Host, device: &str, folder: &Path) -> Answer<Option<Mounted>> {
    let (device, folder) = (device.to_owned(), folder.to_owned());
    let what = format!("the filesystem on {}", folder.display());
    blocking(host, &what, move |host| look(host, &device, &folder)).await
}

fn look(host: &Host, device: &str, folder: &Path) -> Answer<Option<Mounted>> {
    let Some(mount) = mount_on(host, folder)? else {
        return Ok(None);
    };
    let (wanted, found) = (
        block::resolve(host, device)?,
        block::resolve(host, &mount.source)?,
    );
    if mount.source != device && (wanted.is_none() || wanted != found) {
        let (source, folder) = (&mount.source, folder.display());
        return Err(unavailable(match wanted {
            Some(_) => format!("{source} is mounted on {folder}, not {device}"),
            None => format!("{source} is mounted on {folder}, and {device} is not seen here"),
        }));
    }
    let health = health(host, &mount, found.as_deref())?;
    let on = match (found, mount.zpool()) {
        (Some(name), _) => On::Devices(devices(host, &mount, name)?),
        (None, Some(pool)) => On::Zpool(pool.to_owned()),
        (None, None) => {
            let (kind, source) = (&mount.kind, &mount.source);
            return Err(unavailable(format!(
                "{source} is mounted as {kind}, on no block device: how its storage is cannot be seen here"
            )));
        }
    };
    Ok(Some(Mounted { on, health }))
}

/// What is mounted on a folder, whatever links lead to it.
pub(crate) fn mount_on(host: &Host, folder: &Path) -> Answer<Option<Mount>> {
    let mounts = Mounts::read(host)?;
    if let Some(mount) = mounts.at(folder) {
        return Ok(Some(mount.clone()));
    }
    // The kernel tells the folder that a link led to when it was mounted.
    let real = host.real(folder)?;
    Ok(real.and_then(|real| mounts.at(&real).cloned()))
}

/// The devices of a filesystem that is mounted from one of them.
pub(crate) fn devices(host: &Host, mount: &Mount, name: String) -> Answer<Vec<String>> {
    match mount.kind.as_str() {
        "btrfs" => match btrfs_of(host, &name)? {
            Some(folder) => entries(host, folder.join("devices")),
            None => Ok(vec![name]),
        },
        _ => Ok(vec![name]),
    }
}

fn health(host: &Host, mount: &Mount, device: Option<&str>) -> Answer<PoolHealth> {
    // ext4 and others turn themselves read-only when they find themselves damaged.
    if mount.read_only || !answers(host, &mount.folder)? {
        return Ok(PoolHealth::Offline);
    }
    let Some(device) = device else {
        return Ok(PoolHealth::Online);
    };
    let trouble = match mount.kind.as_str() {
        "ext4" => {
            let errors = Path::new("/sys/fs/ext4").join(device).join("errors_count");
            number_if_any(host, errors)?.is_some_and(|count| count > 0)
        }
        "btrfs" => btrfs_trouble(host, device)?,
        // Others shut down when they find errors, and then do not answer.
        _ => false,
    };
    match trouble {
        true => Ok(PoolHealth::Degraded),
        false => Ok(PoolHealth::Online),
    }
}

/// XFS that has shut down, and a device that is gone, say EIO here.
fn answers(host: &Host, folder: &Path) -> Answer<bool> {
    match statvfs(&host.path(folder)) {
        Ok(_) => Ok(true),
        Err(Errno::EIO | Errno::ENXIO | Errno::ENODEV | Errno::ESHUTDOWN) => Ok(false),
        Err(error) => Err(unavailable(format!(
            "statvfs of {}: {error}",
            folder.display()
        ))),
    }
}

/// The folder of a btrfs that a device is part of, in `/sys/fs/btrfs`.
pub(crate) fn btrfs_of(host: &Host, device: &str) -> Answer<Option<PathBuf>> {
    for uuid in entries(host, "/sys/fs/btrfs")? {
        let folder = Path::new("/sys/fs/btrfs").join(uuid);
        if entries(host, folder.join("devices"))?
            .iter()
            .any(|it| it == device)
        {
            return Ok(Some(folder));
        }
    }
    Ok(None)
}

/// Whether a btrfs misses a device, or one of them had errors.
fn btrfs_trouble(host: &Host, device: &str) -> Answer<bool> {
    let Some(folder) = btrfs_of(host, device)? else {
        return Ok(false);
    };
    let devices = folder.join("devinfo");
    for id in entries(host, &devices)? {
        if number(host, devices.join(&id).join("missing"))? != 0 {
            return Ok(true);
        }
        // "write_errs 0" and so on, a line each.
        let stats = host.read_if_any(devices.join(&id).join("error_stats"))?;
        let clean = |line: &str| line.rsplit(' ').next() == Some("0");
        if !stats.unwrap_or_default().lines().all(clean) {
            return Ok(true);
        }
    }
    Ok(false)
}
