//! Looking at the machine: folders of the kernel's, calls that may hang, programs that may be missing.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::{Call, Finished, Host};
use evenkeel_platform::PlatformError;

/// Looks that may hang in the kernel at once, in the whole process. One that hangs keeps its thread: without a bound, a dead mount
/// would take all threads of the runtime's blocking pool.
const HANGING_MAX: usize = 32;
/// The kernel answers from memory. Whatever takes longer waits for a device that is in trouble.
const LOOK: Duration = Duration::from_secs(5);
/// Where programs are, if they are anywhere.
const FOLDERS: [&str; 6] = [
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/local/sbin",
    "/usr/local/bin",
];

static HANGING: Semaphore = Semaphore::const_new(HANGING_MAX);

pub(crate) type Answer<T> = Result<T, PlatformError>;

pub(crate) fn unavailable(why: impl Into<String>) -> PlatformError {
    PlatformError::Unavailable(why.into())
}

pub(crate) fn refused(why: impl Into<String>) -> PlatformError {
    PlatformError::Refused(why.into())
}

/// Of a file or folder.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> PlatformError {
    unavailable(format!("{} cannot be read: {error}", path.display()))
}

/// What is in a folder, by name, in order. Nothing, where there is no such folder.
pub(crate) fn entries(host: &Host, path: impl AsRef<Path>) -> Answer<Vec<String>> {
    let path = path.as_ref();
    let listed = match std::fs::read_dir(host.path(path)) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(path, &error)),
    };
    let mut names = Vec::new();
    for entry in listed {
        let entry = entry.map_err(|error| unreadable(path, &error))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Whether there is such a file or folder.
pub(crate) fn exists(host: &Host, path: impl AsRef<Path>) -> Answer<bool> {
    let path = path.as_ref();
    let found = host.path(path).try_exists();
    found.map_err(|error| unreadable(path, &error))
}

/// The last part of what a link leads to; none where there is no such link.
pub(crate) fn link_name(host: &Host, path: impl AsRef<Path>) -> Answer<Option<String>> {
    let path = path.as_ref();
    match std::fs::canonicalize(host.path(path)) {
        Ok(target) => Ok(target
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// A number in a file of the kernel's.
pub(crate) fn number(host: &Host, path: impl AsRef<Path>) -> Answer<u64> {
    let path = path.as_ref();
    let text = host.read(path)?;
    text.parse().map_err(|_| {
        unavailable(format!(
            "{} says {text:?}, which is no number",
            path.display()
        ))
    })
}

/// The same; `None` where there is no such file.
pub(crate) fn number_if_any(host: &Host, path: impl AsRef<Path>) -> Answer<Option<u64>> {
    match exists(host, &path)? {
        true => number(host, path).map(Some),
        false => Ok(None),
    }
}

/// Whether a process runs whose name, as the kernel shortens it, is one of these.
pub(crate) fn runs(host: &Host, is_it: impl Fn(&str) -> bool) -> Answer<bool> {
    for pid in entries(host, "/proc")? {
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // Processes end while they are looked at.
        if is_it(&host.read(format!("/proc/{pid}/comm")).unwrap_or_default()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Runs what blocks away from the runtime's threads, bounded.
pub(crate) async fn blocking<T: Send + 'static>(
    host: &Host,
    what: &str,
    look: impl FnOnce(&Host) -> Answer<T> + Send + 'static,
) -> Answer<T> {
    blocking_for(host, what, LOOK, look).await
}

/// The same, with a bound of its own.
pub(crate) async fn blocking_for<T: Send + 'static>(
    host: &Host,
    what: &str,
    within: Duration,
    look: impl FnOnce(&Host) -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let Ok(Ok(room)) = timeout(LOOK, HANGING.acquire()).await else {
        return Err(unavailable(format!(
            "{what}: {HANGING_MAX} looks hang in the kernel already; the kernel's log tells which device is in trouble"
        )));
    };
    let host = Arc::new(host.clone());
    let looking = tokio::task::spawn_blocking(move || {
        let answer = look(&host);
        drop(room);
        answer
    });
    match timeout(within, looking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(ended)) => Err(unavailable(format!(
            "{what}: the look ended badly: {ended}"
        ))),
        Err(_) => Err(unavailable(format!(
            "{what}: the kernel does not answer within {within:?}"
        ))),
    }
}

/// Whether a program is installed.
pub(crate) fn installed(host: &Host, program: &str) -> Answer<bool> {
    for folder in FOLDERS {
        if exists(host, Path::new(folder).join(program))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Runs a program that must be there; what to install, if it is not.
pub(crate) async fn run(host: &Host, call: &Call, package: &str) -> Answer<Finished> {
    if !installed(host, call.program)? {
        return Err(unavailable(format!(
            "{} is not installed: install {package}",
            call.program
        )));
    }
    host.run(call).await
}

/// What a program printed that must be there and must succeed.
pub(crate) async fn output(host: &Host, call: &Call, package: &str) -> Answer<Vec<u8>> {
    run(host, call, package).await?.printed(call)
}

/// The JSON that a program printed.
pub(crate) async fn json<T: DeserializeOwned>(
    host: &Host,
    call: &Call,
    package: &str,
) -> Answer<T> {
    let printed = output(host, call, package).await?;
    parse(call, &printed)
}

/// What a program printed, as JSON.
pub(crate) fn parse<T: DeserializeOwned>(call: &Call, printed: &[u8]) -> Answer<T> {
    serde_json::from_slice(printed).map_err(|error| {
        unavailable(format!(
            "{} printed what is not understood: {error}",
            call.line()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_ends_in_time() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path(), Arc::new(crate::SystemPrograms));
        let (release, held) = std::sync::mpsc::channel::<()>();
        let hang = move |_: &Host| {
            // Until the test lets go.
            assert!(held.recv().is_err());
            Ok(())
        };
        let answer = blocking_for(&host, "a mount", Duration::from_millis(20), hang).await;
        drop(release);
        let said = answer.unwrap_err().to_string();
        assert!(
            said.contains("a mount: the kernel does not answer"),
            "{said}"
        );
    }

    #[test]
    fn what_is_not_there_is_told_from_what_cannot_be_read() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path(), Arc::new(crate::SystemPrograms));
        assert_eq!(
            entries(&host, "/sys/class/net").unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(number_if_any(&host, "/sys/x").unwrap(), None);
        std::fs::create_dir_all(root.path().join("sys")).unwrap();
        std::fs::write(root.path().join("sys/x"), "many\n").unwrap();
        assert!(entries(&host, "/sys/x").is_err());
        let said = number_if_any(&host, "/sys/x").unwrap_err().to_string();
        assert!(said.contains("\"many\", which is no number"), "{said}");
    }
}
