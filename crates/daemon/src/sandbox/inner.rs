//! The first process of a check's namespaces: builds what the check sees, gives up all privileges, starts it.

use std::fmt::Display;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, getpid, setgroups, setresgid, setresuid, setsid};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, remove_capability_from_bounding_set,
    set_capabilities_secure_bits,
};

use super::{CheckJob, NOT_CONFINED, calls, read_job, view};

/// First of the user ids that no distribution gives to anyone. Each check that runs has one of its own, so that
/// those of several daemons on a machine do not share a bound.
const FIRST_UID: u32 = 1_879_048_192;
/// How many of them are used.
const UIDS: u32 = 1 << 16;
/// `nobody`, where those are not to be had (in a container), and no user was made for it.
const NOBODY: u32 = 65_534;
/// The last capability that a kernel may have.
const LAST_CAPABILITY: u32 = 63;

/// Bounds on what a check uses. Memory is for each process here; that of all, and time, are bounded from outside.
const LIMITS: [(Resource, u64); 6] = [
    (Resource::RLIMIT_AS, 1 << 30),
    (Resource::RLIMIT_NPROC, 64),
    (Resource::RLIMIT_NOFILE, 256),
    (Resource::RLIMIT_FSIZE, 32 << 20),
    (Resource::RLIMIT_CORE, 0),
    (Resource::RLIMIT_MEMLOCK, 0),
];

/// What a check finds in its environment.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/tmp"),
    ("TMPDIR", "/tmp"),
    ("LC_ALL", "C.UTF-8"),
];

/// `evenkeeld run-check-inside`: ends as the check ends.
pub(crate) fn main() -> ExitCode {
    match read_job().and_then(|job| run(&job)) {
        Ok(status) => ExitCode::from(code(status)),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(NOT_CONFINED)
        }
    }
}

fn code(status: ExitStatus) -> u8 {
    let signal = || status.signal().map_or(i32::from(NOT_CONFINED), |s| 128 + s);
    let code = status.code().unwrap_or_else(signal);
    u8::try_from(code).unwrap_or(u8::MAX)
}

fn run(job: &CheckJob) -> Result<ExitStatus, String> {
    if getpid().as_raw() != 1 {
        return Err("it is not in a process namespace of its own".to_owned());
    }
    end_with_the_input();
    let failed = |what: &str, error: &dyn Display| format!("{what}: {error}");
    setsid().map_err(|e| failed("session", &e))?;
    let outside = Outside::look()?;
    view::build(job)?;
    prctl::set_no_new_privs().map_err(|e| failed("no new privileges", &e))?;
    for (resource, bound) in LIMITS {
        setrlimit(resource, bound, bound).map_err(|e| failed("limits", &e))?;
    }
    let seconds = job.within_ms.div_ceil(1000) + 1;
    setrlimit(Resource::RLIMIT_CPU, seconds, seconds).map_err(|e| failed("limits", &e))?;
    give_up_capabilities()?;
    outside.become_nobody(job.number, job.fallback)?;
    calls::refuse()?;
    start(job)
}

/// Whether this is the machine's root, or that of a user namespace.
enum Outside {
    Root,
    Nobody,
}

impl Outside {
    /// A user namespace of one user maps nothing else: there is nobody to become. Where others are mapped and groups cannot be
    /// given up, root would stay root: nothing is run then.
    fn look() -> Result<Self, String> {
        let Err(error) = setgroups(&[]) else {
            return Ok(Self::Root);
        };
        let map = fs::read_to_string("/proc/self/uid_map").map_err(|e| format!("users: {e}"))?;
        match mapped(&map) {
            1 => Ok(Self::Nobody),
            _ => Err(format!("groups: {error}")),
        }
    }

    fn become_nobody(self, number: u32, fallback: Option<u32>) -> Result<(), String> {
        match self {
            // Its user owns nothing that it sees, and has no capability.
            Self::Nobody => Ok(()),
            Self::Root => {
                let own = FIRST_UID + number % UIDS;
                become_user(own).or_else(|_| become_user(fallback.unwrap_or(NOBODY)))
            }
        }
    }
}

/// How many users a user namespace maps, by its map: lines of three numbers, of which the last is a count.
fn mapped(map: &str) -> u64 {
    let counts = map
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    counts.fold(0, u64::saturating_add)
}

fn become_user(id: u32) -> Result<(), String> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    setresgid(gid, gid, gid).map_err(|e| format!("group: {e}"))?;
    setresuid(uid, uid, uid).map_err(|e| format!("user: {e}"))
}

/// None is left for what is started from here, whoever starts it.
fn give_up_capabilities() -> Result<(), String> {
    for number in 0..=LAST_CAPABILITY {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // This kernel has none of that number.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(format!("capabilities: {error}")),
        }
    }
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(bits).map_err(|error| format!("capabilities: {error}"))
}

/// Whoever watches is gone: so are we, and with us all that was started here.
fn end_with_the_input() {
    thread::spawn(|| {
        let mut piece = [0; 64];
        while std::io::stdin().read(&mut piece).is_ok_and(|n| n > 0) {}
        std::process::exit(i32::from(NOT_CONFINED));
    });
}

fn start(job: &CheckJob) -> Result<ExitStatus, String> {
    let mut child = Command::new(Path::new(view::PACKAGE).join(&job.check))
        .current_dir(view::TMP)
        .env_clear()
        .envs(ENVIRONMENT)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read what it is told is free to.
        let _ = input.write_all(job.input.as_bytes());
    }
    child
        .wait()
        .map_err(|error| format!("how it ended is not known: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_a_namespace_are_counted_from_its_map() {
        assert_eq!(mapped("         0          0 4294967295\n"), 4_294_967_295);
        assert_eq!(mapped("         0       1000          1\n"), 1);
        assert_eq!(mapped("0 1000 1\n1 100000 65536\n"), 65_537);
        assert_eq!(mapped(""), 0);
    }
}
