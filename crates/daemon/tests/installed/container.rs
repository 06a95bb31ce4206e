//! A Debian host in a container, with systemd as its first process.
//!
//! Needs root, `systemd-nspawn` and `nsenter`; and `debootstrap` with a Debian mirror, once: the tree is kept.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where the tree is kept and containers are made; `EVENKEEL_PROOF` names another folder.
const FOLDER: &str = "/var/tmp/evenkeel-proof";
/// What a bare host has, beside the essential packages.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,ca-certificates,logrotate";
/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What `systemd-nspawn` ends with when the container reboots.
const REBOOTED: i32 = 133;

/// A host. It and all that runs in it is gone when this is dropped.
pub(crate) struct Container {
    pub(crate) root: PathBuf,
    nspawn: Child,
    /// Its first process, as the machine sees it.
    leader: Pid,
}

/// A copy of the bare tree; the copy of an earlier run goes.
pub(crate) fn bare_host() -> PathBuf {
    let folder = std::env::var_os("EVENKEEL_PROOF").map_or_else(|| FOLDER.into(), PathBuf::from);
    let (base, root) = (folder.join("base"), folder.join("host"));
    fs::create_dir_all(&folder).unwrap();
    if !base.exists() {
        bootstrap(&folder, &base);
    }
    if root.exists() {
        fs::remove_dir_all(&root).unwrap();
    }
    ran(Command::new("cp").arg("-a").arg(&base).arg(&root));
    fs::write(root.join("etc/hostname"), "n1.example\n").unwrap();
    fs::write(root.join("etc/machine-id"), "").unwrap();
    root
}

/// From the mirror of the machine's own sources.
fn bootstrap(folder: &Path, base: &Path) {
    let partial = folder.join("base.partial");
    let _ = fs::remove_dir_all(&partial);
    let mirror = std::env::var("EVENKEEL_MIRROR");
    let mirror = mirror.unwrap_or_else(|_| "http://deb.debian.org/debian".to_owned());
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args([
        "--variant=minbase",
        &format!("--include={PACKAGES}"),
        "bookworm",
    ]);
    ran(debootstrap.arg(&partial).arg(mirror));
    fs::rename(&partial, base).unwrap();
}

/// Runs a command of the machine's that must succeed.
pub(crate) fn ran(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", all_of(&output));
    all_of(&output)
}

/// What it printed, on both outputs.
fn all_of(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}

impl Container {
    /// Powers it on, and waits until it is up.
    pub(crate) fn power_on(root: &Path) -> Self {
        choose_slot(root);
        let nspawn = nspawn(root);
        let leader = leader_of(nspawn.id());
        let host = Self {
            root: root.to_owned(),
            nspawn,
            leader,
        };
        host.wait_until_up();
        host
    }

    fn wait_until_up(&self) {
        self.until("the host is up", || {
            let (_, state) = self.tries("systemctl is-system-running");
            matches!(state.trim(), "running" | "degraded").then_some(())
        });
    }

    /// Reboots by its init system.
    pub(crate) fn reboot(&mut self) {
        let _ = self.tries("systemctl reboot");
        self.comes_back_rebooted();
    }

    /// Waits until it has rebooted, whoever asked for that.
    pub(crate) fn comes_back_rebooted(&mut self) {
        for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
            if let Some(ended) = self.nspawn.try_wait().unwrap() {
                assert_eq!(ended.code(), Some(REBOOTED), "{ended}");
                return self.come_back();
            }
            sleep(LOOK_EVERY);
        }
        let (_, journal) = self.tries("journalctl --no-pager -n 60");
        panic!("the host does not reboot\n{journal}");
    }

    /// Its power is gone, and comes back.
    pub(crate) fn lose_power(&mut self) {
        kill(self.leader, Signal::SIGKILL).unwrap();
        self.nspawn.wait().unwrap();
        self.come_back();
    }

    fn come_back(&mut self) {
        choose_slot(&self.root);
        self.nspawn = nspawn(&self.root);
        self.leader = leader_of(self.nspawn.id());
        self.wait_until_up();
    }

    /// Runs a line of shell in it: exit code, and what it printed.
    pub(crate) fn tries(&self, line: &str) -> (Option<i32>, String) {
        let mut command = Command::new("nsenter");
        let leader = self.leader.to_string();
        command.args(["-t", &leader, "-m", "-u", "-i", "-n", "-p", "-C"]);
        command.args([
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL=C.UTF-8",
        ]);
        command.args([
            "DEBIAN_FRONTEND=noninteractive",
            "SYSTEMD_PAGER=",
            "HOME=/root",
        ]);
        command.args(["timeout", "60", "sh", "-c", line]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.code(), all_of(&output))
    }

    /// The same, which must succeed. Tells both.
    pub(crate) fn runs(&self, line: &str) -> String {
        let (code, said) = self.tries(line);
        println!("n1# {line}");
        for line in said.lines() {
            println!("    {line}");
        }
        assert_eq!(code, Some(0), "{line}: {said}");
        said
    }

    /// The same, which must fail.
    pub(crate) fn refuses(&self, line: &str) -> String {
        let (code, said) = self.tries(line);
        println!("n1# {line}\n    exit code {code:?}: {}", said.trim());
        assert_ne!(code, Some(0), "{line}: {said}");
        said
    }

    /// A property of a unit's.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        let (_, said) = self.tries(&format!("systemctl show --value -p {name} {unit}"));
        said.trim().to_owned()
    }

    /// Waits until a unit's property is so.
    pub(crate) fn until_property(&self, unit: &str, name: &str, so: impl Fn(&str) -> bool) {
        let value = self.until(&format!("{name} of {unit}"), || {
            let value = self.property(unit, name);
            so(&value).then_some(value)
        });
        println!("    {unit}: {name}={value}");
    }

    /// Looks until there is something; the journal helps when there never is.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
            if let Some(found) = look() {
                return found;
            }
            sleep(LOOK_EVERY);
        }
        let (_, units) = self.tries("systemctl --no-pager list-units 'evenkeel*' --all");
        let (_, journal) = self.tries("journalctl --no-pager -n 60");
        panic!("{what}: did not come\n{units}\n{journal}");
    }

    /// A path as its first process sees it, from outside.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It may have ended with the test.
        let _ = kill(self.leader, Signal::SIGKILL);
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
    }
}

/// What the firmware and the boot loader of a machine do. A host without slots just boots.
fn choose_slot(root: &Path) {
    let slots = root.join("slots");
    if slots.join("current").is_symlink() {
        let loader = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systemd/directory-slots");
        let chosen = ran(Command::new(loader).arg(&slots));
        println!("n1 boots slot {}", chosen.trim());
    }
}

fn nspawn(root: &Path) -> Child {
    let log = fs::File::create(root.with_extension("log")).unwrap();
    let mut nspawn = Command::new("systemd-nspawn");
    nspawn
        .arg("-D")
        .arg(root)
        .args(["-b", "-M", "evenkeel-proof"]);
    // There is no systemd on the outside that it could be told to.
    nspawn.args([
        "--private-network",
        "--register=no",
        "--keep-unit",
        "--console=read-only",
        // Whether the clock is corrected may be read, as on any host.
        "--system-call-filter=adjtimex clock_adjtime",
    ]);
    nspawn.stdin(Stdio::null()).stdout(log.try_clone().unwrap());
    // A terminal's interrupt is the test's to answer.
    nspawn.stderr(log).process_group(0);
    nspawn
        .spawn()
        .expect("systemd-nspawn, of Debian's systemd-container")
}

/// The init system among the processes below.
fn leader_of(nspawn: u32) -> Pid {
    for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
        if let Some(leader) = init_below(nspawn) {
            return Pid::from_raw(leader.cast_signed());
        }
        sleep(LOOK_EVERY);
    }
    panic!("the container has no first process");
}

fn init_below(process: u32) -> Option<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(path).ok()?;
    let mut children = children.split_whitespace().filter_map(|it| it.parse().ok());
    children.find_map(|child: u32| {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        match name.trim() {
            "systemd" => Some(child),
            _ => init_below(child),
        }
    })
}
