//! Jobs that a takeover would break.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;

use super::{lvm, md, zfs};
use crate::block;
use crate::look::{Answer, blocking, entries, unavailable};
use crate::{Call, Host};

/// A program of the drop-in folder that takes longer says nothing.
const PROGRAM: Duration = Duration::from_secs(4);
/// Programs that are run, and lines that are taken from each: more is a mistake.
const PROGRAMS_MAX: usize = 32;
const LINES_MAX: usize = 100;

/// All jobs that are known of; `drop_in` is the folder of the operator's own programs.
pub(crate) async fn jobs(host: &Host, drop_in: Option<&Path>) -> Answer<Vec<String>> {
    let kernels = blocking(host, "jobs", |host| {
        let mut jobs = Vec::new();
        for array in md::arrays(host)? {
            jobs.extend(array.job());
        }
        jobs.extend(btrfs(host)?);
        jobs.extend(sends(host)?);
        Ok((jobs, has_lvm(host)?))
    });
    let (mut jobs, has_lvm) = kernels.await?;
    for (name, pool) in zfs::zpools(host).await? {
        if pool.resilvering {
            jobs.push(format!("ZFS pool {name} rebuilds a device (resilver)"));
        }
    }
    if has_lvm {
        // A move is listed once for each volume that it moves.
        let mut moves: Vec<String> = lvm::lvs(host)
            .await?
            .iter()
            .filter_map(lvm::Lv::job)
            .collect();
        moves.dedup();
        jobs.extend(moves);
    }
    if let Some(folder) = drop_in {
        jobs.extend(of_programs(host, folder).await?);
    }
    Ok(jobs)
}

/// Whether any volume of LVM is active: only then `lvs` has something to say, and need be installed.
pub(crate) fn has_lvm(host: &Host) -> Answer<bool> {
    for name in block::names(host)? {
        if block::mapper(host, &name)?.is_some_and(|uuid| uuid.starts_with("LVM-")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a btrfs does to all of itself (`/sys/fs/btrfs/<uuid>/exclusive_operation`, since Linux 5.10).
fn btrfs(host: &Host) -> Answer<Vec<String>> {
    let mut jobs = Vec::new();
    for uuid in entries(host, "/sys/fs/btrfs")? {
        let file = Path::new("/sys/fs/btrfs")
            .join(&uuid)
            .join("exclusive_operation");
        match host.read_if_any(file)?.as_deref() {
            None | Some("none") => {}
            Some(operation) => jobs.push(format!("btrfs {uuid} is at its {operation}")),
        }
    }
    Ok(jobs)
}

/// `zfs send` and `zfs receive` that run.
fn sends(host: &Host) -> Answer<Vec<String>> {
    let mut jobs = Vec::new();
    for pid in entries(host, "/proc")? {
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // Processes end while they are looked at.
        let line = std::fs::read(host.path(format!("/proc/{pid}/cmdline"))).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let program = words
            .next()
            .unwrap_or_default()
            .rsplit(|byte| *byte == b'/')
            .next();
        let what = match (program, words.next()) {
            (Some(b"zfs"), Some(b"send")) => "send",
            (Some(b"zfs"), Some(b"receive" | b"recv")) => "receive",
            _ => continue,
        };
        jobs.push(format!("process {pid} is a zfs {what}"));
    }
    Ok(jobs)
}

/// What the programs of a folder print, all at once. One that fails, or takes too long, leaves the jobs unknown.
async fn of_programs(host: &Host, folder: &Path) -> Answer<Vec<String>> {
    let at = folder.to_owned();
    let programs = blocking(host, "the folder of jobs", move |host| programs(host, &at)).await?;
    let runs = programs.iter().map(|program| async move {
        // Found by its path, whatever its name.
        let call = Call::new("env", ["--", program.as_str()], PROGRAM);
        let printed = host.output(&call).await?;
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let lines = printed
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let jobs: Vec<String> = lines.take(LINES_MAX).map(str::to_owned).collect();
        Ok::<_, evenkeel_platform::PlatformError>(jobs)
    });
    let mut jobs = Vec::new();
    for told in join_all(runs).await {
        jobs.extend(told?);
    }
    Ok(jobs)
}

fn programs(host: &Host, folder: &Path) -> Answer<Vec<String>> {
    if !crate::look::exists(host, folder)? {
        return Err(unavailable(format!(
            "{}, the folder of programs that name jobs, is not there",
            folder.display()
        )));
    }
    let mut programs = Vec::new();
    for name in entries(host, folder)? {
        let path = host.path(folder.join(&name));
        let about = std::fs::metadata(&path);
        let about = about.map_err(|error| unavailable(format!("{}: {error}", path.display())))?;
        if about.is_file() && about.permissions().mode() & 0o111 != 0 {
            programs.push(path.to_string_lossy().into_owned());
        }
    }
    match programs.len() > PROGRAMS_MAX {
        true => Err(unavailable(format!(
            "{} holds more than {PROGRAMS_MAX} programs",
            folder.display()
        ))),
        false => Ok(programs),
    }
}
