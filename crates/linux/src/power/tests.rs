//! Power and service processors: rules with programs that only note what they were called for, and the real simulator of a processor.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{BootId, LanSp, PowerSettings, SpSettings};
use tempfile::TempDir;

use super::LinuxPower;
use crate::{Call, Finished, Host, Programs, SystemPrograms};
use evenkeel_platform::{PlatformError, Power, RebootRequest};

const BOOT: &str = "0e0f5c1e-6d53-4c8f-8a7d-8d2e5d1c9a10";
const OTHER: &str = "1e0f5c1e-6d53-4c8f-8a7d-8d2e5d1c9a10";

/// Notes calls, and gives each the next answer: an exit code and an output.
#[derive(Default)]
struct Scripted {
    calls: Mutex<Vec<String>>,
    answers: Mutex<Vec<(i32, &'static str)>>,
}

#[async_trait]
impl Programs for Scripted {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        self.calls.lock().unwrap().push(call.line());
        let mut answers = self.answers.lock().unwrap();
        let (code, output) = if answers.is_empty() {
            (0, "")
        } else {
            answers.remove(0)
        };
        Ok(Finished {
            code: Some(code),
            output: output.as_bytes().to_vec(),
            errors: String::new(),
        })
    }
}

struct Bench {
    dir: TempDir,
    programs: Arc<Scripted>,
    power: PowerSettings,
    sp: SpSettings,
    partner: Option<&'static str>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let random = dir.path().join("proc/sys/kernel/random");
        fs::create_dir_all(&random).unwrap();
        fs::write(random.join("boot_id"), format!("{BOOT}\n")).unwrap();
        Self {
            dir,
            programs: Arc::default(),
            power: PowerSettings::default(),
            sp: SpSettings::default(),
            partner: None,
        }
    }

    fn power(&self) -> LinuxPower {
        let host = Host::new(self.dir.path(), Arc::clone(&self.programs) as Arc<_>);
        let partner = self.partner.map(|name| name.parse().unwrap());
        LinuxPower::new(&host, &self.power, &self.sp, partner)
    }

    fn put(&self, path: &str, text: &str) -> PathBuf {
        let at = self.dir.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, text).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o600)).unwrap();
        path.into()
    }

    fn calls(&self) -> Vec<String> {
        self.programs.calls.lock().unwrap().clone()
    }

    fn answers(&self, answers: &[(i32, &'static str)]) {
        *self.programs.answers.lock().unwrap() = answers.to_vec();
    }
}

fn boot(text: &str) -> RebootRequest {
    let boot: BootId = text.parse().unwrap();
    RebootRequest { boot }
}

fn lan(port: u16, password_file: &Path) -> LanSp {
    LanSp {
        host: "127.0.0.1".to_owned(),
        port,
        user: "ipmiusr".to_owned(),
        password_file: password_file.to_owned(),
        cipher_suite: 3,
    }
}

#[tokio::test]
async fn a_boot_is_the_kernels_unless_a_file_says_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.power().boot_id().await.unwrap().to_string(), BOOT);
    bench.power.boot_id_file = Some("/run/boot_id".into());
    let missing = bench.power().boot_id().await.unwrap_err();
    assert!(
        missing.is_transient() && missing.to_string().contains("/run/boot_id"),
        "{missing}"
    );
    bench.put("/run/boot_id", OTHER);
    assert_eq!(bench.power().boot_id().await.unwrap().to_string(), OTHER);
    bench.put("/run/boot_id", "today");
    let damaged = bench.power().boot_id().await.unwrap_err();
    assert!(damaged.to_string().contains("holds no UUID"), "{damaged}");
}

#[tokio::test]
async fn a_reboot_is_done_once_and_never_beside_a_partner() {
    let mut bench = Bench::new();
    let stale = bench.power().reboot(&boot(OTHER)).await;
    assert!(matches!(stale, Err(PlatformError::Refused(_))), "{stale:?}");
    bench.partner = Some("n2");
    let paired = bench.power().reboot(&boot(BOOT)).await;
    assert!(
        matches!(paired, Err(PlatformError::Refused(_))),
        "{paired:?}"
    );
    assert!(bench.calls().is_empty());

    bench.partner = None;
    bench.power().reboot(&boot(BOOT)).await.unwrap();
    assert_eq!(bench.calls(), ["env systemctl reboot"]);
    bench.power.reboot = Some(["/sbin/again", "n1"].map(str::to_owned).into());
    bench.answers(&[(1, "")]);
    let failed = bench.power().reboot(&boot(BOOT)).await.unwrap_err();
    assert!(failed.is_transient(), "{failed}");
    assert_eq!(bench.calls()[1], "env /sbin/again n1");
    bench.power.reboot = Some(Vec::new());
    let nothing = bench.power().reboot(&boot(BOOT)).await.unwrap_err();
    assert!(!nothing.is_transient(), "{nothing}");
}

const ID: &str = " 20 81 03 41 02 bf 57 01 00 0b 00\n";
/// Bit 7 of the third byte: it runs no ordinary firmware.
const ID_UNAVAILABLE: &str = " 20 81 83 41 02 bf 57 01 00 0b 00\n";

#[tokio::test]
async fn the_own_processor_is_asked_through_the_kernel() {
    let bench = Bench::new();
    let none = bench.power().sp().await.unwrap_err();
    assert!(none.to_string().contains("/dev/ipmi0"), "{none}");
    bench.put("/dev/ipmi0", "");
    for (answers, expected) in [
        (&[(0, ID), (0, " 55 00\n")][..], Some((true, true))),
        (&[(0, ID), (0, " 57 01\n")], Some((true, false))),
        (&[(0, ID), (0, " 57 02\n")], Some((true, false))),
        // Damage to its data is none to its image.
        (&[(0, ID), (0, " 57 c8\n")], Some((true, true))),
        (&[(0, ID), (0, " 56 00\n")], Some((true, true))),
        (&[(0, ID_UNAVAILABLE), (0, " 56 00\n")], Some((true, false))),
        (&[(1, "")], Some((false, true))),
        // Half an answer is none.
        (&[(0, " 20 81\n")], None),
        (&[(0, ID), (0, " 55\n")], None),
        // The self test is not known to all; silence is silence.
        (&[(0, ID), (1, ""), (0, ID)], Some((true, true))),
        (
            &[(0, ID), (1, ""), (0, ID_UNAVAILABLE)],
            Some((true, false)),
        ),
        (&[(0, ID), (1, ""), (1, "")], Some((false, true))),
        (&[(0, "Device ID : 32\n")], None),
    ] {
        bench.answers(answers);
        let state = bench.power().sp().await;
        match expected {
            Some((reachable, image_ok)) => {
                let state = state.unwrap();
                assert_eq!(
                    (state.reachable, state.image_ok),
                    (reachable, image_ok),
                    "{answers:?}"
                );
            }
            None => assert!(state.unwrap_err().is_transient(), "{answers:?}"),
        }
    }
    assert_eq!(bench.calls()[0], "ipmitool -I open raw 0x06 0x01");
}

#[tokio::test]
async fn where_there_are_none_nothing_is_asked() {
    let mut bench = Bench::new();
    bench.partner = Some("n2");
    bench.sp.none = true;
    let (own, partner) = (bench.power().sp().await, bench.power().partner_sp().await);
    assert!(own.unwrap().absent && partner.unwrap().unwrap().absent);
    assert!(bench.calls().is_empty());
}

#[tokio::test]
async fn the_partners_processor_is_asked_with_a_secret_kept() {
    let mut bench = Bench::new();
    assert_eq!(bench.power().partner_sp().await, Ok(None));
    bench.partner = Some("n2");
    let silent = bench.power().partner_sp().await.unwrap_err();
    assert!(
        silent.to_string().contains("[platform.sp.partner]"),
        "{silent}"
    );

    let file = PathBuf::from("/etc/evenkeel/sp");
    bench.sp.partner = Some(lan(623, &file));
    let absent = bench.power().partner_sp().await.unwrap_err();
    assert!(absent.to_string().contains("/etc/evenkeel/sp"), "{absent}");
    bench.put("/etc/evenkeel/sp", "secret");
    bench.answers(&[(0, ID), (1, "")]);
    assert!(bench.power().partner_sp().await.unwrap().unwrap().reachable);
    assert!(!bench.power().partner_sp().await.unwrap().unwrap().reachable);
    let line = &bench.calls()[0];
    assert!(
        !line.contains("secret") && line.contains("-f /etc/evenkeel/sp"),
        "{line}"
    );

    let open = bench.dir.path().join("etc/evenkeel/sp");
    fs::set_permissions(open, fs::Permissions::from_mode(0o644)).unwrap();
    let open = bench.power().partner_sp().await.unwrap_err();
    assert!(open.to_string().contains("chmod 600"), "{open}");
}

/// OpenIPMI's simulator; it ends with this.
struct Simulator {
    child: Child,
    port: u16,
}

impl Simulator {
    fn start(dir: &Path) -> Self {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let lan = format!(
            "name \"sp\"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n    \
             allowed_auths_callback none md2 md5 straight\n    allowed_auths_user none md2 md5 straight\n    \
             allowed_auths_operator none md2 md5 straight\n    allowed_auths_admin none md2 md5 straight\n    \
             guid a123456789abcdefa123456789abcdef\n  endlan\n  user 1 true \"\" \"test\" user 10 none md2 md5 straight\n  \
             user 2 true \"ipmiusr\" \"test\" admin 10 none md2 md5 straight\n"
        );
        fs::write(dir.join("lan.conf"), lan).unwrap();
        let emulation = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
                         sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";
        fs::write(dir.join("sim.emu"), emulation).unwrap();
        fs::create_dir_all(dir.join("state")).unwrap();
        let child = Command::new("ipmi_sim")
            .args(["-n", "-p", "-s"])
            .arg(dir.join("state"))
            .arg("-c")
            .arg(dir.join("lan.conf"))
            .arg("-f")
            .arg(dir.join("sim.emu"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("ipmi_sim: apt-get install openipmi");
        Self { child, port }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[tokio::test]
#[ignore = "needs ipmi_sim and ipmitool (Debian: openipmi, ipmitool)"]
async fn a_simulated_processor_answers_the_real_tool() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, password: &str| {
        let path = dir.path().join(name);
        fs::write(&path, password).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (right, wrong) = (put("right", "test\n"), put("wrong", "guess\n"));
    let simulator = Simulator::start(dir.path());
    let power = |file: &Path| {
        let host = Host::new("/", Arc::new(SystemPrograms));
        let sp = SpSettings {
            own: Some(lan(simulator.port, file)),
            partner: Some(lan(simulator.port, file)),
            ..SpSettings::default()
        };
        LinuxPower::new(
            &host,
            &PowerSettings::default(),
            &sp,
            Some("n2".parse().unwrap()),
        )
    };
    let mut reachable = false;
    for _ in 0..10 {
        reachable = power(&right).partner_sp().await.unwrap().unwrap().reachable;
        if reachable {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(reachable, "the simulator did not answer within ten tries");
    let state = power(&right).sp().await.unwrap();
    assert!(state.reachable && state.image_ok, "{state:?}");
    assert!(!power(&wrong).partner_sp().await.unwrap().unwrap().reachable);
    let port = simulator.port;
    drop(simulator);
    let host = Host::new("/", Arc::new(SystemPrograms));
    let gone = SpSettings {
        own: Some(lan(port, &right)),
        ..SpSettings::default()
    };
    let gone = LinuxPower::new(&host, &PowerSettings::default(), &gone, None);
    assert!(!gone.sp().await.unwrap().reachable);
}
