//! Clusters of hosts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use nix::fcntl::Flock;

use crate::cib::Pools;
use crate::host::{Host, output, run};
use crate::power::PowerSwitch;
use crate::probe::Probe;
use crate::{cib, sweep};

/// How long a cluster may take until everything is served: some 7 s on an idle machine.
const READY: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(200);

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many hosts: two, or four in two pairs. Each pair is a Pacemaker cluster of its own.
    pub hosts: usize,
    /// Whether pools are file systems on images that both hosts of a pair can mount; else they are dummies.
    pub file_systems: bool,
    /// Whether the first host's root pool carries the seat of a record (`ocf:evenkeel:record`), for [`Cluster::record_path`].
    pub record: bool,
}

/// Running hosts on one network, and whatever belongs to them.
pub struct Cluster {
    dir: PathBuf,
    name: String,
    hosts: Vec<Host>,
    record: bool,
    power: Option<PowerSwitch>,
    /// Held for as long as the cluster is alive: nobody else sweeps it away.
    _lock: Flock<fs::File>,
}

impl Cluster {
    /// Starts hosts whose pools are file systems, and waits until everything is served.
    pub fn start(hosts: usize) -> Result<Self> {
        Self::start_with(&Settings {
            hosts,
            file_systems: true,
            record: false,
        })
    }

    /// The same, made as told.
    pub fn start_with(settings: &Settings) -> Result<Self> {
        Self::start_installed(settings, |_| Ok(()))
    }

    /// The same; before a host gets power for the first time something is installed on its disk. If that puts a program `boot`
    /// into the host's folder, each boot runs it once its Pacemaker does, and a clean shutdown ends it (SIGTERM) before Pacemaker.
    pub fn start_installed(
        settings: &Settings,
        install: impl Fn(&Host) -> Result<()>,
    ) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        ensure!(
            matches!(settings.hosts, 2 | 4),
            "a cluster has two hosts or four"
        );
        ensure!(
            settings.file_systems || !settings.record,
            "a record is a file on a pool"
        );
        let count = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{count}", std::process::id());
        let (dir, lock) = sweep::begin(&name)?;
        let mut cluster = Self {
            hosts: Vec::new(),
            record: settings.record,
            power: None,
            _lock: lock,
            dir,
            name,
        };
        cluster.build(settings)?;
        cluster.hosts.iter().try_for_each(&install)?;
        cluster.hosts.iter().try_for_each(Host::start)?;
        cluster.wait_served()?;
        Ok(cluster)
    }

    fn build(&mut self, settings: &Settings) -> Result<()> {
        let switch = self.switch();
        run(Command::new("ip").args(["netns", "add", &switch]))?;
        let in_switch = |args: &[&str]| run(Command::new("ip").args(["-n", &switch]).args(args));
        in_switch(&["link", "set", "lo", "up"])?;
        // By itself a bridge has the lowest hardware address of its ports, which come and go with the hosts: others would not know it any more.
        in_switch(&[
            "link",
            "add",
            "br0",
            "address",
            "02:00:00:00:00:fe",
            "type",
            "bridge",
        ])?;
        in_switch(&["link", "set", "br0", "up"])?;
        in_switch(&["addr", "add", "10.99.0.254/24", "dev", "br0"])?;
        fs::write(self.dir.join("probe.py"), include_str!("../host/probe.py"))?;
        let names: Vec<String> = (0..settings.hosts).map(Host::name_of).collect();
        let mut pools = Pools {
            devices: BTreeMap::new(),
            record: settings.record,
        };
        if settings.file_systems {
            pools.devices = self.format(&names, settings.record)?;
        }
        for index in 0..settings.hosts {
            let pair = [index & !1, index | 1].map(|i| (names[i].as_str(), i));
            let seed = cib::seed(&self.dir, pair, &pools);
            let host = Host::create((&self.dir, &self.name), index, pair)?;
            host.seed(&seed)?;
            self.hosts.push(host);
        }
        self.power = Some(PowerSwitch::begin(&self.dir, self.hosts.clone())?);
        Ok(())
    }

    /// Makes the disks of all pools: images behind loop devices, which all hosts see as they see the machine's other devices.
    fn format(&self, hosts: &[String], record: bool) -> Result<BTreeMap<String, String>> {
        let folder = sweep::images(&self.dir);
        fs::create_dir_all(&folder)?;
        let mut devices = BTreeMap::new();
        for pool in hosts.iter().flat_map(|host| cib::pools(host)) {
            let image = folder.join(format!("{pool}.img"));
            fs::File::create(&image)?.set_len(64 << 20)?;
            let mut mkfs = Command::new("mkfs.ext4");
            mkfs.args(["-q", "-F"]);
            if record && pool == cib::RECORD_POOL {
                mkfs.arg("-d").arg(self.with_record_folder()?);
            }
            run(mkfs.arg(&image))?;
            let mut attach = Command::new("losetup");
            let device = output(attach.args(["--find", "--show"]).arg(&image))?;
            devices.insert(pool, device.trim().to_owned());
        }
        Ok(devices)
    }

    /// What is on the record's pool from the start: a folder for the record.
    fn with_record_folder(&self) -> Result<PathBuf> {
        let root = self.dir.join("record-pool");
        let folder = root.join("evenkeel");
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        Ok(root)
    }

    /// The file of the record, where a host has it while it serves the pool.
    pub fn record_path(&self) -> String {
        cib::record_path()
    }

    /// The namespace of the network's switch. Clients are there too: it has the address 10.99.0.254.
    pub fn switch(&self) -> String {
        format!("ekh-{}-sw", self.name)
    }

    /// The folder of everything. Hosts see it at the same path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All hosts: `ctl-a`, `ctl-b`, …
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// One of them, by its number.
    pub fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    /// The address that belongs on a host and moves to its partner.
    pub fn address(&self, index: usize) -> String {
        cib::address(index)
    }

    /// A program that runs where clients are.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.switch(), program]);
        command
    }

    /// Asks an address every `every` who serves it, until it is dropped.
    pub fn probe(&self, address: &str, every: Duration) -> Result<Probe> {
        let mut command = self.client("python3");
        command.arg(self.dir.join("probe.py")).arg(address);
        command.arg(every.as_millis().to_string());
        Probe::begin(command.stdin(Stdio::null()))
    }

    /// Waits until Pacemaker serves every pool and LIF on every pair. Bounded.
    pub fn wait_served(&self) -> Result<()> {
        for pair in self.hosts.chunks(2) {
            let services = pair
                .iter()
                .map(|host| cib::services(host.name(), self.record));
            // And a fence device for each.
            let resources = pair.len() + services.sum::<usize>();
            let mut served = 0;
            for _ in 0..READY.as_millis() / LOOK.as_millis() {
                served = pair[0].services_started().unwrap_or(0);
                if served == resources {
                    break;
                }
                sleep(LOOK);
            }
            if served != resources {
                let host = &pair[0];
                bail!(
                    "after {READY:?} {served} of {resources} resources are started on {}'s pair; see {}",
                    host.name(),
                    host.dir().join("log/pacemaker/pacemaker.log").display()
                );
            }
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.power.take());
        for host in &self.hosts {
            if let Err(error) = host.dismantle() {
                eprintln!("{}: {error:#}", host.name());
            }
        }
        if let Err(error) = sweep::remove(&self.dir, &self.name) {
            eprintln!("cluster {}: {error:#}", self.name);
        }
    }
}
