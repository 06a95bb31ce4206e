//! The tools that people already have: GRUB's own editor of its block, and RAUC's service on a bus of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{Slot, SlotHealth};

use super::bench::{Bench, Kind, TRIES};
use super::loaders;
use crate::slots::disk::Disk;
use crate::slots::on;
use crate::{Call, Finished, Host, Programs, SystemPrograms};
use evenkeel_platform::{BootSlots, PlatformError};

fn editenv(file: &Path, args: &[&str]) -> String {
    let output = Command::new("grub-editenv").arg(file).args(args).output();
    let output = output.expect("grub-editenv: apt-get install grub-common");
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs grub-editenv (Debian: grub-common)"]
async fn grubs_own_editor_and_we_read_each_other() {
    let bench = Bench::new(Kind::Grub);
    let env = bench.at("grub/grubenv");
    fs::remove_file(&env).unwrap();
    editenv(&env, &["create"]);
    let before = [
        "set",
        "kernelopts=root=/dev/sda1 a\\b",
        "ORDER=A B",
        "A_OK=1",
        "A_TRY=0",
    ];
    editenv(&env, &before);
    let state = bench.slots().slots().await.unwrap();
    assert_eq!((state.default, state.a.health), (Slot::A, SlotHealth::Good));

    bench.activate().await;
    let list = editenv(&env, &["list"]);
    for line in [
        "ORDER=B A",
        "A_OK=1",
        "A_LEFT=0",
        "B_OK=1",
        "B_TRY=0",
        "B_LEFT=3",
        "kernelopts=root=/dev/sda1 a\\b",
    ] {
        assert!(list.lines().any(|found| found == line), "{line}: {list}");
    }
    editenv(&env, &["set", "B_LEFT=2"]);
    let state = bench.slots().slots().await.unwrap();
    assert_eq!(state.b.health, SlotHealth::Untried { tries: 2 });
    assert_eq!(bench.boot(), Some(Slot::B));
    bench.slots().mark_good(Slot::B).await.unwrap();
    assert!(editenv(&env, &["list"]).contains("B_LEFT=0"));
    assert_eq!(fs::read(&env).unwrap().len(), 1024);
}

const GRUB_CFG: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../systemd/grub.cfg.example"
);

/// GRUB goes on after a command that failed, and stays in its menu in the end.
#[test]
fn an_image_that_grub_cannot_load_is_given_up() {
    let text = fs::read_to_string(GRUB_CFG).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let commands = ["search ", "linux ", "initrd "];
    let loads = |line: &str| commands.iter().any(|command| line.starts_with(command));
    let followers: Vec<&str> = lines
        .windows(2)
        .filter(|pair| loads(pair[0]))
        .map(|pair| pair[1])
        .collect();
    let gives_up = |slot| format!("if [ $? != 0 ]; then give_up {slot}; fi");
    let expected = ["A", "A", "A", "B", "B", "B"].map(gives_up);
    assert_eq!(followers, expected, "three commands for each of two slots");
}

#[test]
#[ignore = "needs grub-script-check (Debian: grub-common)"]
fn the_example_is_a_script_of_grubs() {
    let status = Command::new("grub-script-check").arg(GRUB_CFG).status();
    let status = status.expect("grub-script-check: apt-get install grub-common");
    assert!(status.success());
}

/// RAUC's custom loader: three files, and a count as U-Boot's script keeps it.
const BACKEND: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
case $1 in
get-primary)
    for slot in $(cat order); do [ "$(cat left.$slot)" -gt 0 ] && { echo $slot; exit 0; }; done
    exit 1 ;;
set-primary)
    [ $2 = A ] && echo "A B" >order || echo "B A" >order
    echo 3 >left.$2 ;;
get-state) [ "$(cat left.$2)" -gt 0 ] && echo good || echo bad ;;
set-state) [ $3 = good ] && echo 3 >left.$2 || echo 0 >left.$2 ;;
get-current) cat current ;;
*) exit 1 ;;
esac
"#;

/// `dbus-daemon` and `rauc service`; both end with it.
struct RealRauc {
    dir: PathBuf,
    bus: Child,
    service: Option<Child>,
}

/// `busctl` on that bus.
struct OnBus {
    address: String,
}

#[async_trait]
impl Programs for OnBus {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        let mut call = call.clone();
        assert_eq!(call.args[0], "--system");
        call.args[0] = format!("--address={}", self.address);
        SystemPrograms.run(&call).await
    }
}

impl RealRauc {
    fn start(dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).unwrap();
        let put = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
        let here = dir.display();
        put(
            "bus.conf",
            &format!(
                "<busconfig><type>system</type><listen>unix:path={here}/bus</listen><auth>EXTERNAL</auth>\
                 <policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>"
            ),
        );
        put(
            "system.conf",
            &format!(
                "[system]\ncompatible=evenkeel-test\nbootloader=custom\n\
                 [handlers]\nbootloader-custom-backend={here}/backend\n\
                 [slot.rootfs.0]\ndevice={here}/device.0\ntype=raw\nbootname=A\n\
                 [slot.rootfs.1]\ndevice={here}/device.1\ntype=raw\nbootname=B\n"
            ),
        );
        for (name, text) in [
            ("order", "A B"),
            ("left.A", "3"),
            ("left.B", "0"),
            ("current", "A"),
            ("device.0", ""),
            ("device.1", ""),
            ("backend", BACKEND),
        ] {
            put(name, text);
        }
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.join("backend"), executable).unwrap();
        let bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={here}/bus.conf"))
            .arg("--nofork")
            .stdin(Stdio::null())
            .spawn()
            .expect("dbus-daemon: apt-get install dbus-daemon");
        wait_for("the bus", || dir.join("bus").exists());
        let mut rauc = Self {
            dir,
            bus,
            service: None,
        };
        rauc.serve(Slot::A);
        rauc
    }

    fn address(&self) -> String {
        format!("unix:path={}/bus", self.dir.display())
    }

    /// The service of a host that runs this slot.
    fn serve(&mut self, booted: Slot) {
        self.end_service();
        let name = booted.as_str().to_uppercase();
        fs::write(self.dir.join("current"), &name).unwrap();
        let service = Command::new("rauc")
            .arg(format!("--conf={}/system.conf", self.dir.display()))
            .arg("service")
            .arg(format!("--override-boot-slot={name}"))
            .env("DBUS_SYSTEM_BUS_ADDRESS", self.address())
            .stdin(Stdio::null())
            .spawn()
            .expect("rauc: apt-get install rauc");
        self.service = Some(service);
        let address = format!("--address={}", self.address());
        wait_for("RAUC", || {
            let status = Command::new("busctl")
                .args([&*address, "--quiet", "status", "de.pengutronix.rauc"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.expect("busctl: apt-get install systemd").success()
        });
    }

    fn end_service(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.kill().unwrap();
            service.wait().unwrap();
        }
    }

    /// The loader's turn: the first slot with tries left, which costs it one.
    fn boot(&mut self, bench: &Bench) -> Slot {
        let read = |name: &str| fs::read_to_string(self.dir.join(name)).unwrap();
        let left = |slot: &str| read(&format!("left.{slot}")).trim().parse::<u8>().unwrap();
        let order = read("order");
        let slot = order
            .split_whitespace()
            .find(|slot| left(slot) > 0)
            .unwrap();
        fs::write(
            self.dir.join(format!("left.{slot}")),
            (left(slot) - 1).to_string(),
        )
        .unwrap();
        let slot = if slot == "A" { Slot::A } else { Slot::B };
        loaders::run_from(bench, slot);
        self.serve(slot);
        slot
    }

    fn slots(&self, bench: &Bench) -> Box<dyn BootSlots> {
        let programs = OnBus {
            address: self.address(),
        };
        let host = Host::new(bench.root(), Arc::new(programs));
        on(&host, &bench.settings(), Disk::default())
    }
}

impl Drop for RealRauc {
    fn drop(&mut self) {
        self.end_service();
        let _ended = self.bus.kill();
        let _ended = self.bus.wait();
    }
}

fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    for _ in 0..200 {
        if is_there() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what} did not come within 10 s");
}

#[tokio::test]
#[ignore = "needs rauc, dbus-daemon and busctl (Debian: rauc, dbus, systemd)"]
async fn raucs_own_service_is_driven() {
    let bench = Bench::new(Kind::Rauc);
    let mut rauc = RealRauc::start(bench.at("rauc"));
    let slots = rauc.slots(&bench);
    let state = slots.slots().await.unwrap();
    assert_eq!((state.booted, state.default), (Slot::A, Slot::A));
    assert_eq!(
        (state.a.health, state.b.health),
        (SlotHealth::Good, SlotHealth::Unbootable)
    );

    // An image that is never proven falls back by itself.
    for version in ["2", "3"] {
        slots.mark_unbootable(Slot::B).await.unwrap();
        bench.install(Slot::B, version);
        slots.set_default(Slot::B, TRIES).await.unwrap();
        let state = slots.slots().await.unwrap();
        assert_eq!(state.default, Slot::B);
        assert!(matches!(state.b.health, SlotHealth::Untried { .. }));
        assert_eq!(rauc.boot(&bench), Slot::B);
        if version == "2" {
            assert_eq!(
                [(); 3].map(|()| rauc.boot(&bench)),
                [Slot::B, Slot::B, Slot::A]
            );
            let state = slots.slots().await.unwrap();
            assert_eq!((state.booted, state.default), (Slot::A, Slot::A));
            assert_eq!(state.b.health, SlotHealth::Unbootable);
            slots.mark_good(Slot::A).await.unwrap();
        }
    }
    let refused = slots.mark_unbootable(Slot::B).await;
    assert!(
        matches!(refused, Err(PlatformError::Refused(_))),
        "{refused:?}"
    );
    slots.mark_good(Slot::B).await.unwrap();
    let state = slots.slots().await.unwrap();
    assert_eq!((state.booted, state.b.health), (Slot::B, SlotHealth::Good));
    assert_eq!(state.b.image.unwrap().version.as_str(), "3");

    rauc.end_service();
    let silent = slots.slots().await;
    assert!(
        matches!(silent, Err(PlatformError::Unavailable(_))),
        "{silent:?}"
    );
}
