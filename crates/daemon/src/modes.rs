//! Files that nobody else may read: keys, databases, the audit log, what a cluster begins with.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use evenkeel_model::{NodeSettings, PlatformSettings, RecordSettings};

/// Files of the daemon's own making.
fn own(settings: &NodeSettings) -> Vec<PathBuf> {
    let record = match &settings.record {
        RecordSettings::Sqlite { path } => Some(path.clone()),
        // One on a shared pool is its holder's to look after.
        RecordSettings::Etcd(_) | RecordSettings::SharedPool(_) => None,
    };
    let mut files = Vec::new();
    for database in record.into_iter().chain([settings.data.join("node.db")]) {
        for suffix in ["", "-wal", "-shm"] {
            let mut file = database.clone().into_os_string();
            file.push(suffix);
            files.push(file.into());
        }
    }
    let pki = settings.pki();
    files.extend(["ca.key", "node.key", "founding.json"].map(|name| pki.join(name)));
    let rest = settings.data.join("rest");
    files.extend(["key.pem", "given.pem"].map(|name| rest.join(name)));
    // Before the first request there is none.
    let audit = fs::read_dir(settings.data.join("audit")).into_iter();
    files.extend(audit.flatten().flatten().map(|file| file.path()));
    files
}

/// Files that the configuration names: others may use them too, so they are left as they are.
fn named(settings: &NodeSettings) -> Vec<PathBuf> {
    let keys = [&settings.interconnect.key, &settings.rest.key];
    let mut files: Vec<_> = keys.into_iter().flatten().cloned().collect();
    if let RecordSettings::Etcd(etcd) = &settings.record {
        files.extend(etcd.key.clone());
        files.extend(etcd.password_file.clone());
    }
    if let PlatformSettings::Linux(linux) = &settings.platform {
        let sp = &linux.sp;
        let over_lan = [&sp.own, &sp.partner].into_iter().flatten();
        files.extend(over_lan.map(|sp| sp.password_file.clone()));
        files.extend(sp.redfish.iter().map(|sp| sp.password_file.clone()));
    }
    files.extend(settings.cluster.bootstrap.clone());
    files
}

/// The mode, if it gives more than `allowed`.
fn excess(path: &Path, allowed: u32) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & !allowed != 0).then_some(mode)
}

/// Takes from everybody else what the daemon's own files give them, and says so.
pub(crate) fn tighten(settings: &NodeSettings) {
    for path in own(settings) {
        let Some(mode) = excess(&path, 0o600) else {
            continue;
        };
        let (shown, mode) = (path.display(), format!("{mode:o}"));
        match fs::set_permissions(&path, Permissions::from_mode(0o600)) {
            Ok(()) => tracing::warn!(path = %shown, mode, "others could use it; it is 600 now"),
            Err(error) => tracing::error!(path = %shown, mode, %error, "others can use it"),
        }
    }
    for (path, mode) in open_to_others(settings) {
        let path = path.display();
        tracing::error!(%path, mode, "others can read a secret, or change it: chmod 600");
    }
}

/// Refuses a configuration whose secrets others can read.
pub(crate) fn check(settings: &NodeSettings) -> Result<()> {
    match open_to_others(settings).into_iter().next() {
        Some((path, mode)) => bail!("{} has mode {mode}: chmod 600 it", path.display()),
        None => Ok(()),
    }
}

/// A group may be allowed to read a key that several services use, and nothing more.
fn open_to_others(settings: &NodeSettings) -> Vec<(PathBuf, String)> {
    let files = named(settings).into_iter();
    files
        .filter_map(|path| {
            let mode = excess(&path, 0o740)?;
            Some((path, format!("{mode:o}")))
        })
        .collect()
}
