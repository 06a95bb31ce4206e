//! The Debian package on a booted Debian host: installed, made a cluster of one node, helped, hung, rebooted, without power, updated to a
//! new version, upgraded, removed, purged. The host is a container with systemd in it, and its machine its own: two folders are its boot
//! slots, and a script stands for its service processor. Only what needs a partner sees simulated hardware, which this test keeps.
//!
//! It needs root, Debian's systemd-container, util-linux, dpkg-dev and binutils, cargo-deb, once debootstrap with a mirror
//! (`EVENKEEL_MIRROR` names another than Debian's own), and some minutes, so it is run by name, after the command line was built:
//!
//!     cargo build --workspace --bins
//!     cargo test --workspace --test installed -- --ignored --nocapture
//!
//! `EVENKEEL_DEB` names a package that is there already. `EVENKEEL_PROOF` names a folder for the hosts.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod container;
mod helped;
mod keeper;
mod node;
mod removals;
mod upgrades;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use container::{Container, bare_host, ran};
use keeper::Keeper;
use serde_json::Value;

/// What the package is upgraded to.
const NEWER: &str = "99.0-1";
/// The limit that the project sets itself.
const MOST_EXPOSED: f64 = 2.0;

const UNITS: [&str; 7] = [
    "evenkeeld.service",
    "evenkeel-boot-good.service",
    "evenkeel-pacemaker-gate.service",
    "evenkeel-machine.socket",
    "evenkeel-check.socket",
    "evenkeel-script.socket",
    "evenkeel-slot.socket",
];

#[test]
#[ignore = "needs root, systemd-nspawn, debootstrap and cargo-deb"]
fn the_package_lives_and_dies_on_a_host() {
    let root = bare_host();
    let (first, newer) = packages(&root);
    let mut host = Container::power_on(&root);
    chapter("installed, and of no cluster yet");
    installs(&host, &first);
    chapter("a configuration that cannot be used");
    is_not_started_again_and_again(&host);
    node::becomes_a_node(&host);
    knows_its_users(&host);
    chapter("as confined as it is meant to be");
    is_confined(&host);
    chapter("helpers");
    helped::by_its_units(&host);
    chapter("the journal has fields");
    logs_with_fields(&host);
    chapter("hangs");
    hangs(&host);
    chapter("a pool is let go of");
    lets_a_pool_go(&host);
    chapter("reboot");
    host.reboot();
    is_back(&host);
    chapter("loss of power");
    host.lose_power();
    is_back(&host);
    chapter("updated: rebooted into the other slot");
    node::is_updated(&mut host);
    chapter("the package is upgraded while it runs");
    upgrades::is_upgraded(&host, &newer);
    chapter("over a database of the release before");
    upgrades::migrates(&host, &newer);
    as_one_of_a_pair(&host, &first);
    chapter("not removed while Pacemaker has its resource");
    removals::is_refused_with_the_record_in_pacemaker(&host);
    chapter("removed, and installed again");
    removals::is_removed(&host, &first);
    chapter("purged, with data that are mounted");
    removals::is_purged(&host);
}

/// With simulated hardware, of which the partner is a part.
fn as_one_of_a_pair(host: &Container, package: &str) {
    let keeper = Keeper::start(&host.root);
    let own = keeper::configure(&host.root);
    host.runs("systemctl restart evenkeel-machine evenkeeld");
    is_back(host);
    chapter("a boot is good, and Pacemaker may start");
    holds_units_back(host, &keeper);
    chapter("upgraded while a takeover stands");
    upgrades::is_upgraded_later(host, &keeper, package);
    fs::write(host.root.join("etc/evenkeel/evenkeeld.toml"), own).unwrap();
    host.runs("systemctl restart evenkeel-machine evenkeeld");
    is_back(host);
}

pub(crate) fn chapter(title: &str) {
    println!("\n== {title}");
}

/// The package, and the same as a newer version. Both are put where the host finds them.
fn packages(root: &Path) -> (String, String) {
    let made = std::env::var_os("EVENKEEL_DEB").map_or_else(|| make(root), PathBuf::from);
    let folder = root.join("srv");
    fs::copy(&made, folder.join("evenkeel.deb")).unwrap();
    let unpacked = root.with_extension("newer");
    let _ = fs::remove_dir_all(&unpacked);
    ran(Command::new("dpkg-deb").arg("-R").arg(&made).arg(&unpacked));
    let control = unpacked.join("DEBIAN/control");
    let fields = fs::read_to_string(&control).unwrap();
    let lines = fields
        .lines()
        .map(|line| match line.starts_with("Version: ") {
            true => format!("Version: {NEWER}\n"),
            false => format!("{line}\n"),
        });
    fs::write(&control, lines.collect::<String>()).unwrap();
    let newer = folder.join("evenkeel-newer.deb");
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zgzip", "-z1", "-b"]);
    ran(build.arg(&unpacked).arg(&newer));
    fs::remove_dir_all(&unpacked).unwrap();
    (
        "/srv/evenkeel.deb".to_owned(),
        "/srv/evenkeel-newer.deb".to_owned(),
    )
}

/// Of the programs that are built already.
fn make(root: &Path) -> PathBuf {
    let cli = Path::new(env!("CARGO_BIN_EXE_evenkeeld")).with_file_name("evenkeel");
    let built = "cargo build -p evenkeel-cli --bins";
    assert!(cli.exists(), "{} is not there: {built}", cli.display());
    let made = root.with_extension("deb");
    let mut xtask = Command::new(env!("CARGO"));
    xtask
        .args(["xtask", "deb", "--debug", "--no-build", "--output"])
        .arg(&made);
    ran(xtask.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")));
    made
}

/// It runs, and holds nothing up.
fn installs(host: &Container, package: &str) {
    let said = host.runs(&format!("dpkg -i {package} 2>&1"));
    assert!(said.contains("evenkeel cluster show"), "{said}");
    for unit in UNITS {
        let (_, enabled) = host.tries(&format!("systemctl is-enabled {unit}"));
        assert_eq!(enabled.trim(), "enabled", "{unit}");
    }
    belongs_to_no_cluster(host);
    let shown = host.runs("evenkeel cluster show");
    assert!(shown.contains("evenkeel cluster init"), "{shown}");
    host.runs("evenkeeld boot-good && evenkeeld pacemaker-gate && evenkeeld may-restart");
    host.runs("systemctl start boot-complete.target evenkeel-pacemaker-gate");
    assert_eq!(host.property("evenkeel-boot-good", "ActiveState"), "active");
    host.runs("systemctl stop boot-complete.target evenkeel-boot-good");
    host.runs("id evenkeel-check; stat -c '%a %U %n' /etc/evenkeel /run/evenkeel");
    host.runs("man evenkeeld >/dev/null 2>&1 || ls /usr/share/man/man8/evenkeeld.8.gz");
}

fn belongs_to_no_cluster(host: &Container) {
    host.until_property("evenkeeld", "ActiveState", |state| state == "active");
    host.until_property("evenkeeld", "StatusText", |text| {
        text.contains("belongs to no cluster yet")
    });
    assert_eq!(host.property("evenkeeld", "NRestarts"), "0");
}

/// It says why, once, and runs when it is mended.
fn is_not_started_again_and_again(host: &Container) {
    let file = host.root.join("etc/evenkeel/evenkeeld.toml");
    let packaged = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{packaged}\n[nonsense]\n")).unwrap();
    host.refuses("systemctl restart evenkeeld");
    assert_eq!(host.property("evenkeeld", "ActiveState"), "failed");
    assert_eq!(host.property("evenkeeld", "ExecMainStatus"), "78");
    assert_eq!(host.property("evenkeeld", "NRestarts"), "0");
    let text = host.property("evenkeeld", "StatusText");
    assert!(text.contains("is not a configuration"), "{text}");
    fs::write(&file, packaged).unwrap();
    host.runs("systemctl start evenkeeld");
    belongs_to_no_cluster(host);
}

fn knows_its_users(host: &Container) {
    let users = host.until("the users", || {
        let (code, users) = host.tries("evenkeel user list --local --json");
        (code == Some(0)).then_some(users)
    });
    let users: Value = serde_json::from_str(&users).unwrap();
    assert_eq!(users["records"][0]["name"], "admin", "{users}");
}

fn is_confined(host: &Container) {
    let said = host.runs("systemd-analyze security --no-pager evenkeeld | grep -v '✓'");
    let overall = said
        .lines()
        .find(|line| line.contains("Overall exposure"))
        .unwrap();
    let number = overall
        .split_whitespace()
        .find_map(|word| word.parse::<f64>().ok());
    assert!(number.unwrap() <= MOST_EXPOSED, "{overall}");
    host.runs("systemd-analyze security --no-pager | grep -i evenkeel");
    host.runs("systemd-analyze verify --man=no /usr/lib/systemd/system/evenkeel*.service");
    // What the kernel says of the process itself.
    let pid = host.property("evenkeeld", "MainPID");
    let status = host.runs(&format!(
        "grep -E 'Cap(Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/{pid}/status"
    ));
    assert!(status.contains("CapBnd:\t0000000000000400"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    let write = format!("nsenter -t {pid} -m sh -c 'touch /usr/x /etc/x || exit 7'");
    host.refuses(&write);
    let devices = host.runs(&format!("nsenter -t {pid} -m ls /dev"));
    assert!(
        !devices.contains("loop") && devices.contains("urandom"),
        "{devices}"
    );
}

fn holds_units_back(host: &Container, keeper: &Keeper) {
    keeper.take_over();
    host.until("the takeover", || keeper.is_taken_over().then_some(()));
    host.runs("systemctl stop boot-complete.target evenkeel-boot-good");
    host.runs("systemctl start --no-block boot-complete.target");
    host.until_property("evenkeel-boot-good", "StatusText", |text| {
        text.starts_with("waits for n1 to serve")
    });
    assert_eq!(
        host.property("boot-complete.target", "ActiveState"),
        "inactive"
    );
    host.until("the giveback", || keeper.give_back().then_some(()));
    host.until_property("boot-complete.target", "ActiveState", |state| {
        state == "active"
    });
    assert_eq!(host.property("evenkeel-boot-good", "ActiveState"), "active");

    // What stands for Pacemaker here wants the gate, as the package's link says.
    let unit = "[Service]\nExecStart=/usr/bin/sleep infinity\n";
    fs::write(host.root.join("etc/systemd/system/pacemaker.service"), unit).unwrap();
    host.runs("systemctl daemon-reload; systemctl start pacemaker");
    assert_eq!(
        host.property("evenkeel-pacemaker-gate", "Result"),
        "success"
    );
    host.runs("systemctl stop pacemaker");

    // A daemon that does not start: Pacemaker does, after the gate's bound and not before.
    let dropin = "etc/systemd/system/evenkeel-pacemaker-gate.service.d/short.conf";
    let short = "[Service]\nExecStart=\nExecStart=/usr/bin/evenkeeld pacemaker-gate --within 3\n";
    write(host, dropin, short);
    host.runs("systemctl mask --now --runtime evenkeeld");
    host.runs("systemctl start --no-block pacemaker");
    host.until_property("evenkeel-pacemaker-gate", "StatusText", |text| {
        text.starts_with("waits for the daemon")
    });
    assert_eq!(host.property("pacemaker", "ActiveState"), "inactive");
    host.until_property("pacemaker", "ActiveState", |state| state == "active");
    host.runs("journalctl --no-pager -o cat -u evenkeel-pacemaker-gate -n 4");
    host.runs("systemctl stop pacemaker; systemctl unmask --runtime evenkeeld");
    fs::remove_file(host.root.join("etc/systemd/system/pacemaker.service")).unwrap();
    fs::remove_dir_all(host.root.join(dropin).parent().unwrap()).unwrap();
    host.runs("systemctl daemon-reload; systemctl start evenkeeld");
}

fn write(host: &Container, path: &str, text: &str) {
    let path = host.root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn logs_with_fields(host: &Container) {
    // Nobody listens there: the daemon logs that it tries, and of which operation.
    let get = node::api("image package get http://127.0.0.1:9/none.tgz");
    host.until("a coordinator", || {
        let (_, said) = host.tries(&format!("timeout 2 {get}"));
        let logged = journal(host, "EVENKEEL_OPERATION");
        (!logged.is_empty()).then_some(said)
    });
    let of_operation = &journal(host, "EVENKEEL_OPERATION")[0];
    println!("    {of_operation}");
    assert_eq!(of_operation["EVENKEEL_NODE"], "n1");
    let ready = &journal(host, "MESSAGE_ID=5e2a9c1f7d3b4b0e9a6c41d0f2b7e801")[0];
    println!("    {ready}");
    assert_eq!(ready["MESSAGE"], "ready");
    assert_eq!(ready["PRIORITY"], "6");
    assert_eq!(ready["SYSLOG_IDENTIFIER"], "evenkeeld");
    assert!(
        ready["CODE_FILE"].as_str().unwrap().ends_with("start.rs"),
        "{ready}"
    );
    assert!(ready["EVENKEEL_BOOT"].is_string() && ready["CODE_LINE"].is_string());
}

/// Messages of the daemon with a field, or with a field's value.
pub(crate) fn journal(host: &Container, wanted: &str) -> Vec<Value> {
    let (_, said) = host.tries("journalctl --no-pager -o json -u evenkeeld");
    let all = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_wanted = |it: &Value| match wanted.split_once('=') {
        Some((field, value)) => it[field] == value,
        None => !it[wanted].is_null(),
    };
    all.filter(is_wanted).collect()
}

/// A process that is stopped does nothing, a watchdog of systemd's included.
fn hangs(host: &Container) {
    let dropin = "etc/systemd/system/evenkeeld.service.d/short.conf";
    write(
        host,
        dropin,
        "[Service]\nWatchdogSec=3\nTimeoutAbortSec=1\n",
    );
    host.runs("systemctl daemon-reload; systemctl restart evenkeeld");
    let pid = host.property("evenkeeld", "MainPID");
    host.runs(&format!("kill -STOP {pid}"));
    host.until_property("evenkeeld", "NRestarts", |times| times == "1");
    host.until_property("evenkeeld", "ActiveState", |state| state == "active");
    assert_ne!(host.property("evenkeeld", "MainPID"), pid);
    let said = host.runs("journalctl --no-pager -o cat -u evenkeeld | grep -i watchdog");
    assert!(said.contains("Watchdog timeout"), "{said}");
    fs::remove_dir_all(host.root.join(dropin).parent().unwrap()).unwrap();
    host.runs("systemctl daemon-reload; systemctl restart evenkeeld");
    knows_its_users(host);
}

/// The daemon has its own view of what is mounted. A pool that Pacemaker unmounts to give it to the partner must not stay in
/// use there.
fn lets_a_pool_go(host: &Container) {
    host.runs("mkdir -p /pool/before /pool/after && mount -t tmpfs before /pool/before");
    // As docs/install.md has it for the pool that the record is on.
    let dropin = "etc/systemd/system/evenkeeld.service.d/pool.conf";
    write(host, dropin, "[Service]\nReadWritePaths=/pool/before\n");
    host.runs("systemctl daemon-reload && systemctl restart evenkeeld");
    host.runs("mount -t tmpfs after /pool/after");
    let pid = host.property("evenkeeld", "MainPID");
    let seen = host.runs(&format!("grep -o '/pool/[a-z]*' /proc/{pid}/mountinfo"));
    assert!(
        seen.contains("/pool/before") && seen.contains("/pool/after"),
        "{seen}"
    );
    host.runs(&format!("nsenter -t {pid} -m touch /pool/before/record.db"));
    host.runs("umount /pool/before /pool/after");
    host.refuses(&format!("grep '/pool/' /proc/{pid}/mountinfo | grep tmpfs"));
    // It comes once more, and can be written to.
    host.runs("mount -t tmpfs again /pool/before");
    host.runs(&format!("nsenter -t {pid} -m touch /pool/before/record.db"));
    host.runs("umount /pool/before");
    fs::remove_dir_all(host.root.join(dropin).parent().unwrap()).unwrap();
    host.runs("systemctl daemon-reload && systemctl restart evenkeeld");
    is_back(host);
}

pub(crate) fn is_back(host: &Container) {
    host.until_property("evenkeeld", "ActiveState", |state| state == "active");
    host.until_property("evenkeeld", "StatusText", |text| {
        text.contains("coordinator n1")
    });
    knows_its_users(host);
}
