//! Three members of etcd beside the hosts, on their network: with TLS, certificates of clients, and authentication.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use evenkeel_hosts::Cluster;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use serde_json::Value;

use crate::site::{restrict, until};

const MEMBERS: usize = 3;
const READY: Duration = Duration::from_secs(60);

/// Name and password of etcd's user.
const USER: (&str, &str) = ("evenkeel", "a good password");

/// Who may speak to etcd and how that is shown: files that the hosts' configuration needs before there is a network.
pub(crate) struct Credentials(tempfile::TempDir);

impl Credentials {
    /// A CA, a certificate for all members and one for clients, and the password of a user.
    pub(crate) fn make() -> Result<Self> {
        let made = Self(tempfile::tempdir()?);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        fs::write(made.0.path().join("ca.crt"), ca.pem())?;
        // etcd's gateway uses the members' certificate as a client's, for itself.
        let both = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        made.certify(&ca, "server", &both)?;
        made.certify(&ca, "client", &both[1..])?;
        let password = made.0.path().join("password");
        fs::write(&password, format!("{}\n", USER.1))?;
        restrict(&password)?;
        Ok(made)
    }

    fn certify(
        &self,
        ca: &CertifiedIssuer<'_, KeyPair>,
        name: &str,
        purposes: &[ExtendedKeyUsagePurpose],
    ) -> Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        // No common name: etcd's gateway refuses clients whose certificate has one once authentication is enabled.
        params.distinguished_name = DistinguishedName::new();
        let organization = DnType::OrganizationName;
        params.distinguished_name.push(organization, name);
        params.extended_key_usages = purposes.to_vec();
        let members = (0..MEMBERS).map(|index| address(index).parse::<Ipv4Addr>());
        let members = members.chain([Ok(Ipv4Addr::LOCALHOST)]);
        let names = members.map(|it| Ok(SanType::IpAddress(it?.into())));
        params.subject_alt_names = names.collect::<Result<_>>()?;
        let certificate = params.signed_by(&key, ca)?;
        let file = |kind: &str| self.0.path().join(format!("{name}.{kind}"));
        fs::write(file("crt"), certificate.pem())?;
        fs::write(file("key"), key.serialize_pem())?;
        restrict(&file("key"))
    }

    /// `[record]` of a host's configuration.
    pub(crate) fn settings(&self) -> String {
        let file = |name: &str| self.0.path().join(name);
        let endpoints: Vec<String> = (0..MEMBERS).map(endpoint).collect();
        format!(
            "[record]\nbackend = \"etcd\"\nprefix = \"/evenkeel/\"\nendpoints = {endpoints:?}\nca = {:?}\ncertificate = {:?}\n\
             key = {:?}\nuser = {:?}\npassword_file = {:?}\n",
            file("ca.crt"),
            file("client.crt"),
            file("client.key"),
            USER.0,
            file("password"),
        )
    }
}

/// The members, which are killed when this is dropped.
pub(crate) struct Etcd {
    credentials: Credentials,
    /// Authentication is enabled.
    asks_who: bool,
    /// What goes before a program that is to run where clients are.
    inside: String,
    members: Vec<Option<Child>>,
}

/// Where a member listens for clients.
fn endpoint(index: usize) -> String {
    format!("https://{}:2379", address(index))
}

fn address(index: usize) -> String {
    format!("10.99.0.{}", 201 + index)
}

impl Etcd {
    /// Starts them, waits until they have a leader, and lets in nobody without the credentials.
    pub(crate) fn start(cluster: &Cluster, credentials: Credentials) -> Result<Self> {
        let inside = cluster.switch();
        for index in 0..MEMBERS {
            let address = format!("{}/24", address(index));
            let mut add = Command::new("ip");
            add.args(["-n", &inside, "address", "add", &address, "dev", "br0"]);
            anyhow::ensure!(add.status()?.success(), "{add:?}");
        }
        let mut etcd = Self {
            credentials,
            inside,
            members: Vec::new(),
            asks_who: false,
        };
        for index in 0..MEMBERS {
            let member = etcd.launch(index)?;
            etcd.members.push(Some(member));
        }
        until("a leader of etcd", READY, || etcd.leader())?;
        etcd.enable_authentication()?;
        Ok(etcd)
    }

    /// As `docs/operations.md` says.
    fn enable_authentication(&mut self) -> Result<()> {
        let (user, password) = USER;
        let name_and_password = format!("{user}:{password}");
        let words: [&[&str]; 8] = [
            &["user", "add", "root:root"],
            &["role", "add", "root"],
            &["user", "grant-role", "root", "root"],
            &["role", "add", user],
            &[
                "role",
                "grant-permission",
                user,
                "--prefix=true",
                "readwrite",
                "/evenkeel/",
            ],
            &["user", "add", &name_and_password],
            &["user", "grant-role", user, user],
            &["auth", "enable"],
        ];
        for words in words {
            let mut command = self.etcdctl(&endpoint(0));
            let said = command.args(words).output()?;
            let errors = String::from_utf8_lossy(&said.stderr);
            anyhow::ensure!(said.status.success(), "{words:?}: {errors}");
        }
        self.asks_who = true;
        Ok(())
    }

    fn folder(&self) -> &Path {
        self.credentials.0.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn etcdctl(&self, endpoint: &str) -> Command {
        let mut command = self.command("etcdctl");
        command.args(["--endpoints", endpoint, "--command-timeout=2s"]);
        command.arg("--cacert").arg(self.file("ca.crt"));
        command.arg("--cert").arg(self.file("client.crt"));
        command.arg("--key").arg(self.file("client.key"));
        if self.asks_who {
            command.args(["--user", "root:root"]);
        }
        command
    }

    fn launch(&self, index: usize) -> Result<Child> {
        let peer = |index: usize| format!("http://{}:2380", address(index));
        let all = (0..MEMBERS).map(|index| format!("m{index}={}", peer(index)));
        let all = all.collect::<Vec<_>>().join(",");
        let mut command = self.command("etcd");
        command.args(["--name", &format!("m{index}"), "--data-dir"]);
        command.arg(self.file(&format!("m{index}")));
        command.arg("--client-cert-auth");
        command.arg("--trusted-ca-file").arg(self.file("ca.crt"));
        command.arg("--cert-file").arg(self.file("server.crt"));
        command.arg("--key-file").arg(self.file("server.key"));
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
        let log = File::create(self.file(&format!("m{index}.log")))?;
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
            let mut command = self.etcdctl(&endpoint(*index));
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
        let read = |index| fs::read_to_string(self.file(&format!("m{index}.log")));
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
