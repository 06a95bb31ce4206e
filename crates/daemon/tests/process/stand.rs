//! One real `evenkeeld` on simulated hardware that this test keeps.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_model::*;
use evenkeel_platform::sim::{Hardware, HardwareSettings, Machine, Request, Response};
use evenkeel_rest::hash_password;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::address::free_address;

/// Longest that anything here may take: generous, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Stand {
    pub(crate) dir: PathBuf,
    pub(crate) url: String,
    agent: ureq::Agent,
    told: Arc<Mutex<VecDeque<String>>>,
    pub(crate) machine: Arc<Machine>,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

pub(crate) struct Daemon(Child);

/// Both nodes of a pair, whose record is on a pool that both see: a folder of the first one's.
pub(crate) fn pair() -> [Stand; 2] {
    let topology = topology(Some("n2".parse().unwrap()));
    let (machine, ca) = (hardware(&topology), Ca::new());
    let node = |number: usize, pool: Option<&Path>| {
        let partner = &topology.nodes[1 - number];
        let record = |dir: &Path| {
            let pool = pool.map_or_else(|| dir.join("pool"), Path::to_owned);
            std::fs::create_dir_all(&pool).unwrap();
            format!(
                "backend = \"shared_pool\"\npath = \"{}/record.db\"\npartner = \"{}\"\n\
                 partner_address = \"{}\"\nseat = \"{}/record-seat\"\nmust_be_mounted = false\n",
                pool.display(),
                partner.name,
                partner.interconnect,
                dir.display()
            )
        };
        Stand::node(number, &topology, Arc::clone(&machine), &ca, "", record)
    };
    let first = node(0, None);
    let second = node(1, Some(&first.dir.join("pool")));
    [first, second]
}

impl Stand {
    /// Prepares a single-node cluster that believes packages of `trusted`.
    pub(crate) fn new(trusted: &str) -> Self {
        Self::of(trusted, None)
    }

    /// Prepares a node of a pair, whose partner `n2` is hardware alone.
    pub(crate) fn paired() -> Self {
        Self::of("", Some("n2".parse().unwrap()))
    }

    fn of(trusted: &str, partner: Option<NodeName>) -> Self {
        let topology = topology(partner);
        let machine = hardware(&topology);
        let record = |dir: &Path| {
            let dir = dir.display();
            format!("backend = \"sqlite\"\npath = \"{dir}/record/record.db\"\n")
        };
        Self::node(0, &topology, machine, &Ca::new(), trusted, record)
    }

    /// The topology's node of that number. `record` says where its record is, below its folder.
    fn node(
        number: usize,
        topology: &Topology,
        machine: Arc<Machine>,
        ca: &Ca,
        trusted: &str,
        record: impl FnOnce(&Path) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_owned();
        let config = &topology.nodes[number];
        let node = config.name.clone();
        let users = vec![("admin".parse().unwrap(), hash_password("secret").unwrap())];
        let bootstrap = Bootstrap {
            topology: topology.clone(),
            users,
            trusted_keys: vec![trusted.to_owned()],
        };
        write(
            &dir,
            "bootstrap.json",
            &serde_json::to_vec(&bootstrap).unwrap(),
        );
        ca.certificates(&dir, node.as_str());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        serve_hardware(&machine, &runtime, &node, &dir);
        let told = listen_for_systemd(&dir);
        let record = record(&dir);
        write(
            &dir,
            "evenkeeld.toml",
            settings(&dir, config, &record).as_bytes(),
        );
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .tls_config(trust_anyone())
            .build()
            .new_agent();
        let url = format!("https://{}", config.rest);
        Self {
            dir,
            url,
            agent,
            told,
            machine,
            _runtime: runtime,
            _folder: folder,
        }
    }

    /// Starts the daemon and waits until it tells systemd that it is ready.
    pub(crate) fn start(&self) -> Daemon {
        let daemon = self.begin();
        self.until("READY", || self.was_told("READY=1").then_some(()));
        daemon
    }

    /// Starts the daemon.
    pub(crate) fn begin(&self) -> Daemon {
        self.begin_with(&[])
    }

    /// Starts the daemon, with more in its environment.
    pub(crate) fn begin_with(&self, environment: &[(&str, &str)]) -> Daemon {
        self.told.lock().unwrap().clear();
        let log = std::fs::File::create(self.dir.join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeeld"));
        command.arg("--config").arg(self.dir.join("evenkeeld.toml"));
        command
            .env("NOTIFY_SOCKET", self.dir.join("notify"))
            .envs(environment.iter().copied())
            .stderr(log)
            .stdin(Stdio::null());
        Daemon(command.spawn().unwrap())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    pub(crate) fn was_told(&self, what: &str) -> bool {
        self.times_told(what) > 0
    }

    pub(crate) fn times_told(&self, what: &str) -> usize {
        let told = self.told.lock().unwrap();
        told.iter().filter(|line| line.contains(what)).count()
    }

    /// Looks until there is something; the log helps when there never is.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..PATIENCE.as_millis() / 50 {
            if let Some(found) = look() {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{what} did not come\n{}", self.log());
    }

    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> (u16, Value) {
        self.call_with("secret", method, path, body)
    }

    /// With another password.
    pub(crate) fn call_with(
        &self,
        password: &str,
        method: &str,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> (u16, Value) {
        let credentials = STANDARD.encode(format!("admin:{password}"));
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Basic {credentials}"));
        let (kind, bytes) = body.unwrap_or(("application/json", Vec::new()));
        request = request.header("content-type", kind);
        let mut response = match bytes.is_empty() {
            true => self.agent.run(request.body(()).unwrap()),
            false => self.agent.run(request.body(bytes).unwrap()),
        }
        .unwrap_or_else(|error| {
            let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            panic!("{method} {path}: {error}\n{log}")
        });
        let text = response.body_mut().read_to_string().unwrap();
        (
            response.status().as_u16(),
            serde_json::from_str(&text).unwrap_or(Value::Null),
        )
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, None);
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// The job of an answer, once it is over.
    pub(crate) fn job(&self, answer: &Value) -> Value {
        let href = answer["job"]["_links"]["self"]["href"].as_str();
        let href = href
            .unwrap_or_else(|| panic!("{answer} names no job"))
            .to_owned();
        self.until("the job's end", || {
            let job = self.get(&href);
            matches!(job["state"].as_str(), Some("success" | "failure")).then_some(job)
        })
    }

    /// Uploads a package.
    pub(crate) fn upload(&self, package: &[u8]) -> (u16, Value) {
        let mut body = b"--frontier\r\nContent-Disposition: form-data; name=\"file\"; \
            filename=\"p.tgz\"\r\nContent-Type: application/octet-stream\r\n\r\n"
            .to_vec();
        body.extend_from_slice(package);
        body.extend_from_slice(b"\r\n--frontier--\r\n");
        let kind = "multipart/form-data; boundary=frontier";
        self.call("POST", "/api/cluster/software/upload", Some((kind, body)))
    }
}

impl Daemon {
    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> std::process::ExitStatus {
        self.0.wait().unwrap()
    }

    /// What it has in memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        let kilobytes = line.unwrap().split_whitespace().next().unwrap();
        kilobytes.parse::<u64>().unwrap() * 1024
    }

    /// Ends it as systemd does, and says how it ended.
    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        self.signal(Signal::SIGTERM);
        self.0.wait().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already, when the test ended it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(dir.join(name), bytes).unwrap();
}

/// `n1`, alone or with a partner.
fn topology(partner: Option<NodeName>) -> Topology {
    let node: NodeName = "n1".parse().unwrap();
    let config = NodeConfig {
        id: NodeId("6a1f1d2e-0f3b-4d57-9c31-0d5a1c2b3e4f".parse().unwrap()),
        name: node.clone(),
        partner: partner.clone(),
        interconnect: free_address(),
        rest: free_address(),
        variant: None,
        features: Vec::new(),
        site: None,
        platform: "lab-x86_64".parse().unwrap(),
        lifs: Vec::new(),
    };
    let id = ClusterId("0b8d1f0e-5a53-4a58-8c4c-0a1b2c3d4e5f".parse().unwrap());
    let other = partner.map(|name| NodeConfig {
        id: NodeId("7a1f1d2e-0f3b-4d57-9c31-0d5a1c2b3e4f".parse().unwrap()),
        name,
        partner: Some(node.clone()),
        interconnect: free_address(),
        rest: free_address(),
        ..config.clone()
    });
    let nodes = [config].into_iter().chain(other).collect();
    Topology::new(id, "one".to_owned(), nodes).unwrap()
}

/// The cluster's CA.
struct Ca {
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = ca.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(ca, key);
        Self { pem, issuer }
    }

    fn certificates(&self, dir: &Path, node: &str) {
        write(dir, "ca.pem", self.pem.as_bytes());
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec![node.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &self.issuer).unwrap();
        write(dir, "node.pem", leaf.pem().as_bytes());
        write(dir, "node.key", key.serialize_pem().as_bytes());
    }
}

fn hardware(topology: &Topology) -> Arc<Machine> {
    let settings = HardwareSettings {
        minute_ms: 1,
        ..HardwareSettings::default()
    };
    let mut hardware = Hardware::new(topology, settings);
    let image = SlotImage {
        digest: Digest([7; 32]),
        version: "1.0".parse().unwrap(),
    };
    for node in topology.names() {
        let image = Some(image.clone());
        hardware.set_image(node, Slot::A, image).unwrap();
    }
    hardware.cold_start(0);
    Machine::new(hardware)
}

fn serve_hardware(
    machine: &Arc<Machine>,
    runtime: &tokio::runtime::Runtime,
    node: &NodeName,
    dir: &Path,
) {
    let effects = Arc::clone(machine);
    runtime.spawn(async move {
        loop {
            effects.next_effects().await;
        }
    });
    let listener = UnixListener::bind(dir.join("hardware")).unwrap();
    let (machine, node, slots) = (Arc::clone(machine), node.clone(), dir.join("slots"));
    let handle = runtime.handle().clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
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
                // A daemon that was killed while it asked.
                Err(_) => continue,
            };
            let mut answer = serde_json::to_vec(&response).unwrap();
            answer.push(b'\n');
            // It may be killed before it hears the answer, too.
            let _ = stream.write_all(&answer);
        }
    });
}

fn listen_for_systemd(dir: &Path) -> Arc<Mutex<VecDeque<String>>> {
    let socket = UnixDatagram::bind(dir.join("notify")).unwrap();
    let told = Arc::new(Mutex::new(VecDeque::new()));
    let heard = Arc::clone(&told);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
            heard.lock().unwrap().push_back(line);
        }
    });
    told
}

fn settings(dir: &Path, node: &NodeConfig, record: &str) -> String {
    let (dir, rest, interconnect) = (dir.display(), &node.rest, &node.interconnect);
    let node = &node.name;
    format!(
        "node = \"{node}\"\ndata = \"{dir}/data\"\n\
         [rest]\nlisten = \"{rest}\"\n\
         [interconnect]\nlisten = \"{interconnect}\"\nca = \"{dir}/ca.pem\"\n\
         certificate = \"{dir}/node.pem\"\nkey = \"{dir}/node.key\"\n\
         [record]\n{record}\
         [platform]\nbackend = \"sim\"\nsocket = \"{dir}/hardware\"\n\
         [cluster]\nbootstrap = \"{dir}/bootstrap.json\"\n"
    )
}

fn trust_anyone() -> ureq::tls::TlsConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ureq::tls::TlsConfig::builder()
        .disable_verification(true)
        .unversioned_rustls_crypto_provider(provider)
        .build()
}
