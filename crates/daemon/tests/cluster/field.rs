//! Several real `evenkeeld` on one machine, as freshly installed: on simulated hardware that the test keeps, with one record
//! for all, and without certificates.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::*;
use evenkeel_platform::sim::{Hardware, HardwareSettings, Machine, Request, Response};
use serde_json::{Value, json};

use crate::address::free_address;

/// Longest that anything here may take: generous, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) struct Field {
    pub(crate) dir: PathBuf,
    pub(crate) machine: Arc<Machine>,
    pub(crate) runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

/// One installed machine.
pub(crate) struct Host {
    pub(crate) node: String,
    pub(crate) dir: PathBuf,
    pub(crate) rest: String,
    daemon: Option<Child>,
}

pub(crate) fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

impl Field {
    /// The hardware of two pairs: n1 with n2, n3 with n4.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_owned();
        std::fs::create_dir(dir.join("record")).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let machine = runtime.block_on(async { hardware() });
        let effects = Arc::clone(&machine);
        runtime.spawn(async move {
            loop {
                effects.next_effects().await;
            }
        });
        Self {
            dir,
            machine,
            runtime,
            _folder: folder,
        }
    }

    /// A machine with the package installed, its daemon not started yet.
    pub(crate) fn host(&self, node: &str) -> Host {
        self.host_in(node, node)
    }

    /// The same, in a folder of another name: another machine that is called so.
    pub(crate) fn host_in(&self, node: &str, folder: &str) -> Host {
        let dir = self.dir.join(folder);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("link.json"), "{}").unwrap();
        let (rest, interconnect) = (free_address(), free_address());
        let (own, all) = (dir.display(), self.dir.display());
        let text = format!(
            "node = \"{node}\"\ndata = \"{own}/data\"\n\
             [rest]\nlisten = \"{rest}\"\n\
             [interconnect]\nlisten = \"{interconnect}\"\n\
             [record]\nbackend = \"sqlite\"\npath = \"{all}/record/record.db\"\n\
             [platform]\nbackend = \"sim\"\nsocket = \"{own}/hardware\"\n\
             [lab]\nminute_ms = 1\nlink = \"{own}/link.json\"\n"
        );
        std::fs::write(dir.join("evenkeeld.toml"), text).unwrap();
        self.serve_hardware(&name(node), &dir);
        Host {
            node: node.to_owned(),
            dir,
            rest,
            daemon: None,
        }
    }

    fn serve_hardware(&self, node: &NodeName, dir: &Path) {
        let listener = UnixListener::bind(dir.join("hardware")).unwrap();
        let (machine, node, slots) = (Arc::clone(&self.machine), node.clone(), dir.join("slots"));
        let handle = self.runtime.handle().clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                // A daemon that was killed while it asked.
                if BufReader::new(&stream).read_line(&mut line).is_err() {
                    continue;
                }
                let _entered = handle.enter();
                let response = match serde_json::from_str(&line) {
                    Ok(Request::Hello) => Response::Hello {
                        node: node.clone(),
                        slots: slots.clone(),
                    },
                    Ok(Request::Call { command }) => match machine.call(&node, None, &command) {
                        Ok(reply) => Response::Reply { reply },
                        Err(error) => Response::Failed { error },
                    },
                    Err(_) => continue,
                };
                let mut answer = serde_json::to_vec(&response).unwrap();
                answer.push(b'\n');
                let _ = stream.write_all(&answer);
            }
        });
    }

    /// The HA state of a node, as its own pair sees it.
    pub(crate) fn ha(&self, node: &str) -> Option<MemberHa> {
        self.machine
            .with(|hardware, _| hardware.ha(&name(node)))
            .unwrap()
    }
}

impl Field {
    /// An admin has a node taken over.
    pub(crate) fn take_over(&self, node: &str) {
        let taken = self
            .machine
            .with(|hardware, now| hardware.take_over_by_hand(&name(node), now));
        taken.unwrap().unwrap().unwrap();
    }
}

fn hardware() -> Arc<Machine> {
    let node = |own: &str, partner: &str| NodeConfig {
        id: NodeId(uuid::Uuid::from_u128(u128::from(own.as_bytes()[1]))),
        name: name(own),
        partner: Some(name(partner)),
        interconnect: String::new(),
        rest: String::new(),
        platform: "lab-x86_64".parse().unwrap(),
        variant: None,
        features: Vec::new(),
        site: None,
        lifs: Vec::new(),
    };
    let id = ClusterId(uuid::Uuid::from_u128(7));
    let nodes = vec![
        node("n1", "n2"),
        node("n2", "n1"),
        node("n3", "n4"),
        node("n4", "n3"),
    ];
    let topology = Topology::new(id, "hardware".to_owned(), nodes).unwrap();
    let settings = HardwareSettings {
        minute_ms: 1,
        ..HardwareSettings::default()
    };
    let mut hardware = Hardware::new(&topology, settings);
    let image = SlotImage {
        digest: Digest([7; 32]),
        version: "1.0".parse().unwrap(),
    };
    for node in topology.names() {
        hardware
            .set_image(node, Slot::A, Some(image.clone()))
            .unwrap();
    }
    hardware.cold_start(0);
    Machine::new(hardware)
}

impl Host {
    /// Starts its daemon.
    pub(crate) fn start(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeeld"));
        command.arg("--config").arg(self.dir.join("evenkeeld.toml"));
        command.stderr(log.unwrap()).stdin(Stdio::null());
        self.daemon = Some(command.spawn().unwrap());
    }

    /// Starts it, and waits until it answers over its socket.
    pub(crate) fn up(mut self) -> Self {
        self.start();
        self.until("its socket", || self.ask("GET", "", &Value::Null).map(drop));
        self
    }

    /// What one of the commands that units of systemd's wait by comes to, and says.
    pub(crate) fn waits_by(&self, command: &str) -> (Option<i32>, String) {
        let within = PATIENCE.as_secs().to_string();
        let mut run = Command::new("timeout");
        run.arg(within).arg(env!("CARGO_BIN_EXE_evenkeeld"));
        run.arg("--config").arg(self.dir.join("evenkeeld.toml"));
        let output = run.arg(command).stdin(Stdio::null()).output().unwrap();
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub(crate) fn pki(&self, name: &str) -> PathBuf {
        self.dir.join("data/pki").join(name)
    }

    /// Looks until there is something; the log helps when there never is.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..PATIENCE.as_millis() / 50 {
            if let Some(found) = look() {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{}: {what} did not come\n{}", self.node, self.log());
    }

    /// Asks over the local socket; none while it is not there, or when the answer breaks off.
    pub(crate) fn ask(&self, method: &str, call: &str, body: &Value) -> Option<(u16, Value)> {
        ask(&self.dir.join("data/local.sock"), method, call, body)
    }

    /// Asks for a change, and waits for the answer.
    pub(crate) fn post(&self, call: &str, body: &Value) -> (u16, Value) {
        let answer = self.ask("POST", call, body);
        answer.unwrap_or_else(|| panic!("{}: no answer to {call}\n{}", self.node, self.log()))
    }

    /// What must succeed.
    pub(crate) fn must(&self, call: &str, body: &Value) -> Value {
        let (status, answer) = self.post(call, body);
        assert_eq!(
            status,
            200,
            "{} {call}: {answer}\n{}",
            self.node,
            self.log()
        );
        answer
    }

    /// Why something was refused.
    pub(crate) fn refused(&self, call: &str, body: &Value) -> String {
        let (status, answer) = self.post(call, body);
        assert!(status >= 400, "{} {call}: {answer}", self.node);
        answer["error"]["message"].as_str().unwrap().to_owned()
    }

    pub(crate) fn shown(&self) -> Value {
        let (_, shown) = self.until("its socket", || self.ask("GET", "", &Value::Null));
        shown
    }

    /// Waits until it is that to its cluster.
    pub(crate) fn becomes(&self, state: &str) -> Value {
        self.until(state, || {
            let (_, shown) = self.ask("GET", "", &Value::Null)?;
            (shown["state"] == state).then_some(shown)
        })
    }

    pub(crate) fn init(&self) -> Value {
        self.must("/init", &init_body());
        self.becomes("member")
    }

    pub(crate) fn token(&self) -> String {
        let made = self.must("/token", &json!({}));
        made["token"].as_str().unwrap().to_owned()
    }

    /// Waits until it knows of so many members that all answer.
    pub(crate) fn sees(&self, members: usize) {
        self.until("the members", || {
            let (_, shown) = self.ask("GET", "", &Value::Null)?;
            let nodes = shown["nodes"].as_array()?;
            let all = nodes.len() == members && nodes.iter().all(|it| it["answers"] == true);
            all.then_some(())
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn init_body() -> Value {
    let node = json!({ "platform": "lab-x86_64" });
    json!({ "name": "prod", "user": "admin", "password": PASSWORD, "node": node })
}

pub(crate) fn join_body(token: &str, partner: Option<&str>) -> Value {
    json!({ "token": token, "partner": partner, "node": { "platform": "lab-x86_64" } })
}

/// One call over a socket.
pub(crate) fn ask(socket: &Path, method: &str, call: &str, body: &Value) -> Option<(u16, Value)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let length = body.len();
    let request = format!(
        "{method} /evenkeel/v1/local/cluster{call} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

impl Host {
    /// So many members are shown, beside whatever candidates there are.
    pub(crate) fn sees_only_members(&self, members: usize) {
        let shown = self.shown();
        let nodes = shown["nodes"].as_array().unwrap();
        let count = nodes.iter().filter(|it| it["state"] == "member").count();
        assert_eq!(count, members, "{shown}");
    }
}
