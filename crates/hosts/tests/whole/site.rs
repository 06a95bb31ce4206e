//! Controllers with everything installed, made a cluster by an operator's commands.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use evenkeel_hosts::{Cluster, Host, Settings};
use serde_json::Value;

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
/// The image that every host runs at first, and the one that it is updated to.
pub(crate) const OLD: &str = "1.0";
pub(crate) const NEW: &str = "2.0";

const PASSWORD: &str = "correct horse battery";
const LOOK: Duration = Duration::from_millis(200);
/// How long a command that changes nothing big may take on a busy machine.
const COMMAND: Duration = Duration::from_secs(60);
/// How long what a cluster does by itself may take: an election, a join, a boot.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where the record is.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    /// On the first pair's pool, where Pacemaker puts it.
    Pool,
    /// On etcd, by this `[record]`.
    Etcd(String),
}

/// Hosts with Evenkeel on them, and the operator's desk.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    desk: tempfile::TempDir,
    programs: PathBuf,
}

/// What a command of the operator's left.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Site {
    /// Hosts that run the old image, not yet a cluster.
    pub(crate) fn install(hosts: usize, record: &Record) -> Result<Self> {
        let desk = tempfile::tempdir()?;
        let programs = programs()?;
        let tool = programs.join("evenkeel");
        make_packages(desk.path(), &tool)?;
        let password = desk.path().join("password");
        fs::write(&password, format!("{PASSWORD}\n"))?;
        restrict(&password)?;
        let settings = Settings {
            hosts,
            file_systems: true,
            record: matches!(record, Record::Pool),
        };
        let install = |host: &Host| install(host, (desk.path(), &programs), record);
        let cluster = Cluster::start_installed(&settings, install)?;
        let site = Self {
            cluster,
            desk,
            programs,
        };
        Ok(site)
    }

    /// The same, made a cluster that trusts the key of the packages and has the new one.
    pub(crate) fn start(hosts: usize, record: &Record) -> Result<Self> {
        let site = Self::install(hosts, record)?;
        site.make_cluster(hosts)?;
        Ok(site)
    }

    /// What an operator does once the hosts run.
    pub(crate) fn make_cluster(&self, hosts: usize) -> Result<()> {
        self.begin()?;
        for index in 1..hosts {
            self.join(index)?;
        }
        self.wait_members(hosts)?;
        let key = self.desk.path().join("key.pub");
        self.must(&["image", "key", "trust", &key.display().to_string()])?;
        let package = self.package(NEW).display().to_string();
        self.must(&["image", "package", "upload", &package])?;
        Ok(())
    }

    /// The package of a version.
    pub(crate) fn package(&self, version: &str) -> PathBuf {
        package(self.desk.path(), version)
    }

    /// The operator's folder.
    pub(crate) fn desk(&self) -> &Path {
        self.desk.path()
    }

    pub(crate) fn host(&self, index: usize) -> &Host {
        self.cluster.host(index)
    }

    fn begin(&self) -> Result<()> {
        let password = self.desk.path().join("password").display().to_string();
        self.on(
            A,
            &["init", "--name", "prod", "--new-password-file", &password],
        )?;
        until("the first node coordinates", PATIENCE, || {
            let log = self.log(A);
            log.contains("elected coordinator").then_some(())
        })
    }

    fn join(&self, index: usize) -> Result<()> {
        let name = self.host(index).name().to_owned();
        let token = self.on(A, &["token", "--for", &name])?;
        let file = self.desk.path().join(format!("token-{name}"));
        fs::write(&file, token)?;
        let (file, partner) = (file.display().to_string(), partner(index));
        let mut words = vec!["join", "--token-file", &file];
        if index >= 2 {
            words.extend(["--partner", &partner]);
        }
        self.on(index, &words).map(drop)
    }

    /// `evenkeel cluster …` as root on a host, once its daemon answers. Where the record does not answer, as etcd on a machine that is
    /// too busy, that is said and nothing is changed: the operator types it again.
    fn on(&self, index: usize, words: &[&str]) -> Result<String> {
        let host = self.host(index);
        let socket = host.dir().join("data/local.sock");
        until(&format!("{}'s socket", host.name()), PATIENCE, || {
            socket.exists().then_some(())
        })?;
        let local = format!("--local={}", socket.display());
        let say = || {
            let mut command = host.command(self.programs.join("evenkeel"))?;
            command.arg("cluster").args(words);
            if words[0] != "token" {
                let address = host.address();
                command.args(["--platform", "x86_64", "--address", &address]);
            }
            command.arg(&local);
            finish(&mut command, &self.desk.path().join("said"), COMMAND)
        };
        let said = until("an answer of the record", PATIENCE, || {
            let said = say();
            let silent = |said: &Said| said.errors.contains("record is unavailable");
            let is_final = !said.as_ref().is_ok_and(silent);
            is_final.then_some(said)
        })??;
        match said.code {
            Some(0) => Ok(said.output),
            _ => bail!(
                "{}: {words:?}: {said:?}\n{}",
                host.name(),
                self.log_tail(index)
            ),
        }
    }

    fn wait_members(&self, count: usize) -> Result<()> {
        for index in 0..count {
            let socket = self.host(index).dir().join("data/local.sock");
            let socket = format!("--local={}", socket.display());
            until("all members to answer", PATIENCE, || {
                let mut command = self.host(index).command(self.programs.join("evenkeel"));
                let command = command.as_mut().ok()?;
                command.args(["cluster", "show", "--json", &socket]);
                let said = finish(command, &self.desk.path().join("said"), COMMAND).ok()?;
                let shown: Value = serde_json::from_str(&said.output).ok()?;
                let nodes = shown["nodes"].as_array()?;
                let all = nodes.len() == count && nodes.iter().all(|it| it["answers"] == true);
                all.then_some(())
            })
            .with_context(|| self.log_tail(index))?;
        }
        Ok(())
    }

    /// A command of the operator's from where clients are, to the first host whose daemon listens.
    pub(crate) fn ask(&self, words: &[&str], within: Duration) -> Result<Said> {
        let host = until("a daemon that listens", PATIENCE, || self.listening())?;
        self.ask_of(host, words, within)
    }

    /// The command itself would wait for a host that is without power, or cut off.
    fn listening(&self) -> Option<&Host> {
        self.cluster.hosts().iter().find(|host| {
            let connect = format!("exec 3<>/dev/tcp/{}/443", host.address());
            let mut command = self.cluster.client("timeout");
            command.args(["1", "bash", "-c", &connect]);
            command.output().is_ok_and(|output| output.status.success())
        })
    }

    /// The same, to that host.
    pub(crate) fn ask_of(&self, host: &Host, words: &[&str], within: Duration) -> Result<Said> {
        let tool = self.programs.join("evenkeel");
        let mut command = self.cluster.client(&tool.display().to_string());
        let url = format!("https://{}", host.address());
        command.args(words);
        command.args(["--url", &url, "--user", "admin", "--insecure"]);
        command
            .arg("--password-file")
            .arg(self.desk.path().join("password"));
        finish(&mut command, &self.desk.path().join("said"), within)
    }

    /// The same; it must succeed. Until the cluster is settled it is asked again.
    pub(crate) fn must(&self, words: &[&str]) -> Result<String> {
        let mut newest = None;
        let done = until(&format!("{words:?}"), PATIENCE, || {
            let said = self.ask(words, PATIENCE);
            let output = said.as_ref().ok().filter(|said| said.code == Some(0));
            let output = output.map(|said| said.output.clone());
            newest = Some(said);
            output
        });
        done.with_context(|| format!("{newest:?}\n{}", self.log_tail(A)))
    }

    /// What `GET /api/cluster/software` says, of whoever answers.
    pub(crate) fn software(&self) -> Option<Value> {
        let said = self.ask(&["image", "show", "--json"], COMMAND).ok()?;
        serde_json::from_str(&said.output).ok()
    }

    /// The log of a host's daemon, of all its boots.
    pub(crate) fn log(&self, index: usize) -> String {
        let log = self.host(index).dir().join("log/evenkeeld.log");
        fs::read_to_string(log).unwrap_or_default()
    }

    fn log_tail(&self, index: usize) -> String {
        let log = self.log(index);
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!("{}:\n{}", self.host(index).name(), lines[from..].join("\n"))
    }
}

impl Drop for Site {
    /// What a failed test is understood by outlives it.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let kept = Path::new("/tmp/evenkeel-whole-failed");
        for host in self.cluster.hosts() {
            let to = kept.join(host.name());
            let _old = fs::remove_dir_all(&to);
            let copied = fs::create_dir_all(&to).and_then(|()| {
                let mut copy = Command::new("cp");
                copy.arg("-r")
                    .arg(host.dir().join("log"))
                    .arg(host.dir().join("console"));
                copy.arg(host.dir().join("slots/state")).arg(&to).output()
            });
            eprintln!(
                "logs of {}: {} ({:?})",
                host.name(),
                to.display(),
                copied.map(|it| it.status)
            );
        }
    }
}

/// The other one of a pair.
fn partner(index: usize) -> String {
    format!("ctl-{}", char::from(b"abcd"[index ^ 1]))
}

/// The programs that are tested: those beside the test, unless `EVENKEEL_BIN_DIR` names another folder.
fn programs() -> Result<PathBuf> {
    let folder = match std::env::var_os("EVENKEEL_BIN_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let test = std::env::current_exe()?;
            let deps = test.parent().and_then(Path::parent);
            deps.context("the test is in no folder")?.to_owned()
        }
    };
    for program in ["evenkeel", "evenkeeld"] {
        if !folder.join(program).exists() {
            bail!(
                "{program} is not in {}: build it (cargo build -p evenkeel-cli -p evenkeel-daemon), or name the folder \
                 that has it by EVENKEEL_BIN_DIR",
                folder.display()
            );
        }
    }
    Ok(folder)
}

fn package(desk: &Path, version: &str) -> PathBuf {
    desk.join(format!("{version}.tgz"))
}

/// A key, and packages of both versions signed by it.
fn make_packages(desk: &Path, tool: &Path) -> Result<()> {
    let must = |words: &[&OsStr]| -> Result<()> {
        let mut command = Command::new(tool);
        command.arg("package").args(words);
        let said = finish(&mut command, &desk.join("said"), COMMAND)?;
        match said.code {
            Some(0) => Ok(()),
            _ => bail!("{words:?}: {said:?}"),
        }
    };
    let key = desk.join("key");
    must(&["keygen".as_ref(), "--out".as_ref(), key.as_ref()])?;
    for version in [OLD, NEW] {
        let tree = desk.join(format!("tree-{version}"));
        fs::create_dir_all(tree.join("sbin"))?;
        put_program(
            &tree.join("sbin/controller"),
            include_str!("host/controller"),
        )?;
        fs::write(tree.join("release"), format!("{version}\n"))?;
        must(&[
            "build".as_ref(),
            "--version".as_ref(),
            version.as_ref(),
            "--platform".as_ref(),
            "x86_64".as_ref(),
            "--root".as_ref(),
            tree.as_ref(),
            "--key".as_ref(),
            key.as_ref(),
            "--output".as_ref(),
            package(desk, version).as_ref(),
        ])?;
    }
    Ok(())
}

fn put_program(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text)?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o755),
    )?)
}

/// What an installer does on a host's disk: programs, configuration, and the old image in slot `a`.
fn install(host: &Host, (desk, programs): (&Path, &Path), record: &Record) -> Result<()> {
    let dir = host.dir();
    for folder in ["bin", "slots/a", "slots/b", "data"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    let daemon = programs.join("evenkeeld");
    if fs::hard_link(&daemon, dir.join("bin/evenkeeld")).is_err() {
        fs::copy(&daemon, dir.join("bin/evenkeeld"))?;
    }
    let slots = include_str!("../../../../systemd/directory-slots");
    host.install("directory-slots", slots)?;
    host.install("boot", include_str!("host/boot"))?;
    host.install("restart", include_str!("host/restart"))?;
    host.install("sbin/ipmitool", include_str!("host/ipmitool"))?;
    fs::write(dir.join("sp-password"), "secret\n")?;
    restrict(&dir.join("sp-password"))?;
    fs::write(dir.join("link.json"), "{}")?;
    fs::write(dir.join("evenkeeld.toml"), configuration(host, record)?)?;
    let mut extract = Command::new(programs.join("evenkeel"));
    extract.args(["package", "extract", "-C"]);
    extract.arg(dir.join("slots/a")).arg("--trust");
    extract.arg(desk.join("key.pub")).arg(package(desk, OLD));
    let said = finish(&mut extract, &desk.join("said"), COMMAND)?;
    match said.code {
        Some(0) => Ok(()),
        _ => bail!("the old image: {said:?}"),
    }
}

pub(crate) fn restrict(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o600),
    )?)
}

/// `evenkeeld.toml` of a host. `[lab]` shortens minutes and nothing else; no hardware is simulated.
fn configuration(host: &Host, record: &Record) -> Result<String> {
    let index = usize::from(host.name().as_bytes()[4] - b'a');
    let (dir, partner) = (host.dir().display(), partner(index));
    let partner_host = format!("10.99.0.{}", (index ^ 1) + 1);
    let mut text = format!(
        "node = \"{}\"\ndata = \"{dir}/data\"\n[rest]\nlisten = \"0.0.0.0:443\"\n[interconnect]\nlisten = \"0.0.0.0:4430\"\n",
        host.name()
    );
    match record {
        Record::Pool => write!(
            text,
            "[record]\nbackend = \"shared_pool\"\npath = \"/run/pools/a_root/evenkeel/record.db\"\npartner = \"{partner}\"\n\
             partner_address = \"{partner_host}:4430\"\n"
        )?,
        Record::Etcd(settings) => text.push_str(settings),
    }
    write!(
        text,
        "[platform]\nbackend = \"linux\"\n[platform.slots]\nkind = \"directory\"\npath = \"{dir}/slots\"\n\
         [platform.failover]\nengine = \"pacemaker\"\npartner = \"{partner}\"\n\
         [platform.power]\nreboot = [\"{dir}/restart\"]\n\
         [platform.inventory]\nports = {{ eth0 = \"data\" }}\n"
    )?;
    for (which, address) in [("own", host.address()), ("partner", partner_host)] {
        write!(
            text,
            "[platform.sp.{which}]\nhost = \"{address}\"\nuser = \"evenkeel\"\npassword_file = \"{dir}/sp-password\"\n"
        )?;
    }
    write!(
        text,
        "[lab]\nminute_ms = 1000\nlink = \"{dir}/link.json\"\n"
    )?;
    Ok(text)
}

/// Runs a program to its end, which comes in time or is an error. What it prints goes through files: nobody need read it meanwhile.
pub(crate) fn finish(command: &mut Command, scratch: &Path, within: Duration) -> Result<Said> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let paths = ["out", "err"].map(|kind| scratch.with_extension(format!("{count}.{kind}")));
    command.stdin(Stdio::null());
    command.stdout(File::create(&paths[0])?);
    command.stderr(File::create(&paths[1])?);
    let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
    let code = until(&format!("the end of {command:?}"), within, || {
        child.try_wait().transpose()
    });
    if code.is_err() {
        child.kill()?;
        child.wait()?;
    }
    let [output, errors] = paths.map(|path| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _gone = fs::remove_file(path);
        text
    });
    let code = code.with_context(|| format!("{output}{errors}"))??.code();
    Ok(Said {
        code,
        output,
        errors,
    })
}

/// Looks until there is something, for so long.
pub(crate) fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T> {
    let begun = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
        if Duration::from(now - begun) > within {
            bail!("waited {within:?} for {what}");
        }
        sleep(LOOK);
    }
}
