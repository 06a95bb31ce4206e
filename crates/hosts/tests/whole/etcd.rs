//! Three members of etcd beside the hosts, on their network.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use evenkeel_hosts::Cluster;
use serde_json::Value;

use crate::site::until;

const MEMBERS: usize = 3;
const READY: Duration = Duration::from_secs(60);

/// The members, which are killed when this is dropped.
pub(crate) struct Etcd {
    folder: tempfile::TempDir,
    /// What goes before a program that is to run where clients are.
    inside: String,
    members: Vec<Option<Child>>,
}

/// Where they listen for clients; the hosts' configuration needs it before there is a network.
pub(crate) fn endpoints() -> Vec<String> {
    (0..MEMBERS).map(endpoint).collect()
}

fn endpoint(index: usize) -> String {
    format!("http://{}:2379", address(index))
}

fn address(index: usize) -> String {
    format!("10.99.0.{}", 201 + index)
}

impl Etcd {
    /// Starts them, and waits until they have a leader.
    pub(crate) fn start(cluster: &Cluster) -> Result<Self> {
        let inside = cluster.switch();
        for index in 0..MEMBERS {
            let address = format!("{}/24", address(index));
            let mut add = Command::new("ip");
            add.args(["-n", &inside, "address", "add", &address, "dev", "br0"]);
            anyhow::ensure!(add.status()?.success(), "{add:?}");
        }
        let mut etcd = Self {
            folder: tempfile::tempdir()?,
            inside,
            members: Vec::new(),
        };
        for index in 0..MEMBERS {
            let member = etcd.launch(index)?;
            etcd.members.push(Some(member));
        }
        until("a leader of etcd", READY, || etcd.leader())?;
        Ok(etcd)
    }

    fn launch(&self, index: usize) -> Result<Child> {
        let peer = |index: usize| format!("http://{}:2380", address(index));
        let all = (0..MEMBERS).map(|index| format!("m{index}={}", peer(index)));
        let all = all.collect::<Vec<_>>().join(",");
        let mut command = self.command("etcd");
        command.args(["--name", &format!("m{index}"), "--data-dir"]);
        command.arg(self.folder.path().join(format!("m{index}")));
        for (option, value) in [
            ("--listen-client-urls", endpoint(index)),
            ("--advertise-client-urls", endpoint(index)),
            ("--listen-peer-urls", peer(index)),
            ("--initial-advertise-peer-urls", peer(index)),
            ("--initial-cluster", all),
            ("--log-level", "warn".to_owned()),
        ] {
            command.args([option, &value]);
        }
        let log = File::create(self.folder.path().join(format!("m{index}.log")))?;
        command.stdout(Stdio::null()).stderr(log);
        command.spawn().context("etcd-server is not installed")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.inside]);
        // It must not outlive a test that is killed.
        command.args(["setpriv", "--pdeathsig", "KILL", program]);
        command.env("ETCDCTL_API", "3").stdin(Stdio::null());
        command
    }

    /// The member that leads, if there is one.
    fn leader(&self) -> Option<usize> {
        (0..MEMBERS).find(|index| {
            let mut command = self.command("etcdctl");
            command.args(["--endpoints", &endpoint(*index), "--command-timeout=2s"]);
            command.args(["endpoint", "status", "-w", "json"]);
            let Ok(output) = command.output() else {
                return false;
            };
            let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let status = &said[0]["Status"];
            status["leader"].is_number() && status["leader"] == status["header"]["member_id"]
        })
    }

    /// Kills the member that leads, as by power loss, and says which one that was.
    pub(crate) fn kill_leader(&mut self) -> Result<usize> {
        let index = until("a leader of etcd", READY, || self.leader())?;
        let member = self.members[index].as_mut().context("a dead one leads")?;
        member.kill()?;
        member.wait()?;
        self.members[index] = None;
        Ok(index)
    }

    /// What the members said, for a test that failed.
    pub(crate) fn logs(&self) -> String {
        let read = |index| fs::read_to_string(self.folder.path().join(format!("m{index}.log")));
        let logs = (0..MEMBERS).map(|index| read(index).unwrap_or_default());
        logs.collect()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in self.members.iter_mut().flatten() {
            let _gone = member.kill();
            let _gone = member.wait();
        }
    }
}
