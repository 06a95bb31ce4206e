//! Files that nobody else may read: keys, databases, the audit log, what a cluster begins with. And folders that nobody else may
//! write.

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

/// Folders in which others could put files of theirs in the place of ours, if they could write.
fn folders(settings: &NodeSettings) -> Vec<PathBuf> {
    let within = ["audit", "rest"].map(|name| settings.data.join(name));
    let mut folders = vec![settings.data.clone(), settings.pki()];
    folders.extend(within);
    folders
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
        limit(&path, 0o600);
    }
    for folder in folders(settings) {
        limit(&folder, 0o755);
    }
    for (path, mode) in open_to_others(settings) {
        let path = path.display();
        tracing::error!(%path, mode, "others can read the secret {path}, or change it: chmod 600");
    }
}

/// Takes what is more than `most` from a file or folder.
fn limit(path: &Path, most: u32) {
    let Some(mode) = excess(path, most) else {
        return;
    };
    let (shown, now) = (path.display(), mode & most | 0o600);
    match fs::set_permissions(path, Permissions::from_mode(now)) {
        Ok(()) => tracing::warn!(path = %shown, "{shown} had mode {mode:o}; it has {now:o} now"),
        Err(error) => {
            tracing::error!(path = %shown, %error, "{shown} has mode {mode:o}, and keeps it: {error}");
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_open_is_closed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for (before, most, after) in [
            (0o777, 0o755, 0o755),
            (0o770, 0o755, 0o750),
            (0o700, 0o755, 0o700),
            (0o644, 0o600, 0o600),
            (0o444, 0o600, 0o600),
            (0o600, 0o600, 0o600),
        ] {
            fs::set_permissions(path, Permissions::from_mode(before)).unwrap();
            limit(path, most);
            let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, after, "{before:o}");
            fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        }
    }
}
