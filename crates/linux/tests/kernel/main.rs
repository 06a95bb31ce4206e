//! The backend `linux` on a kernel of its own, with disks, arrays and volumes that are real to it: `tests/kernel/run.sh` starts a small
//! machine, and there each of these tests but [`outside`], which starts it. They act on every disk that they find, so they run nowhere
//! else: `cargo test -p evenkeel-platform --test kernel -- --ignored --exact outside`.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_linux::Host;
use evenkeel_linux::devices::Hardware;
use evenkeel_linux::inventory::{Machine, Places, health};
use evenkeel_linux::storage::{PoolPlace, PoolPlaces};
use evenkeel_model::{InventorySettings, NodeName, PoolHealth, PoolName, SlotSettings, Storage};
use evenkeel_platform::devices::{
    Devices, Drive, DriveState, GroupId, NvmeCommand, NvmeReset, OfflineRequest, ScsiCommand,
    ScsiData, ScsiReply, ScsiTarget, admin, opcode, status,
};
use evenkeel_platform::{Inventory, PlatformError};

struct Pools(Vec<PoolPlace>);

#[async_trait]
impl PoolPlaces for Pools {
    async fn pools(&self) -> Result<Vec<PoolPlace>, PlatformError> {
        Ok(self.0.clone())
    }
}

fn node() -> NodeName {
    NodeName::new("guest").unwrap()
}

fn pools() -> Arc<Pools> {
    Arc::new(Pools(vec![PoolPlace {
        name: PoolName::new("data").unwrap(),
        home: node(),
        owner: Some(node()),
        root: false,
        storage: vec![md0()],
    }]))
}

fn md0() -> Storage {
    Storage::Md {
        device: "/dev/md0".to_owned(),
    }
}

fn hardware() -> Hardware {
    assert!(
        std::env::var_os("EVENKEEL_GUEST").is_some(),
        "run this by tests/kernel/run.sh"
    );
    let state = std::path::Path::new("/var/lib/evenkeel");
    Hardware::new(
        Host::this(),
        node(),
        InventorySettings::default(),
        pools(),
        state,
        Ok(None),
    )
}

fn machine() -> Machine {
    // The guest has no slots of its own.
    std::fs::create_dir_all("/tmp/slots/a").unwrap();
    let _made_before = std::os::unix::fs::symlink("a", "/tmp/slots/current");
    let slots = SlotSettings::Directory {
        path: "/tmp/slots".into(),
    };
    let places = Places {
        store: "/run".into(),
        slots: evenkeel_linux::slots::open(&Host::this(), &slots).into(),
        root: "/".into(),
    };
    Machine::new(
        Host::this(),
        node(),
        InventorySettings::default(),
        places,
        pools(),
    )
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let program = words.next().unwrap();
    let ended = Command::new(program).args(words).output().unwrap();
    assert!(
        ended.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

/// Sends a command as often as the device only has news.
async fn ask(device: &Hardware, target: &ScsiTarget, cdb: Vec<u8>, data: ScsiData) -> ScsiReply {
    let device = device.scsi(target);
    for _ in 0..5 {
        let command = ScsiCommand {
            cdb: cdb.clone(),
            data: data.clone(),
            timeout_ms: 10_000,
        };
        let reply = device.execute(&command).await.unwrap();
        let news = reply.status == status::CHECK_CONDITION && reply.sense[2] & 0x0f == 6;
        if !news {
            return reply;
        }
    }
    panic!("nothing but unit attentions");
}

async fn drives() -> Vec<Drive> {
    hardware().drives().await.unwrap()
}

fn scsi_drive(drives: &[Drive]) -> &Drive {
    drives
        .iter()
        .find(|drive| drive.model.as_str() == "scsi_debug")
        .unwrap()
}

#[tokio::test]
#[ignore = "in the guest only"]
async fn scsi() {
    let drives = drives().await;
    println!("{drives:#?}");
    let drive = scsi_drive(&drives);
    let (hardware, target) = (hardware(), ScsiTarget::Drive(drive.serial.clone()));
    let reply = ask(
        &hardware,
        &target,
        vec![opcode::INQUIRY, 0, 0, 0, 36, 0],
        ScsiData::In(36),
    )
    .await;
    assert_eq!(reply.status, status::GOOD);
    assert_eq!(
        String::from_utf8_lossy(&reply.data[16..32]).trim(),
        "scsi_debug"
    );
    // More room than there is data.
    let reply = ask(
        &hardware,
        &target,
        vec![opcode::INQUIRY, 1, 0x80, 0, 252, 0],
        ScsiData::In(252),
    )
    .await;
    assert!(
        reply.data.len() < 252,
        "the residual is taken off: {}",
        reply.data.len()
    );
    let reply = ask(
        &hardware,
        &target,
        vec![opcode::TEST_UNIT_READY, 0, 0, 0, 0, 0],
        ScsiData::None,
    )
    .await;
    assert_eq!(reply.status, status::GOOD);
    // Firmware in two pieces, kept until it is activated.
    for offset in [0_u8, 0x10] {
        let cdb = vec![opcode::WRITE_BUFFER, 0x0e, 0, 0, offset, 0, 0, 0x10, 0, 0];
        let reply = ask(&hardware, &target, cdb, ScsiData::Out(vec![0x5a; 4096])).await;
        assert_eq!(reply.status, status::GOOD, "{reply:?}");
    }
    let activate = vec![opcode::WRITE_BUFFER, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0];
    let reply = ask(&hardware, &target, activate, ScsiData::None).await;
    assert_eq!(reply.status, status::GOOD, "{reply:?}");
    // A command that there is not: the sense data come through.
    let reply = ask(
        &hardware,
        &target,
        vec![0xc5, 0, 0, 0, 0, 0],
        ScsiData::None,
    )
    .await;
    assert_eq!(
        (reply.status, reply.sense[2] & 0x0f, reply.sense[12]),
        (status::CHECK_CONDITION, 5, 0x20)
    );
    hardware.read_test(&drive.serial).await.unwrap();
}

fn admin(opcode: u8, dword: u32, data: ScsiData) -> NvmeCommand {
    NvmeCommand {
        opcode,
        namespace: 0,
        dwords: [dword, 0, 0, 0, 0, 0],
        data,
        timeout_ms: 10_000,
    }
}

#[tokio::test]
#[ignore = "in the guest only"]
async fn nvme() {
    let drives = drives().await;
    let drive = drives
        .iter()
        .find(|drive| drive.serial.as_str() == "EVK-NVME-1")
        .unwrap();
    let hardware = hardware();
    let device = hardware.nvme(&drive.serial);
    let identify = admin(admin::IDENTIFY, 1, ScsiData::In(4096));
    let said = device.submit(&identify).await.unwrap();
    assert_eq!((said.status, said.data.len()), (0, 4096));
    assert_eq!(
        String::from_utf8_lossy(&said.data[4..24]).trim(),
        "EVK-NVME-1"
    );
    let log = admin(admin::GET_LOG_PAGE, 127 << 16 | 3, ScsiData::In(512));
    let said = device.submit(&log).await.unwrap();
    assert_eq!((said.status, said.data[0] & 7), (0, 1));
    // QEMU's drive takes no firmware: Invalid Command Opcode, without the bit for do-not-retry.
    let download = admin(admin::FIRMWARE_DOWNLOAD, 1023, ScsiData::Out(vec![0; 4096]));
    assert_eq!(device.submit(&download).await.unwrap().status, 0x001);
    hardware.read_test(&drive.serial).await.unwrap();
    device.reset(NvmeReset::Controller).await.unwrap();
    let mut answers = device.submit(&identify).await;
    for _ in 0..50 {
        if answers.is_ok() {
            break;
        }
        println!("after the reset: {answers:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        answers = device.submit(&identify).await;
    }
    assert_eq!(answers.unwrap().status, 0);
    for reset in [NvmeReset::Subsystem, NvmeReset::Conventional] {
        // This drive has neither, and says so for good.
        let said = device.reset(reset).await;
        assert!(
            matches!(&said, Err(PlatformError::Refused(why)) if why.contains("power")),
            "{said:?}"
        );
    }
}

fn request(drive: &Drive) -> OfflineRequest {
    OfflineRequest {
        drive: drive.serial.clone(),
        group: GroupId {
            pool: PoolName::new("data").unwrap(),
            number: 0,
        },
    }
}

async fn until(what: &str, wanted: PoolHealth) {
    for _ in 0..100 {
        let groups = hardware().groups().await.unwrap();
        if groups[0].health == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("{what}: {:?}", hardware().groups().await);
}

#[tokio::test]
#[ignore = "in the guest only"]
async fn array() {
    run(
        "mdadm --create /dev/md0 --run --level=1 --raid-devices=2 --bitmap=internal --assume-clean --metadata=1.2 /dev/sda /dev/sdb",
    );
    let (health_now, scrubbing) = health(&Host::this(), &md0()).await.unwrap();
    assert_eq!((health_now, scrubbing), (PoolHealth::Online, false));
    let drives = drives().await;
    let drive = scsi_drive(&drives);
    assert_eq!(drive.place.group(), Some(&request(drive).group));
    let hardware = hardware();
    hardware.take_offline(&request(drive)).await.unwrap();
    hardware.take_offline(&request(drive)).await.unwrap();
    let groups = hardware.groups().await.unwrap();
    assert_eq!(
        (groups[0].health, &groups[0].out),
        (PoolHealth::Degraded, &vec![drive.serial.clone()])
    );
    let out = self::drives().await;
    assert_eq!(scsi_drive(&out).state, DriveState::Offline);
    // The other one cannot leave now.
    let other = out
        .iter()
        .find(|it| it.serial != drive.serial && it.model == drive.model)
        .unwrap();
    assert!(matches!(
        hardware.take_offline(&request(other)).await,
        Err(PlatformError::Refused(_))
    ));
    hardware.read_test(&drive.serial).await.unwrap();
    assert_eq!(
        machine().pools().await.unwrap()[0].health,
        PoolHealth::Degraded
    );
    println!("{:?}", machine().alerts().await);
    hardware.bring_online(&request(drive)).await.unwrap();
    until("back in the array", PoolHealth::Online).await;
    hardware.bring_online(&request(drive)).await.unwrap();
    std::fs::write("/sys/block/md0/md/sync_action", "check").unwrap();
    println!(
        "{:?} {:?}",
        machine().exclusive_jobs().await,
        machine().pools().await
    );
}

#[tokio::test]
#[ignore = "in the guest only"]
async fn volumes() {
    run("pvcreate /dev/md0");
    run("vgcreate vg /dev/md0");
    run("lvcreate -n vol -L 16M vg");
    let vg = Storage::Vg {
        name: "vg".to_owned(),
    };
    let said = health(&Host::this(), &vg).await.unwrap();
    assert_ne!(said.0, PoolHealth::Offline, "{said:?}");
    let jobs = machine().exclusive_jobs().await.unwrap();
    println!("jobs {jobs:?}");
    run("vgchange -a n vg");
    assert_eq!(
        health(&Host::this(), &vg).await.unwrap().0,
        PoolHealth::Offline
    );
    let none = Storage::Vg {
        name: "nowhere".to_owned(),
    };
    assert_eq!(
        health(&Host::this(), &none).await.unwrap().0,
        PoolHealth::Offline
    );
}

#[tokio::test]
#[ignore = "in the guest only"]
async fn paths() {
    let disks = machine().disks().await.unwrap();
    println!("{disks:?}");
    let scsi: Vec<u8> = disks
        .iter()
        .filter(|it| it.serial.as_str() != "EVK-NVME-1")
        .map(|it| it.paths)
        .collect();
    assert_eq!(scsi, [2, 2]);
    std::fs::write("/sys/block/sda/device/state", "offline\n").unwrap();
    let disks = machine().disks().await.unwrap();
    let lost = disks
        .iter()
        .filter(|it| it.paths == 1 && it.serial.as_str() != "EVK-NVME-1")
        .count();
    assert_eq!(lost, 1, "{disks:?}");
    // Nobody reads the disks' marks here.
    let unowned = machine().unowned_disks().await;
    assert!(
        unowned
            .unwrap_err()
            .to_string()
            .contains("udev does not run")
    );
    let machine = machine();
    println!("{:?}", machine.load().await.unwrap());
    println!("{:?}", machine.time_sync().await.unwrap());
    println!("{:?}", machine.space().await.unwrap());
    println!("{:?}", machine.machine().await.unwrap());
    assert_eq!(machine.ports().await.unwrap(), []);
    assert_eq!(machine.shelves().await.unwrap(), []);
    assert_eq!(
        machine.client_hazards().await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(machine.client_risks().await.unwrap(), []);
}

/// Runs all the others where they belong. What it needs and does not find, it names.
#[test]
#[ignore = "starts a machine under QEMU, which takes a minute"]
fn outside() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel/run.sh");
    let own = std::env::current_exe().unwrap();
    let ended = Command::new(script).arg(own).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    let missing = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}\n{missing}");
}
