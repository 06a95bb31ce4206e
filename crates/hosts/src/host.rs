//! One host.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use evenkeel_model::BootId;
use evenkeel_seam::{Ids as _, RandomIds};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a clean shutdown may take: Pacemaker stops what runs.
const SHUTDOWN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// A host. Clones are the same host.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    name: String,
    index: usize,
    netns: String,
    /// The namespace of the switch that it hangs on.
    switch: String,
    dir: PathBuf,
    power: Mutex<Power>,
}

enum Power {
    Off,
    /// With the process outside whose child is the host's first one.
    On(Child),
    /// Off for good: whoever still wants to boot it comes too late.
    Dismantled,
}

impl Host {
    /// `ctl-a` is the first.
    pub(crate) fn name_of(index: usize) -> String {
        let letter = char::from(b'a' + u8::try_from(index).expect("there are four hosts at most"));
        format!("ctl-{letter}")
    }

    /// The host's own address.
    pub(crate) fn address_of(index: usize) -> String {
        format!("10.99.0.{}", index + 1)
    }

    /// Its disk, without power.
    pub(crate) fn create(
        (cluster, cluster_name): (&Path, &str),
        index: usize,
        pair: [(&str, usize); 2],
    ) -> Result<Self> {
        let name = Self::name_of(index);
        let dir = cluster.join(&name);
        let netns = format!("ekh-{cluster_name}-{name}");
        let switch = format!("ekh-{cluster_name}-sw");
        for folder in ["sbin", "ocf/evenkeel", "etc-corosync", "pacemaker/cib"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        fs::write(dir.join("node.sh"), include_str!("../host/node.sh"))?;
        fs::write(dir.join("echo.py"), include_str!("../host/echo.py"))?;
        let fence = include_str!("../host/fence_evenkeel");
        put_program(&dir.join("sbin/fence_evenkeel"), fence)?;
        let record = include_str!("../../../systemd/ocf/record");
        put_program(&dir.join("ocf/evenkeel/record"), record)?;
        fs::write(
            dir.join("etc-corosync/corosync.conf"),
            corosync_configuration(pair),
        )?;
        let power = Mutex::new(Power::Off);
        Ok(Self(Arc::new(Inner {
            name,
            index,
            netns,
            switch,
            dir,
            power,
        })))
    }

    /// Installs a program: `sbin/NAME` comes before the machine's own of that name, `boot` is run by each boot.
    pub fn install(&self, program: &str, text: &str) -> Result<()> {
        put_program(&self.dir().join(program), text)
    }

    /// Gives Pacemaker the configuration that it starts with.
    pub(crate) fn seed(&self, cib: &str) -> Result<()> {
        Ok(fs::write(self.dir().join("pacemaker/cib/cib.xml"), cib)?)
    }

    /// As `hostname` says inside.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its own address on the clients' network, which never moves.
    pub fn address(&self) -> String {
        Self::address_of(self.0.index)
    }

    /// Its disk: what is in there survives a loss of power. Inside the same path leads there.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    fn power(&self) -> MutexGuard<'_, Power> {
        let power = self.0.power.lock();
        power.unwrap_or_else(PoisonError::into_inner)
    }

    /// Switches it on. Nothing happens if it runs.
    pub fn start(&self) -> Result<()> {
        let mut power = self.power();
        match *power {
            Power::Off => {}
            Power::On(_) => return Ok(()),
            Power::Dismantled => bail!("{} is dismantled", self.name()),
        }
        let dir = self.dir();
        fs::write(dir.join("boot_id"), format!("{}\n", RandomIds.uuid()))?;
        let log = fs::File::create(dir.join("console"))?;
        self.connect()?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0.netns, "unshare"]);
        command.args(["-m", "-i", "-u", "-p", "-f", "--mount-proc", "--kill-child"]);
        command
            .arg("bash")
            .arg(dir.join("node.sh"))
            .arg(&self.0.name);
        command.arg(dir).stdin(Stdio::null());
        command
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let child = command
            .spawn()
            .context("a host needs iproute2 and unshare")?;
        let id = child.id();
        *power = Power::On(child);
        Ok(fs::write(dir.join("pid"), id.to_string())?)
    }

    /// Cuts its power: every process of it is gone when this returns, and its network with what was configured on it. Without power it is
    /// made sure of the latter.
    pub fn kill(&self) -> Result<()> {
        self.cut(&mut self.power())
    }

    /// The same, and it never gets power again.
    pub(crate) fn dismantle(&self) -> Result<()> {
        let mut power = self.power();
        let cut = self.cut(&mut power);
        *power = Power::Dismantled;
        cut
    }

    fn cut(&self, power: &mut Power) -> Result<()> {
        if let Power::On(child) = power {
            // Its end is reported when the last process in its namespace is gone.
            match first_process(child.id()) {
                Some(first) => kill(first, Signal::SIGKILL)?,
                None => child.kill()?,
            }
            child.wait()?;
            *power = Power::Off;
        }
        disconnect(&self.0.netns)
    }

    /// A network namespace with one link to the switch, which has the same hardware address in every boot, as a real card has: others still
    /// know it by that.
    fn connect(&self) -> Result<()> {
        let Inner {
            netns,
            switch,
            index,
            ..
        } = &*self.0;
        disconnect(netns)?;
        let number = index + 1;
        let port = format!("p{number}");
        let hardware = format!("02:00:00:00:00:{number:02x}");
        let address = format!("{}/24", Self::address_of(*index));
        run(Command::new("ip").args(["netns", "add", netns]))?;
        run(Command::new("ip").args([
            "link", "add", "eth0", "netns", netns, "address", &hardware, "type", "veth", "peer",
            "name", &port, "netns", switch,
        ]))?;
        run(Command::new("ip").args(["-n", switch, "link", "set", &port, "master", "br0", "up"]))?;
        run(Command::new("ip").args(["-n", netns, "addr", "add", &address, "dev", "eth0"]))?;
        run(Command::new("ip").args(["-n", netns, "link", "set", "eth0", "up"]))
    }

    /// Shuts it down cleanly, Pacemaker first. Cuts its power when that takes too long, and says so.
    pub fn shut_down(&self) -> Result<()> {
        if let Some(first) = self.first_process() {
            kill(first, Signal::SIGTERM)?;
        }
        for _ in 0..SHUTDOWN.as_millis() / LOOK.as_millis() {
            if !self.is_running()? {
                return Ok(());
            }
            sleep(LOOK);
        }
        self.kill()?;
        bail!("{} did not shut down within {SHUTDOWN:?}", self.name());
    }

    /// A clean shutdown and the next boot.
    pub fn reboot(&self) -> Result<()> {
        self.shut_down()?;
        self.start()
    }

    /// Whether it has power. Where it has shut itself down, its network is removed before that is said.
    pub fn is_running(&self) -> Result<bool> {
        let mut power = self.power();
        if let Power::On(child) = &mut *power {
            if child.try_wait()?.is_none() {
                return Ok(true);
            }
            *power = Power::Off;
        }
        disconnect(&self.0.netns).map(|()| false)
    }

    /// Its first process, as seen from outside; none without power.
    fn first_process(&self) -> Option<Pid> {
        match &*self.power() {
            Power::On(child) => first_process(child.id()),
            Power::Off | Power::Dismantled => None,
        }
    }

    /// The boot that it runs in, or ran in last.
    pub fn boot_id(&self) -> Result<BootId> {
        let text = fs::read_to_string(self.dir().join("boot_id"))?;
        Ok(text.trim().parse()?)
    }

    /// How to get inside: the words that go before a program and its arguments.
    pub fn enter(&self) -> Result<Vec<String>> {
        let first = self.first_process();
        let first = first.with_context(|| format!("{} is without power", self.name()))?;
        let words = [
            "nsenter",
            "-t",
            &first.to_string(),
            "-m",
            "-i",
            "-u",
            "-n",
            "-p",
            "--",
        ];
        Ok(words.map(str::to_owned).to_vec())
    }

    /// A program inside, to be run however one likes: `evenkeeld`, etcd, a client.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let enter = self.enter()?;
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).arg(program);
        Ok(command)
    }

    /// Runs a program inside until it ends.
    pub fn exec<A: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Output> {
        let mut command = self.command(program)?;
        command.args(args).stdin(Stdio::null());
        Ok(command.output()?)
    }

    /// Runs a program inside that must succeed, and gives what it printed.
    pub fn output<A: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let output = self.exec(program, args)?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("{program} on {}: {}: {errors}", self.name(), output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts a program inside that goes on. It ends with the host's power at the latest. What it prints goes to
    /// `log/NAME` in the host's folder.
    pub fn spawn<A: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = A>,
        name: &str,
    ) -> Result<Child> {
        let log = fs::File::create(self.dir().join("log").join(name))?;
        let mut command = self.command(program)?;
        command.args(args).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command.spawn()?)
    }

    /// How many services Pacemaker runs, in the eyes of this host.
    pub(crate) fn services_started(&self) -> Result<usize> {
        let xml = self.output("crm_mon", ["--one-shot", "--output-as=xml"])?;
        let document = roxmltree::Document::parse(&xml)?;
        let started = document.descendants().filter(|node| {
            node.has_tag_name("resource")
                && node.attribute("role") == Some("Started")
                && node
                    .attribute("pending")
                    .is_none_or(|what| what == "Monitoring")
        });
        Ok(started.count())
    }
}

fn put_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}

/// The first process of the host that hangs on the process `outer`.
fn first_process(outer: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
    let first = children.split_ascii_whitespace().next()?;
    first.parse().ok().map(Pid::from_raw)
}

/// Removes a host's network, if it is there. Its link by itself, and first: the kernel removes those of a namespace later, and not while a
/// process of ours is still in it, and the next boot needs the name of the switch's port at once.
fn disconnect(netns: &str) -> Result<()> {
    if !Path::new("/run/netns").join(netns).exists() {
        return Ok(());
    }
    if run(Command::new("ip").args(["-n", netns, "link", "show", "eth0"])).is_ok() {
        run(Command::new("ip").args(["-n", netns, "link", "del", "eth0"]))?;
    }
    run(Command::new("ip").args(["netns", "del", netns]))
}

/// One Corosync cluster a pair: two votes, and none is lost by the other's absence.
fn corosync_configuration(pair: [(&str, usize); 2]) -> String {
    let nodes = pair.map(|(name, index)| {
        format!(
            "  node {{\n    ring0_addr: {}\n    name: {name}\n    nodeid: {}\n  }}\n",
            Host::address_of(index),
            index + 1
        )
    });
    format!(
        "totem {{\n  version: 2\n  cluster_name: {}\n  transport: knet\n  crypto_cipher: none\n  \
         crypto_hash: none\n  token: 1000\n}}\nnodelist {{\n{}}}\nquorum {{\n  provider: corosync_votequorum\n  \
         two_node: 1\n  wait_for_all: 1\n}}\nlogging {{\n  to_stderr: yes\n  to_syslog: no\n  to_logfile: no\n  \
         timestamp: hires\n}}\n",
        pair[0].0,
        nodes.concat()
    )
}

/// Runs a program outside that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a program outside that must succeed, and gives what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {errors}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
