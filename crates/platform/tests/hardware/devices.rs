//! Simulated devices take the bytes of the standards, keep what they must, and record harm.

use evenkeel_model::{DeviceModel, DiskSerial, FirmwareRevision, PoolHealth};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{
    DeviceId, Drive, DriveState, Group, NvmeCommand, NvmeReset, OfflineRequest, RedfishBody,
    RedfishMethod, RedfishReply, RedfishRequest, ScsiCommand, ScsiData, ScsiReply, ScsiTarget,
};
use evenkeel_platform::sim::{DeviceFault, Fault, Hardware, ImageKind, firmware_image};
use evenkeel_platform::wire::{Command, DeviceCall, DeviceReply, Reply};
use serde_json::json;

use crate::bench::Bench;

const SSD: &str = "X423_SLTNG1T8SSX";
const NVME: &str = "X4011_LANES3T8";

fn serial(text: &str) -> DiskSerial {
    text.parse().unwrap()
}

fn image(kind: ImageKind, model: &str) -> Vec<u8> {
    let model: DeviceModel = model.parse().unwrap();
    let revision: FirmwareRevision = "NA02".parse().unwrap();
    firmware_image(kind, &model, &revision, 6_000)
}

fn ask(bench: &mut Bench, call: DeviceCall) -> Result<DeviceReply, PlatformError> {
    match bench.call("a", Command::Device(call))? {
        Reply::Device(reply) => Ok(reply),
        other => panic!("{other:?}"),
    }
}

fn scsi(bench: &mut Bench, target: ScsiTarget, cdb: &[u8], data: ScsiData) -> ScsiReply {
    let command = ScsiCommand {
        cdb: cdb.to_vec(),
        data,
        timeout_ms: 1_000,
    };
    match ask(bench, DeviceCall::Scsi { target, command }).unwrap() {
        DeviceReply::Scsi(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn disk(bench: &mut Bench, disk: &str, cdb: &[u8], data: ScsiData) -> ScsiReply {
    scsi(bench, ScsiTarget::Drive(serial(disk)), cdb, data)
}

/// Sense key, code and qualifier.
fn sense(reply: &ScsiReply) -> (u8, u8, u8) {
    assert_eq!(reply.status, 0x02, "{reply:?}");
    (reply.sense[2], reply.sense[12], reply.sense[13])
}

fn write_buffer(mode: u8, offset: u16, bytes: &[u8]) -> (Vec<u8>, ScsiData) {
    let ([o1, o0], [l1, l0]) = (offset.to_be_bytes(), (bytes.len() as u16).to_be_bytes());
    let cdb = vec![0x3b, mode, 0, 0, o1, o0, 0, l1, l0, 0];
    (cdb, ScsiData::Out(bytes.to_vec()))
}

fn revision(bench: &mut Bench, name: &str) -> String {
    let reply = disk(bench, name, &[0x12, 0, 0, 0, 36, 0], ScsiData::In(36));
    assert_eq!(reply.data.len(), 36);
    String::from_utf8(reply.data[32..36].to_vec()).unwrap()
}

fn nvme(bench: &mut Bench, opcode: u8, dwords: [u32; 2], data: ScsiData) -> (u16, Vec<u8>) {
    let command = NvmeCommand {
        opcode,
        namespace: 0,
        dwords: [dwords[0], dwords[1], 0, 0, 0, 0],
        data,
        timeout_ms: 1_000,
    };
    let drive = serial("a-D3");
    match ask(bench, DeviceCall::Nvme { drive, command }).unwrap() {
        DeviceReply::Nvme(completion) => (completion.status, completion.data),
        other => panic!("{other:?}"),
    }
}

fn drives(bench: &mut Bench) -> Vec<Drive> {
    match ask(bench, DeviceCall::Drives).unwrap() {
        DeviceReply::Drives(drives) => drives,
        other => panic!("{other:?}"),
    }
}

fn group(bench: &mut Bench) -> Group {
    match ask(bench, DeviceCall::Groups).unwrap() {
        DeviceReply::Groups(groups) => groups[0].clone(),
        other => panic!("{other:?}"),
    }
}

fn offline(bench: &mut Bench, name: &str) -> Result<DeviceReply, PlatformError> {
    let group = group(bench).id;
    let drive = serial(name);
    ask(
        bench,
        DeviceCall::TakeOffline(OfflineRequest { drive, group }),
    )
}

fn module(name: &str) -> ScsiTarget {
    ScsiTarget::Module {
        shelf: "a-S1".to_owned(),
        module: name.to_owned(),
    }
}

/// The download microcode status of a module, with its generation code.
fn microcode_status(bench: &mut Bench, name: &str) -> (u8, Vec<u8>) {
    let look = [0x1c, 1, 0x0e, 2, 0, 0];
    let page = scsi(bench, module(name), &look, ScsiData::In(512)).data;
    (page[10], page[4..8].to_vec())
}

fn send_page(bench: &mut Bench, name: &str, mode: u8, bytes: &[u8]) {
    let (_, generation) = microcode_status(bench, name);
    let mut page = vec![0x0e, 0, 0, 0];
    page.extend(generation);
    page.extend([mode, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    page.extend((bytes.len() as u32).to_be_bytes());
    page.extend(bytes);
    let send = [0x1d, 0x10, 0, 0, 0, 0];
    let sent = scsi(bench, module(name), &send, ScsiData::Out(page));
    assert_eq!(sent.status, 0);
}

fn stage_module(bench: &mut Bench, name: &str) {
    send_page(bench, name, 0x0e, &image(ImageKind::Module, "IOM12"));
    assert_eq!(microcode_status(bench, name).0, 0x03, "it puts it away");
    bench.pass(1_000);
    assert_eq!(
        microcode_status(bench, name).0,
        0x13,
        "it awaits its activation"
    );
}

#[test]
fn a_sas_drive_takes_microcode_in_every_mode_that_saves_it() {
    let whole = image(ImageKind::Drive, SSD);
    for mode in [0x05, 0x07, 0x0d, 0x0e] {
        let mut bench = Bench::new();
        let pieces = if mode == 0x05 { whole.len() } else { 4_096 };
        for (number, piece) in whole.chunks(pieces).enumerate() {
            let (cdb, data) = write_buffer(mode, (number * pieces) as u16, piece);
            assert_eq!(disk(&mut bench, "a-D4", &cdb, data).status, 0, "{mode:#x}");
        }
        if mode >= 0x0d {
            assert_eq!(revision(&mut bench, "a-D4"), "NA01", "deferred");
            let activate = [0x3b, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(
                disk(&mut bench, "a-D4", &activate, ScsiData::None).status,
                0
            );
        }
        let ready = |bench: &mut Bench| disk(bench, "a-D4", &[0; 6], ScsiData::None);
        assert_eq!(
            sense(&ready(&mut bench)),
            (0x02, 0x04, 0x01),
            "becoming ready"
        );
        bench.pass(1_000);
        assert_eq!(
            sense(&ready(&mut bench)),
            (0x06, 0x3f, 0x01),
            "microcode changed"
        );
        assert_eq!(ready(&mut bench).status, 0);
        assert_eq!(revision(&mut bench, "a-D4"), "NA02", "{mode:#x}");
        assert_eq!(bench.hardware.harms().count(), 0, "it is a spare");
    }
}

#[test]
fn a_sas_drive_refuses_what_it_cannot_take() {
    let mut bench = Bench::new();
    let whole = image(ImageKind::Drive, SSD);
    let mut write = |disk_name: &str, mode, offset, bytes: &[u8]| {
        let (cdb, data) = write_buffer(mode, offset, bytes);
        let reply = disk(&mut bench, disk_name, &cdb, data);
        (reply.status != 0).then(|| sense(&reply))
    };
    assert_eq!(
        write("a-D4", 0x04, 0, &whole),
        Some((0x05, 0x24, 0x00)),
        "mode"
    );
    assert_eq!(
        write("a-D2", 0x0e, 0, &whole),
        Some((0x05, 0x24, 0x00)),
        "old make"
    );
    assert_eq!(
        write("a-D4", 0x0f, 0, &[]),
        Some((0x05, 0x2c, 0x00)),
        "nothing deferred"
    );
    assert_eq!(
        write("a-D4", 0x0e, 512, &whole),
        Some((0x05, 0x24, 0x00)),
        "offset"
    );
    let other = image(ImageKind::Drive, "X1");
    assert_eq!(
        write("a-D4", 0x0e, 0, &other),
        Some((0x05, 0x26, 0x00)),
        "image"
    );
    let mut damaged = whole.clone();
    damaged[3_000] ^= 1;
    assert_eq!(
        write("a-D4", 0x0e, 0, &damaged),
        Some((0x05, 0x26, 0x00)),
        "damage"
    );
    assert_eq!(write("a-D4", 0x0e, 0, &whole), None);
    let read = disk(
        &mut bench,
        "a-D4",
        &[0x28, 0, 0, 0, 0, 8, 0, 0, 2, 0],
        ScsiData::In(1024),
    );
    assert_eq!(read.data.len(), 1024);
}

#[test]
fn an_nvme_drive_commits_and_says_which_reset_it_needs() {
    let mut bench = Bench::new();
    let mut whole = image(ImageKind::Drive, NVME);
    let (status, data) = nvme(&mut bench, 0x06, [1, 0], ScsiData::In(4096));
    assert_eq!((status, data[260], &data[64..68]), (0, 0x17, &b"NA01"[..]));
    let commit = |slot: u32, action: u32| [action << 3 | slot, 0];
    let none = || ScsiData::None;
    assert_eq!(
        nvme(&mut bench, 0x10, commit(1, 3), none()).0,
        0x106,
        "read-only"
    );
    assert_eq!(
        nvme(&mut bench, 0x10, commit(4, 3), none()).0,
        0x106,
        "no such slot"
    );
    assert_eq!(
        nvme(&mut bench, 0x10, commit(2, 3), none()).0,
        0x107,
        "no image"
    );
    whole.resize(whole.len().next_multiple_of(4), 0);
    for (number, piece) in whole.chunks(4_096).enumerate() {
        let dwords = [piece.len() as u32 / 4 - 1, number as u32 * 1_024];
        let data = ScsiData::Out(piece.to_vec());
        assert_eq!(nvme(&mut bench, 0x11, dwords, data.clone()).0, 0);
        if number == 0 {
            let again = [piece.len() as u32 / 4 - 1, 512];
            assert_eq!(nvme(&mut bench, 0x11, again, data).0, 0x114, "overlap");
        }
    }
    assert_eq!(
        nvme(&mut bench, 0x10, commit(2, 3), none()).0,
        0x111,
        "needs a reset"
    );
    let (_, log) = nvme(&mut bench, 0x02, [127 << 16 | 3, 0], ScsiData::In(512));
    assert_eq!(
        (log[0], &log[16..20]),
        (2 << 4 | 1, &b"NA02"[..]),
        "committed, not active"
    );
    let (_, data) = nvme(&mut bench, 0x06, [1, 0], ScsiData::In(4096));
    assert_eq!(&data[64..68], b"NA01");
    offline(&mut bench, "a-D3").unwrap();
    let (drive, reset) = (serial("a-D3"), NvmeReset::Controller);
    ask(&mut bench, DeviceCall::NvmeReset { drive, reset }).unwrap();
    bench.pass(1_000);
    let (_, data) = nvme(&mut bench, 0x06, [1, 0], ScsiData::In(4096));
    assert_eq!(&data[64..68], b"NA02");
    assert_eq!(bench.hardware.harms().count(), 0);
}

#[test]
fn a_module_that_starts_takes_its_path_away_and_both_at_once_are_harm() {
    let mut bench = Bench::new();
    let works = |bench: &mut Bench| -> usize {
        let drive = drives(bench).remove(0);
        drive.paths.iter().filter(|path| path.works).count()
    };
    for name in ["A", "B"] {
        stage_module(&mut bench, name);
        send_page(&mut bench, name, 0x0f, &[]);
        assert_eq!(works(&mut bench), 1);
        bench.pass(2_000);
        assert_eq!(works(&mut bench), 2);
        let shelf = "a-S1".to_owned();
        let module = name.to_owned();
        let runs = bench
            .hardware
            .firmware_of(&DeviceId::Module { shelf, module });
        assert_eq!(runs.unwrap().as_str(), "NA02");
    }
    bench.healthy();

    let mut bench = Bench::new();
    for name in ["A", "B"] {
        stage_module(&mut bench, name);
    }
    for name in ["A", "B"] {
        send_page(&mut bench, name, 0x0f, &[]);
    }
    assert_eq!(works(&mut bench), 0);
    assert_eq!(
        bench.hardware.harms().count(),
        1,
        "the group lost all its drives"
    );
}

#[test]
fn a_module_says_by_its_status_what_became_of_an_image() {
    let mut bench = Bench::new();
    let mut status = |mode, bytes: &[u8]| {
        send_page(&mut bench, "A", mode, bytes);
        microcode_status(&mut bench, "A").0
    };
    let whole = image(ImageKind::Module, "IOM12");
    assert_eq!(status(0x0f, &[]), 0x85, "nothing to activate");
    assert_eq!(status(0x0e, &whole[..4_096]), 0x01, "awaits more");
    assert_eq!(
        status(0x0e, &image(ImageKind::Drive, SSD)),
        0x81,
        "wrong image"
    );
    assert_eq!(status(0x05, &whole), 0x80, "no such mode");
}

#[test]
fn a_service_processor_writes_the_image_that_does_not_run() {
    let mut bench = Bench::new();
    let send = |bench: &mut Bench, method, path: &str, body| -> RedfishReply {
        let path = path.to_owned();
        let request = RedfishRequest { method, path, body };
        match ask(bench, DeviceCall::Redfish(request)).unwrap() {
            DeviceReply::Redfish(reply) => reply,
            other => panic!("{other:?}"),
        }
    };
    let get =
        |bench: &mut Bench, path: &str| send(bench, RedfishMethod::Get, path, RedfishBody::None);
    let push = || RedfishBody::Multipart {
        parameters: json!({"@Redfish.OperationApplyTime": "OnReset"}),
        image: image(ImageKind::Processor, "LABSP").into(),
    };
    let service = get(&mut bench, "/redfish/v1/UpdateService");
    let uri = service.body["MultipartHttpPushUri"].as_str().unwrap();
    let pushed = send(&mut bench, RedfishMethod::Post, uri, push());
    assert_eq!(pushed.status, 202);
    assert_eq!(
        send(&mut bench, RedfishMethod::Post, uri, push()).status,
        503,
        "one at a time"
    );
    let task = pushed.location.unwrap();
    assert_eq!(get(&mut bench, &task).body["TaskState"], "Running");
    bench.pass(600);
    assert_eq!(get(&mut bench, &task).body["TaskState"], "Completed");
    let manager = "/redfish/v1/Managers/bmc";
    assert_eq!(
        get(&mut bench, manager).body["FirmwareVersion"],
        "5.8",
        "written, not running"
    );
    let backup = "/redfish/v1/UpdateService/FirmwareInventory/backup";
    assert_eq!(get(&mut bench, backup).body["Version"], "NA02");
    let reset = json!({"ResetType": "GracefulRestart"});
    let target = format!("{manager}/Actions/Manager.Reset");
    let done = send(
        &mut bench,
        RedfishMethod::Post,
        &target,
        RedfishBody::Json(reset),
    );
    assert_eq!(done.status, 204);
    let sp = bench.call("a", Command::Sp).unwrap();
    assert!(format!("{sp:?}").contains("reachable: false"), "{sp:?}");
    bench.pass(3_000);
    assert_eq!(get(&mut bench, manager).body["FirmwareVersion"], "NA02");
    assert_eq!(get(&mut bench, backup).body["Version"], "5.8");
    assert_eq!(
        get(&mut bench, &task).status,
        404,
        "tasks do not outlive a reset"
    );
}

#[test]
fn harm_is_recorded_when_a_group_that_is_not_whole_loses_a_drive() {
    let mut bench = Bench::new();
    offline(&mut bench, "a-D1").unwrap();
    offline(&mut bench, "a-D1").unwrap();
    assert_eq!(bench.hardware.harms().count(), 0, "one may be out");
    assert_eq!(group(&mut bench).health, PoolHealth::Degraded);
    offline(&mut bench, "a-D2").unwrap();
    assert_eq!(bench.hardware.harms().count(), 1);
    assert_eq!(bench.hardware.check().len(), 1, "on our account");

    let mut bench = Bench::new();
    offline(&mut bench, "a-D1").unwrap();
    let group_id = group(&mut bench).id;
    let back = OfflineRequest {
        drive: serial("a-D1"),
        group: group_id,
    };
    ask(&mut bench, DeviceCall::BringOnline(back)).unwrap();
    assert_eq!(group(&mut bench).health, PoolHealth::Resyncing);
    offline(&mut bench, "a-D2").unwrap();
    assert_eq!(bench.hardware.harms().count(), 1, "it was catching up");

    let mut bench = Bench::new();
    bench.fault("a", Fault::DegradePool, true);
    offline(&mut bench, "a-D1").unwrap();
    assert_eq!(bench.hardware.harms().count(), 1, "it was degraded");

    // A member that starts anew without having been taken out.
    let mut bench = Bench::new();
    let (cdb, data) = write_buffer(0x05, 0, &image(ImageKind::Drive, SSD));
    disk(&mut bench, "a-D1", &cdb, data);
    assert_eq!(bench.hardware.harms().count(), 1, "it was in use");
}

#[test]
fn only_who_serves_the_group_moves_its_drives() {
    let mut bench = Bench::new();
    let group = group(&mut bench).id;
    for name in ["b-D1", "a-D4"] {
        let request = OfflineRequest {
            drive: serial(name),
            group: group.clone(),
        };
        let refused = ask(&mut bench, DeviceCall::TakeOffline(request));
        assert!(
            matches!(refused, Err(PlatformError::Refused(_))),
            "{name}: {refused:?}"
        );
    }
    let request = OfflineRequest {
        drive: serial("a-D1"),
        group,
    };
    let call = Command::Device(DeviceCall::TakeOffline(request));
    let refused = bench.call("b", call);
    assert!(
        matches!(refused, Err(PlatformError::Refused(_))),
        "{refused:?}"
    );
    assert!(
        drives(&mut bench)
            .iter()
            .all(|drive| drive.state == DriveState::Online)
    );
}

#[test]
fn pieces_of_an_image_are_nothing_to_store_and_the_whole_of_it_is() {
    let mut bench = Bench::new();
    let whole = image(ImageKind::Drive, SSD);
    let before = bench.hardware.revision();
    let (cdb, data) = write_buffer(0x0e, 0, &whole[..4_096]);
    disk(&mut bench, "a-D4", &cdb, data);
    assert_eq!(bench.hardware.revision(), before);
    let (cdb, data) = write_buffer(0x0e, 4_096, &whole[4_096..]);
    disk(&mut bench, "a-D4", &cdb, data);
    assert!(bench.hardware.revision() > before);
    // Kept and read again, and then the power is cut: what was deferred runs.
    let kept = serde_json::to_vec(&bench.hardware).unwrap();
    bench.hardware = serde_json::from_slice(&kept).unwrap();
    bench.hardware.cold_start(bench.now);
    bench.pass(1_000);
    assert_eq!(revision(&mut bench, "a-D4"), "NA02");
}

#[test]
fn hardware_that_was_stored_before_it_had_devices_has_them_as_the_factory_made_them() {
    let bench = Bench::new();
    let mut kept = serde_json::to_value(&bench.hardware).unwrap();
    kept.as_object_mut().unwrap().remove("bay").unwrap();
    kept["settings"]
        .as_object_mut()
        .unwrap()
        .remove("disks")
        .unwrap();
    kept["history"]
        .as_object_mut()
        .unwrap()
        .remove("harms")
        .unwrap();
    let hardware: Hardware = serde_json::from_value(kept).unwrap();
    let devices = hardware.devices();
    // Four drives, two modules and a service processor for each of four nodes.
    assert_eq!(devices.len(), 28);
    for device in &devices {
        let runs = hardware.firmware_of(device).unwrap();
        assert!(
            ["NA01", "0210", "5.8"].contains(&runs.as_str()),
            "{device}: {runs}"
        );
    }
}

#[test]
fn a_fault_of_a_node_concerns_its_first_devices_until_it_is_cleared() {
    let mut bench = Bench::new();
    let ready = |bench: &mut Bench, name: &str| disk(bench, name, &[0; 6], ScsiData::None).status;
    bench.fault("a", Fault::FwBusy, true);
    assert_eq!(
        (ready(&mut bench, "a-D1"), ready(&mut bench, "a-D2")),
        (0x08, 0x00)
    );
    let answers =
        |bench: &mut Bench, name| scsi(bench, module(name), &[0; 6], ScsiData::None).status;
    assert_eq!(
        (answers(&mut bench, "A"), answers(&mut bench, "B")),
        (0x08, 0x00)
    );
    bench.fault("a", Fault::FwBusy, false);
    assert_eq!(ready(&mut bench, "a-D1"), 0x00);
    for fault in DeviceFault::ALL {
        assert!(fault.of_node().name().starts_with("fw-"), "{fault:?}");
    }
}
