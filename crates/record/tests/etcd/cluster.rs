//! Real etcd servers for tests: Debian's `etcd-server` and `etcd-client`, on loopback addresses of this process's own.
//!
//! Self-contained, so that tests of other crates can take it in with `#[path]`. The servers end with the [`Cluster`], and with this
//! process if it is killed.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use evenkeel_record::{EtcdOptions, EtcdTls, EtcdUser};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use serde_json::Value;
use tempfile::TempDir;

/// The user with which the record is opened where [`Setup::is_secured`], and its password.
pub(crate) const USER: (&str, &str) = ("evenkeel", "correct horse");
/// How long servers may take to answer after their start: some seconds on a machine that is busy otherwise.
const READY: Duration = Duration::from_secs(60);

/// What kind of cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    /// How many members.
    pub(crate) members: usize,
    /// TLS with client certificates, and authentication.
    pub(crate) is_secured: bool,
    /// Further arguments of every member.
    pub(crate) arguments: Vec<String>,
}

/// Running etcd servers, which are killed when this is dropped.
pub(crate) struct Cluster {
    pub(crate) setup: Setup,
    pub(crate) folder: TempDir,
    hosts: Vec<Ipv4Addr>,
    servers: std::sync::Mutex<Vec<Option<Child>>>,
}

impl Cluster {
    /// Starts them and waits until all answer.
    pub(crate) fn start(setup: Setup) -> Self {
        let hosts: Vec<_> = (0..setup.members).map(|_| free_host()).collect();
        let cluster = Self {
            folder: tempfile::tempdir().unwrap(),
            servers: std::sync::Mutex::new(hosts.iter().map(|_| None).collect()),
            hosts,
            setup,
        };
        if cluster.setup.is_secured {
            cluster.make_certificates();
            fs::write(cluster.path("password"), format!("{}\n", USER.1)).unwrap();
        }
        for index in 0..cluster.hosts.len() {
            cluster.launch(index);
        }
        cluster.wait_ready();
        if cluster.setup.is_secured {
            cluster.enable_authentication();
        }
        cluster
    }

    /// A file of this cluster's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The client address of member number `index`.
    pub(crate) fn url(&self, index: usize) -> String {
        format!("{}://{}:2379", self.scheme(), self.hosts[index])
    }

    /// All client addresses.
    pub(crate) fn urls(&self) -> Vec<String> {
        (0..self.hosts.len()).map(|index| self.url(index)).collect()
    }

    /// How to open a record below `/evenkeel/NAME/`.
    pub(crate) fn options(&self, name: &str) -> EtcdOptions {
        let files = |name: &str| {
            (
                self.path(&format!("{name}.crt")),
                self.path(&format!("{name}.key")),
            )
        };
        let secured = self.setup.is_secured;
        EtcdOptions {
            endpoints: self.urls(),
            tls: secured.then(|| EtcdTls {
                ca: self.path("ca.crt"),
                client: Some(files("client")),
            }),
            user: secured.then(|| EtcdUser {
                name: USER.0.to_owned(),
                password_file: self.path("password"),
            }),
            prefix: format!("/evenkeel/{name}/"),
            members: std::collections::BTreeMap::new(),
            look_every: Duration::from_millis(300),
            compact_every: Duration::from_secs(600),
            ids: std::sync::Arc::new(evenkeel_seam::RandomIds),
        }
    }

    /// Kills a member as by power loss. Nothing happens if it is down.
    pub(crate) fn kill(&self, index: usize) {
        let server = self.servers.lock().unwrap()[index].take();
        if let Some(mut server) = server {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Starts a member on its data; does not wait for it.
    pub(crate) fn launch(&self, index: usize) {
        let server = spawn(self.command(index));
        self.servers.lock().unwrap()[index] = Some(server);
    }

    /// Which member leads.
    pub(crate) fn leader(&self) -> usize {
        self.until("a leader is known", || {
            (0..self.hosts.len()).find(|index| {
                let url = self.url(*index);
                let Ok(status) =
                    self.try_etcdctl(&["--endpoints", &url, "endpoint", "status", "-w", "json"])
                else {
                    return false;
                };
                let status: Value = serde_json::from_str(&status).unwrap();
                let status = &status[0]["Status"];
                status["leader"] == status["header"]["member_id"]
            })
        })
    }

    /// Waits until every member that was started answers.
    pub(crate) fn wait_ready(&self) {
        for index in 0..self.hosts.len() {
            if self.servers.lock().unwrap()[index].is_none() {
                continue;
            }
            let url = self.url(index);
            let health = [
                "--endpoints",
                &url,
                "--command-timeout=2s",
                "endpoint",
                "health",
            ];
            self.until("etcd is ready", || self.try_etcdctl(&health).ok());
        }
    }

    /// What etcd's own tool says, as root; fails if it does.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> String {
        self.try_etcdctl(arguments).unwrap()
    }

    /// The error is what the tool wrote.
    pub(crate) fn try_etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3");
        command.env_remove("ETCDCTL_ENDPOINTS");
        if !arguments.contains(&"--endpoints") {
            command.args(["--endpoints", &self.urls().join(",")]);
        }
        if self.setup.is_secured {
            for (option, file) in [
                ("--cacert", "ca.crt"),
                ("--cert", "client.crt"),
                ("--key", "client.key"),
            ] {
                command.arg(option).arg(self.path(file));
            }
            if self.path("enabled").exists() {
                command.args(["--user", "root:root"]);
            }
        }
        let output = command.args(arguments).output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Commands that `docs/operations.md` shows.
    fn enable_authentication(&self) {
        for command in [
            vec!["user", "add", "root:root"],
            vec!["user", "grant-role", "root", "root"],
            vec!["role", "add", "evenkeel"],
            vec![
                "role",
                "grant-permission",
                "evenkeel",
                "--prefix=true",
                "readwrite",
                "/evenkeel/",
            ],
            vec!["user", "add", &format!("{}:{}", USER.0, USER.1)],
            vec!["user", "grant-role", USER.0, "evenkeel"],
            vec!["auth", "enable"],
        ] {
            if command == ["user", "grant-role", "root", "root"] {
                self.etcdctl(&["role", "add", "root"]);
            }
            self.etcdctl(&command);
        }
        fs::write(self.path("enabled"), "").unwrap();
    }

    fn scheme(&self) -> &'static str {
        if self.setup.is_secured {
            "https"
        } else {
            "http"
        }
    }

    fn command(&self, index: usize) -> Command {
        let peer = |index: usize| format!("{}://{}:2380", self.scheme(), self.hosts[index]);
        let all: Vec<_> = (0..self.hosts.len())
            .map(|index| format!("m{index}={}", peer(index)))
            .collect();
        // The servers go with the thread that started them; see `spawn`.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "etcd"]);
        command.args(["--name", &format!("m{index}")]);
        command
            .arg("--data-dir")
            .arg(self.path(&format!("m{index}")));
        command.args(["--listen-client-urls", &self.url(index)]);
        command.args(["--advertise-client-urls", &self.url(index)]);
        command.args(["--listen-peer-urls", &peer(index)]);
        command.args(["--initial-advertise-peer-urls", &peer(index)]);
        command.args(["--initial-cluster", &all.join(",")]);
        command.args(["--logger=zap", "--log-level=warn"]);
        command.args(&self.setup.arguments);
        if self.setup.is_secured {
            for kind in ["", "peer-"] {
                command.arg(format!("--{kind}client-cert-auth"));
                for (option, file) in [
                    ("trusted-ca-file", "ca.crt"),
                    ("cert-file", "server.crt"),
                    ("key-file", "server.key"),
                ] {
                    command
                        .arg(format!("--{kind}{option}"))
                        .arg(self.path(file));
                }
            }
        }
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("m{index}.log")))
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    /// A CA, one certificate for all servers and one for clients. etcd's gateway uses the server's as a client's, for itself.
    fn make_certificates(&self) {
        let ca = authority("etcd test CA");
        fs::write(self.path("ca.crt"), ca.pem()).unwrap();
        fs::write(self.path("stranger.crt"), authority("a stranger").pem()).unwrap();
        let both = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.certify(&ca, "server", &both);
        self.certify(&ca, "client", &both[1..]);
    }

    fn certify(
        &self,
        ca: &CertifiedIssuer<'_, KeyPair>,
        name: &str,
        purposes: &[ExtendedKeyUsagePurpose],
    ) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        // No common name: etcd's gateway refuses clients whose certificate has one once authentication is enabled.
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, name);
        params.extended_key_usages = purposes.to_vec();
        // Connections over loopback may come from either address, and etcd compares it with the certificate.
        let hosts = self.hosts.iter().chain(&[Ipv4Addr::LOCALHOST]);
        let names = hosts.map(|host| SanType::IpAddress((*host).into()));
        params.subject_alt_names = names.collect();
        let certificate = params.signed_by(&key, ca).unwrap();
        fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let pause = Duration::from_millis(50);
        let mut waited = Duration::ZERO;
        while waited < READY {
            if let Some(found) = look() {
                return found;
            }
            thread::sleep(pause);
            waited += pause;
        }
        panic!(
            "waited {READY:?} until {what}; see\n{}",
            logs(self.folder.path())
        );
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.hosts.len() {
            self.kill(index);
        }
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn logs(folder: &Path) -> String {
    let files = fs::read_dir(folder).unwrap().flatten();
    let logs = files.filter(|file| file.path().extension().is_some_and(|it| it == "log"));
    logs.map(|file| fs::read_to_string(file.path()).unwrap_or_default())
        .collect()
}

/// An address of 127.0.0.0/8 that no other test uses: by this process's number, and counted.
pub(crate) fn free_host() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (pid, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let [_, _, high, low] = pid.to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 0x3f), low, u8::try_from(next).unwrap())
}

/// Starts a process from a thread that lives as long as this process: Linux sends the signal of `--pdeathsig` when the thread ends.
fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<Child>);
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, queue) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in queue {
                let child = command.spawn().expect("setpriv and etcd are installed");
                answer.send(child).unwrap();
            }
        });
        orders
    });
    let (answer, answered) = mpsc::channel();
    spawner.send((command, answer)).unwrap();
    answered.recv().unwrap()
}
