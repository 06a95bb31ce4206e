//! What killed tests left behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::{output, run};

/// The folder of all clusters on this machine.
const ROOT: &str = "/tmp/evenkeel-hosts";

/// Makes the folder of a new cluster, after whatever dead processes have left was removed. The lock says for as long as it
/// is held that the cluster is alive.
pub(crate) fn begin(name: &str) -> Result<(PathBuf, Flock<File>)> {
    fs::create_dir_all(ROOT)?;
    // One at a time: a folder that is not locked yet would look like a dead one's.
    let door = File::create(format!("{ROOT}.lock"))?;
    let _door = Flock::lock(door, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    remove_dead()?;
    let dir = Path::new(ROOT).join(name);
    fs::create_dir(&dir).with_context(|| format!("{}", dir.display()))?;
    let lock = lock(&dir)?.context("the folder of the cluster is somebody else's")?;
    Ok((dir, lock))
}

/// Takes the lock of a cluster's folder; none if a living process has it.
fn lock(dir: &Path) -> Result<Option<Flock<File>>> {
    let file = File::create(dir.join("lock"))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// Removes every cluster whose process is gone.
fn remove_dead() -> Result<()> {
    for entry in fs::read_dir(ROOT)? {
        let dir = entry?.path();
        let Some(name) = dir.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if let Some(_lock) = lock(&dir)? {
            remove(&dir, name)?;
        }
    }
    Ok(())
}

/// Ends the hosts of a cluster and removes its namespaces and its folder.
pub(crate) fn remove(dir: &Path, name: &str) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        end_host(&entry?.path());
    }
    for entry in fs::read_dir("/run/netns").into_iter().flatten() {
        let netns = entry?.file_name();
        let netns = netns.to_string_lossy();
        if netns.starts_with(&format!("ekh-{name}-")) {
            run(Command::new("ip").args(["netns", "del", &netns]))?;
        }
    }
    detach(dir)?;
    fs::remove_dir_all(dir).with_context(|| format!("{}", dir.display()))
}

/// Where the images of a cluster's pools are.
pub(crate) fn images(dir: &Path) -> PathBuf {
    dir.join("images")
}

/// Takes the images from their loop devices, at the latest when nobody has them mounted any more.
fn detach(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(images(dir)).into_iter().flatten() {
        let mut find = Command::new("losetup");
        let found = output(
            find.args(["--noheadings", "--output", "NAME", "--associated"])
                .arg(entry?.path()),
        )?;
        for device in found.split_whitespace() {
            run(Command::new("losetup").args(["--detach", device]))?;
        }
    }
    Ok(())
}

/// Kills the process outside that a host hangs on, which takes the host with it, if it still is that process.
fn end_host(dir: &Path) {
    let Some(pid) = fs::read_to_string(dir.join("pid"))
        .ok()
        .and_then(|pid| pid.parse().ok())
    else {
        return;
    };
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).into_owned();
    let ours = dir.join("node.sh");
    if command.split('\0').any(|word| Path::new(word) == ours) {
        let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
