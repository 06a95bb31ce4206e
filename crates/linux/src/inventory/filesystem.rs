//! Filesystems: mounted, writable, without errors, and who says so.

use std::path::Path;

use evenkeel_model::PoolHealth;
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use crate::Host;
use crate::block;
use crate::look::{Answer, blocking, entries, number, number_if_any, unavailable};
use crate::mounts::{Mount, mounts, on};

/// A filesystem that is mounted where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// The kernel's name of its device; none for one that is on no block device of its own.
    pub(crate) device: Option<String>,
    /// What the filesystem says of itself.
    pub(crate) health: PoolHealth,
}

/// The filesystem of a device on a folder; none if nothing is mounted there.
///
/// # Errors
/// Also when something else is mounted there: then nobody knows how the pool is.
pub(crate) async fn mounted(host: &Host, device: &str, folder: &Path) -> Answer<Option<Mounted>> {
    let (device, folder) = (device.to_owned(), folder.to_owned());
    let what = format!("the filesystem on {}", folder.display());
    blocking(host, &what, move |host| look(host, &device, &folder)).await
}

fn look(host: &Host, device: &str, folder: &Path) -> Answer<Option<Mounted>> {
    let folder = folder.to_string_lossy();
    let Some(mount) = on(&mounts(host)?, folder.trim_end_matches('/')) else {
        return Ok(None);
    };
    let (wanted, found) = (
        block::resolve(host, device)?,
        block::resolve(host, &mount.source)?,
    );
    if mount.source != device && (wanted.is_none() || wanted != found) {
        return Err(unavailable(format!(
            "{} is mounted on {folder}, not {device}",
            mount.source
        )));
    }
    let health = health(host, &mount, found.as_deref())?;
    let device = found;
    Ok(Some(Mounted { device, health }))
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
fn answers(host: &Host, folder: &str) -> Answer<bool> {
    match statvfs(&host.path(folder)) {
        Ok(_) => Ok(true),
        Err(Errno::EIO | Errno::ENXIO | Errno::ENODEV | Errno::ESHUTDOWN) => Ok(false),
        Err(error) => Err(unavailable(format!("statvfs of {folder}: {error}"))),
    }
}

/// The folder of a btrfs that a device is part of, in `/sys/fs/btrfs`.
pub(crate) fn btrfs_of(host: &Host, device: &str) -> Answer<Option<std::path::PathBuf>> {
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
