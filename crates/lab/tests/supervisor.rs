//! The supervisor with real processes: a stand-in `evenkeeld` that does nothing but answer HTTPS.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use evenkeel_lab::{Control, LabFile, LabStatus, NodeStatus, PowerState, Probe};
use evenkeel_model::{MemberHa, Slot, TransitionId};
use evenkeel_platform::sim::Client;
use evenkeel_platform::{
    Addresses, BootSlots, Failover, GivebackRequest, Inventory, Power, TakeoverRequest,
};
use evenkeel_seam::{Ids, RandomIds};
use tempfile::TempDir;

const TESTBED: &str = env!("CARGO_BIN_EXE_evenkeel-lab-testbed");
/// Nothing here takes longer than seconds, unless it never comes.
const SOON: Duration = Duration::from_secs(60);

struct Lab {
    dir: PathBuf,
    supervisor: Child,
    _root: Option<TempDir>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.supervisor.kill().ok();
        self.supervisor.wait().ok();
    }
}

fn up_command(dir: &Path) -> Command {
    let mut command = Command::new(TESTBED);
    command.args(["lab", "up", "--nodes", "2", "--minute", "50ms"]);
    command.args(["--address", "127.0.0.1:0", "--evenkeeld", TESTBED]);
    command.arg("--dir").arg(dir);
    command
}

fn lab(arguments: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(TESTBED);
    command.arg("lab").args(arguments).arg("--dir").arg(dir);
    command.output().unwrap()
}

impl Lab {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // Longer than a socket's address.
        let dir = root.path().join("x".repeat(100)).join("lab");
        let mut lab = Self::up(&dir);
        lab._root = Some(root);
        lab
    }

    fn up(dir: &Path) -> Self {
        let mut supervisor = up_command(dir).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let stdout = supervisor.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self {
            dir: dir.to_owned(),
            supervisor,
            _root: None,
        }
    }

    async fn status(&self) -> LabStatus {
        Control::new(&self.dir).unwrap().status().await.unwrap()
    }

    async fn node(&self, name: &str) -> NodeStatus {
        let nodes = self.status().await.nodes;
        nodes.into_iter().find(|n| n.name.as_str() == name).unwrap()
    }

    /// Waits until a node is as it should be.
    async fn await_node(&self, name: &str, is: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
        let wait = async {
            loop {
                let node = self.node(name).await;
                if is(&node) {
                    return node;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(SOON, wait).await {
            Ok(node) => node,
            Err(_) => panic!("{name} is {:?}", self.node(name).await),
        }
    }

    async fn platform(&self, name: &str) -> Client {
        let socket = self.dir.join("nodes").join(name).join("hardware.sock");
        Client::connect(&socket).await.unwrap()
    }

    fn do_it(&self, arguments: &[&str]) {
        let output = lab(arguments, &self.dir);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// Has `node1` taken over by `node2`.
    async fn take_over(&self) -> TransitionId {
        let id = TransitionId(RandomIds.uuid());
        let by = self.platform("node2").await;
        let request = TakeoverRequest {
            id,
            partner_boot: self.platform("node1").await.boot_id().await.unwrap(),
            local_boot: by.boot_id().await.unwrap(),
        };
        by.take_over(&request).await.unwrap();
        self.await_node("node1", |n| n.ha == MemberHa::WaitingForGiveback)
            .await;
        id
    }

    async fn give_back(&self, id: TransitionId) {
        let by = self.platform("node2").await;
        let pools = by.pools().await.unwrap();
        for pool in pools.iter().filter(|pool| pool.home.as_str() == "node1") {
            let pool = Some(pool.name.clone());
            by.give_back(&GivebackRequest { id, pool }).await.unwrap();
        }
        for lif in by.lifs().await.unwrap() {
            by.send_home(&lif.name).await.unwrap();
        }
    }
}

/// Fills slot `b` of `node1` with an image, and makes it the default.
async fn install(lab: &Lab, daemon: impl FnOnce(&Path)) {
    let platform = lab.platform("node1").await;
    platform.mark_unbootable(Slot::B).await.unwrap();
    let slot = platform.path(Slot::B);
    fs::create_dir_all(slot.join("bin")).unwrap();
    daemon(&slot.join("bin/evenkeeld"));
    fs::create_dir_all(slot.join(".evenkeel")).unwrap();
    let refused = platform.set_default(Slot::B, 1).await.unwrap_err();
    assert!(refused.to_string().contains("no whole image"), "{refused}");
    fs::write(slot.join(".evenkeel/manifest.json"), r#"{"version":"2"}"#).unwrap();
    platform.set_default(Slot::B, 1).await.unwrap();
}

fn exe_of(pid: u32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).unwrap()
}

#[tokio::test]
async fn a_node_rolls_to_an_image_whose_own_daemon_then_runs_without_an_unexplained_gap() {
    let lab = Lab::new();
    let file = LabFile::read(&lab.dir).unwrap();
    assert_eq!((file.schema, file.nodes.len()), (1, 2));
    assert_eq!(exe_of(file.nodes[0].pid.unwrap()), Path::new(TESTBED));
    let probe = Probe::start(&lab.dir).unwrap();
    install(&lab, |path| {
        fs::copy(TESTBED, path).unwrap();
    })
    .await;
    let id = lab.take_over().await;
    let node = lab.await_node("node1", |n| n.pid.is_some()).await;
    assert_eq!(node.version().unwrap().as_str(), "2");
    lab.give_back(id).await;
    lab.platform("node1")
        .await
        .mark_good(Slot::B)
        .await
        .unwrap();
    let node = lab.await_node("node1", |n| n.ha == MemberHa::Serving).await;
    assert_eq!(node.lifs, ["lif_node1"]);
    let own = lab.dir.join("nodes/node1/slots/b/bin/evenkeeld");
    let running = async {
        // For a moment it is the guard that will become the daemon.
        while LabFile::read(&lab.dir).unwrap().nodes[0].pid.map(exe_of) != Some(own.clone()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, running).await.unwrap();
    let report = probe.finish().await;
    assert_eq!(report.gaps_outside().count(), 0, "{report:?}");
    assert!(report.longest_io_gap_ms <= 2_000, "{report:?}");
    assert!(report.reads > 0 && report.transitions_unknown.is_none());
    assert!(report.longest_pause_ms >= report.longest_io_gap_ms.max(1));
    assert_eq!(lab.status().await.broken, Vec::<String>::new());
}

#[tokio::test]
async fn an_image_whose_daemon_does_not_run_is_given_up_by_boot_counting() {
    let lab = Lab::new();
    install(&lab, |path| fs::write(path, "not a program").unwrap()).await;
    lab.take_over().await;
    let fell_back = |node: &NodeStatus| {
        let booted = node.slots.as_ref().map(|slots| slots.booted);
        booted == Some(Slot::A) && node.ha == MemberHa::WaitingForGiveback
    };
    let node = lab.await_node("node1", fell_back).await;
    assert_eq!(node.version().unwrap().as_str(), "1");
    assert_eq!(lab.node("node2").await.lifs.len(), 2);
}

/// More often than the watchdog of an image on trial bears.
#[tokio::test]
async fn killing_a_daemon_over_and_over_costs_no_io_while_its_node_serves_on_trial() {
    let lab = Lab::new();
    install(&lab, |path| {
        fs::copy(TESTBED, path).unwrap();
    })
    .await;
    let id = lab.take_over().await;
    lab.give_back(id).await;
    let serves = |n: &NodeStatus| n.ha == MemberHa::Serving && n.pid.is_some();
    let mut pid = lab.await_node("node1", serves).await.pid;
    let probe = Probe::start(&lab.dir).unwrap();
    for _ in 0..6 {
        lab.do_it(&["kill", "node1"]);
        let another = |n: &NodeStatus| n.pid.is_some() && n.pid != pid;
        pid = lab.await_node("node1", another).await.pid;
    }
    let report = probe.finish().await;
    assert_eq!(report.gaps.len(), 0, "{report:?}");
    let booted = lab.node("node1").await.slots.map(|slots| slots.booted);
    assert_eq!(booted, Some(Slot::B));
}

#[tokio::test]
async fn killing_a_daemon_costs_no_io_and_power_loss_a_bounded_gap() {
    let lab = Lab::new();
    let old = lab.node("node1").await.pid.unwrap();
    let probe = Probe::start(&lab.dir).unwrap();
    lab.do_it(&["kill", "node1"]);
    lab.await_node("node1", |n| n.pid.is_some_and(|pid| pid != old))
        .await;
    assert_eq!(probe.longest_unexplained_gap(), Duration::ZERO);
    lab.do_it(&["fault", "power-off", "node1"]);
    let partner = lab.await_node("node2", |n| n.lifs.len() == 2).await;
    assert_eq!(partner.ha, MemberHa::Serving);
    let node = lab.node("node1").await;
    assert_eq!((node.ha, node.pid), (MemberHa::Fenced, None));
    lab.do_it(&["power-on", "node1"]);
    lab.await_node("node1", |n| n.ha == MemberHa::WaitingForGiveback)
        .await;
    lab.do_it(&["giveback", "node1"]);
    lab.await_node("node1", |n| n.ha == MemberHa::Serving && n.pid.is_some())
        .await;
    let report = probe.finish().await;
    assert!(report.longest_io_gap_ms >= 900, "{report:?}");
    assert!(report.longest_io_gap_ms <= 3_000, "{report:?}");
}

#[tokio::test]
async fn a_lab_goes_on_where_it_was_even_after_its_supervisor_was_killed() {
    let mut lab = Lab::new();
    let before = LabFile::read(&lab.dir).unwrap();
    let boot = lab.node("node1").await.boot_id;
    lab.do_it(&["fault", "cut", "node2"]);
    let link = fs::read_to_string(lab.dir.join("nodes/node2/link.json")).unwrap();
    assert_eq!(link, r#"{"cut":true,"delay_ms":0}"#);
    let second = up_command(&lab.dir).output().unwrap();
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("is running in"), "{error}");
    lab.take_over().await;
    lab.supervisor.kill().unwrap();
    lab.supervisor.wait().unwrap();
    let pids: Vec<u32> = before.nodes.iter().filter_map(|node| node.pid).collect();
    let gone = async {
        while pids
            .iter()
            .any(|pid| Path::new(&format!("/proc/{pid}")).exists())
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
    let output = lab_output(&lab.dir, &["status"]);
    assert!(output.contains("no lab is running in"), "{output}");

    let again = Lab::up(&lab.dir);
    let after = LabFile::read(&lab.dir).unwrap();
    assert_eq!(
        (&after.url, &after.password),
        (&before.url, &before.password)
    );
    let node = again.await_node("node1", |n| n.boot_id.is_some()).await;
    assert_ne!(node.boot_id, boot);
    assert_eq!(node.ha, MemberHa::WaitingForGiveback);
    let node = again.await_node("node2", |n| n.boot_id.is_some()).await;
    assert_eq!((node.ha, node.lifs.len()), (MemberHa::Serving, 2));
    again.do_it(&["down"]);
    let ended = LabFile::read(&lab.dir).unwrap();
    assert!(ended.nodes.iter().all(|node| node.pid.is_none()));
}

fn lab_output(dir: &Path, arguments: &[&str]) -> String {
    let output = lab(arguments, dir);
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn sigterm_ends_a_lab_cleanly_and_errors_say_what_is_wrong() {
    let mut lab = Lab::new();
    let error = lab_output(&lab.dir, &["fault", "power-off", "node9"]);
    assert!(error.contains("there is no node node9"), "{error}");
    let error = lab_output(&lab.dir, &["fault", "tea-break", "node1"]);
    assert!(error.contains("there is no fault \"tea-break\""), "{error}");
    let error = lab_output(&lab.dir, &["giveback", "node1"]);
    assert!(error.contains("node1 has all its pools"), "{error}");
    lab.do_it(&["fault", "hang-boot", "node1"]);
    lab.do_it(&["reset", "node1"]);
    lab.await_node("node1", |n| {
        matches!(n.power, PowerState::Booting { until: None, .. })
    })
    .await;
    let table = self::lab(&["status"], &lab.dir);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.contains("boot hangs") && table.contains("hang-boot"),
        "{table}"
    );
    let events = self::lab(&["events"], &lab.dir);
    assert!(
        String::from_utf8(events.stdout)
            .unwrap()
            .contains("reset: by hand")
    );

    let pid = nix::unistd::Pid::from_raw(lab.supervisor.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(lab.supervisor.wait().unwrap().success());
    assert!(!lab.dir.join("control.sock").exists());
    let mut log = String::new();
    let path = lab.dir.join("nodes/node2/evenkeeld.log");
    fs::File::open(path)
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(log.contains("node2 runs in boot"), "{log}");
}

#[test]
fn faults_are_listed_without_a_lab() {
    let output = Command::new(TESTBED)
        .args(["lab", "fault", "--list"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("bad-image"), "{text}");
    assert!(text.contains("blind-space"), "{text}");
}
