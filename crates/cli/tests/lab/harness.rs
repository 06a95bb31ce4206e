//! A lab of real processes for one test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use evenkeel_lab::{LabFile, LabStatus, ProbeReport};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Labs of one machine take turns: each keeps both cores of a small one busy.
static TURN: Mutex<()> = Mutex::new(());
/// Longest that anything here may take. Far above what it takes: a busy machine fails nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(50);

pub(crate) const OLD: &str = "9.10.1";

pub(crate) struct Lab {
    pub(crate) dir: PathBuf,
    up: Option<Child>,
    nodes: usize,
    /// More options of `lab up`.
    options: Vec<String>,
    folder: Option<tempfile::TempDir>,
    _turn: MutexGuard<'static, ()>,
}

/// Waits for this machine to be free of other labs.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn evenkeel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.stdin(Stdio::null());
    for name in ["EVENKEEL_LAB", "EVENKEEL_URL", "EVENKEEL_LOG"] {
        command.env_remove(name);
    }
    command
}

impl Lab {
    pub(crate) fn up(nodes: usize) -> Self {
        Self::up_with(nodes, &[])
    }

    pub(crate) fn up_with(nodes: usize, options: &[&str]) -> Self {
        let daemon = Path::new(env!("CARGO_BIN_EXE_evenkeel")).with_file_name("evenkeeld");
        assert!(
            daemon.exists(),
            "evenkeeld is not built: cargo build -p evenkeel-daemon"
        );
        let turn = turn();
        // Short: sockets live below it.
        let folder = tempfile::Builder::new().prefix("ek").tempdir().unwrap();
        let dir = folder.path().join("l");
        let mut lab = Self {
            dir,
            up: None,
            nodes,
            options: options.iter().map(|it| (*it).to_owned()).collect(),
            folder: Some(folder),
            _turn: turn,
        };
        lab.start();
        lab
    }

    /// Starts the lab's supervisor, and waits until every node has said what it runs.
    pub(crate) fn start(&mut self) {
        fs::create_dir_all(&self.dir).unwrap();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("lab.log"))
            .unwrap();
        let mut up = evenkeel();
        up.args([
            "lab",
            "up",
            "--minute",
            "50ms",
            "--address",
            "127.0.0.1:0",
            "--nodes",
        ]);
        up.arg(self.nodes.to_string()).arg("--dir").arg(&self.dir);
        up.args(&self.options);
        let mut child = up.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        self.up = Some(child);
        let ready = output
            .lines()
            .map_while(Result::ok)
            .any(|line| line == "ready");
        assert!(ready, "the lab did not come up: {}", self.log("lab.log"));
        let nodes = self.nodes;
        self.until("every node's version", |lab| {
            let software = lab.json(&["image", "show"]);
            let known = software["nodes"].as_array()?;
            let versions: Vec<_> = known.iter().filter_map(|n| n["version"].as_str()).collect();
            (versions.len() == nodes && !versions.contains(&"unknown")).then_some(())
        });
    }

    /// Ends the lab as an operator does.
    pub(crate) fn down(&mut self) {
        if let Some(mut up) = self.up.take() {
            kill(Pid::from_raw(up.id() as i32), Signal::SIGTERM).unwrap();
            let status = up.wait().unwrap();
            assert!(status.success(), "{status}: {}", self.log("lab.log"));
        }
    }

    /// Kills the supervisor, and with it everything it started.
    pub(crate) fn pull_the_plug(&mut self) {
        if let Some(mut up) = self.up.take() {
            up.kill().unwrap();
            up.wait().unwrap();
        }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let lab_command = arguments[0] == "lab";
        let mut command = evenkeel();
        match lab_command {
            true => command.args(arguments).arg("--dir").arg(&self.dir),
            false => command.arg("--lab").arg(&self.dir).args(arguments),
        };
        command.output().unwrap()
    }

    /// What a command says when it does what was asked.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = text(&output);
        assert!(
            output.status.success(),
            "{arguments:?}: {said}\n{}",
            self.tail()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command says when it does not; the exit code must be this one.
    pub(crate) fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let said = text(&output);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {said}\n{}",
            self.tail()
        );
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
    }

    pub(crate) fn status(&self) -> LabStatus {
        serde_json::from_value(self.json(&["lab", "status"])).unwrap()
    }

    pub(crate) fn state(&self) -> Option<String> {
        self.json(&["image", "show"])["state"]
            .as_str()
            .map(str::to_owned)
    }

    pub(crate) fn versions(&self) -> BTreeMap<String, String> {
        let software = self.json(&["image", "show"]);
        let nodes = software["nodes"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        nodes
            .iter()
            .map(|node| (text(&node["name"]), text(&node["version"])))
            .collect()
    }

    /// Looks until there is something.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            if let Some(found) = look(self) {
                return found;
            }
            thread::sleep(LOOK);
        }
        panic!("{what} did not come\n{}", self.tail());
    }

    /// The update's state once it stands still or is over.
    pub(crate) fn settled(&self) -> String {
        self.until("the end of the update", |lab| {
            let state = lab.state()?;
            let still = [
                "completed",
                "canceled",
                "failed",
                "paused_by_user",
                "paused_on_error",
            ];
            still.contains(&state.as_str()).then_some(state)
        })
    }

    /// Makes a package of that version bigger than it would be, and it does not compress.
    pub(crate) fn add_noise(&self, version: &str, bytes: usize) {
        let tree = self.dir.join(format!("tree-{version}/etc"));
        fs::create_dir_all(&tree).unwrap();
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        fs::write(tree.join("noise"), noise.take(bytes).collect::<Vec<_>>()).unwrap();
    }

    /// Builds a small package, signed with the lab's key.
    pub(crate) fn package(&self, version: &str) -> PathBuf {
        let key = LabFile::read(&self.dir).unwrap().signing_key;
        self.package_with(version, &key, &[])
    }

    pub(crate) fn package_with(&self, version: &str, key: &Path, more: &[&str]) -> PathBuf {
        let tree = self.dir.join(format!("tree-{version}"));
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/motd"), version.repeat(100_000)).unwrap();
        let file = self.dir.join(format!("{version}.tgz"));
        let mut build = evenkeel();
        build
            .args(["package", "build", "--version", version, "--root"])
            .arg(&tree);
        build.arg("--key").arg(key).arg("-o").arg(&file).args(more);
        let output = build.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        file
    }

    /// Builds and uploads.
    pub(crate) fn upload(&self, version: &str) {
        let package = self.package(version);
        self.ok(&["image", "package", "upload", package.to_str().unwrap()]);
    }

    /// Kills a node's daemon, and nothing else. It may be down just now.
    pub(crate) fn kill_daemon(&self, node: &str) {
        self.signal_daemon(node, Signal::SIGKILL);
    }

    pub(crate) fn signal_daemon(&self, node: &str, signal: Signal) {
        let lab = LabFile::read(&self.dir).unwrap();
        let found = lab.nodes.iter().find(|known| known.name.as_str() == node);
        if let Some(pid) = found.unwrap().pid {
            // Gone by itself in this very moment, perhaps.
            let _ = kill(Pid::from_raw(pid as i32), signal);
        }
    }

    pub(crate) fn partner(&self, node: &str) -> String {
        let lab = LabFile::read(&self.dir).unwrap();
        let found = lab
            .nodes
            .iter()
            .find(|known| known.name.as_str() == node)
            .unwrap();
        found.partner.to_string()
    }

    pub(crate) fn node_names(&self) -> Vec<String> {
        let lab = LabFile::read(&self.dir).unwrap();
        lab.nodes.iter().map(|node| node.name.to_string()).collect()
    }

    /// Every event of the record from now on, as the command line prints them.
    pub(crate) fn follow_events(&self) -> Events {
        let mut command = evenkeel();
        command
            .arg("--lab")
            .arg(&self.dir)
            .args(["events", "--follow"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, heard) = channel();
        let coordinator = Arc::new(Mutex::new(None));
        let newest = Arc::clone(&coordinator);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap();
                if event["event"]["type"] == "coordinator_elected" {
                    let node = event["event"]["node"].as_str().map(str::to_owned);
                    *newest.lock().unwrap() = node;
                }
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Events {
            child,
            heard,
            coordinator,
        }
    }

    /// Who coordinates, by the record.
    pub(crate) fn coordinator(&self) -> String {
        let events = self.ok(&["events"]);
        let events = events
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut elected = events.filter(|line| line["event"]["type"] == "coordinator_elected");
        elected.next_back().unwrap()["event"]["node"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Begins to read through every LIF.
    pub(crate) fn probe(&self) -> Probing {
        let mut command = evenkeel();
        command
            .args(["lab", "probe", "--dir"])
            .arg(&self.dir)
            .stdout(Stdio::piped());
        Probing(command.stderr(Stdio::null()).spawn().unwrap())
    }

    /// What must hold of the hardware whatever happened: no act of ours took a pair out of service.
    pub(crate) fn assert_no_harm(&self) {
        let status = self.json(&["lab", "status"]);
        assert_eq!(status["broken"], serde_json::json!([]), "{}", self.tail());
        let ours = |incident: &&Value| incident["cause"].to_string().contains("ours");
        let incidents = status["incidents"].as_array().unwrap();
        assert!(
            !incidents.iter().any(|i| ours(&i)),
            "{incidents:?}\n{}",
            self.tail()
        );
    }

    /// A node's copy of the only package that was uploaded.
    pub(crate) fn archive(&self, node: &str) -> Option<PathBuf> {
        let packages = self
            .dir
            .join("nodes")
            .join(node)
            .join("data/packages/packages");
        let mut found = fs::read_dir(packages).unwrap().map(|entry| entry.unwrap());
        let archive = found.next()?.path().join("archive.tgz");
        assert!(found.next().is_none(), "there are several packages");
        Some(archive)
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// The last lines of all logs, for whoever must find out what went wrong.
    pub(crate) fn tail(&self) -> String {
        let last = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(12)..].join("\n")
        };
        let mut all = format!("-- lab\n{}\n", last(self.log("lab.log")));
        for node in 1..=self.nodes {
            let log = self.log(&format!("nodes/node{node}/evenkeeld.log"));
            all += &format!("-- node{node}\n{}\n", last(log));
        }
        all
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.pull_the_plug();
        if thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            eprintln!("logs and databases stay in {}", folder.keep().display());
        }
    }
}

pub(crate) struct Events {
    child: Child,
    heard: Receiver<Value>,
    coordinator: Arc<Mutex<Option<String>>>,
}

impl Events {
    /// The next event.
    pub(crate) fn next(&self) -> Value {
        self.heard.recv_timeout(PATIENCE).unwrap()
    }

    /// Who coordinates, by the newest event heard.
    pub(crate) fn coordinator(&self) -> Option<String> {
        self.coordinator.lock().unwrap().clone()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Gone already, perhaps.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A probe that reads until it is finished.
pub(crate) struct Probing(Child);

impl Probing {
    pub(crate) fn finish(self) -> ProbeReport {
        kill(Pid::from_raw(self.0.id() as i32), Signal::SIGINT).unwrap();
        let output = self.0.wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}
