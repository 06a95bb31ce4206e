//! The transports to devices that take no such commands: what the kernel of this machine says to them.

use std::sync::Arc;

use evenkeel_linux::devices::{NvmeFile, ScsiFile};
use evenkeel_linux::{Host, SystemPrograms};
use evenkeel_platform::PlatformError;
use evenkeel_platform::devices::{
    NvmeAdmin, NvmeCommand, NvmeReset, ScsiCommand, ScsiData, ScsiDevice, admin, opcode,
};

fn inquiry(data: ScsiData) -> ScsiCommand {
    ScsiCommand {
        cdb: vec![opcode::INQUIRY, 0, 0, 0, 36, 0],
        data,
        timeout_ms: 1000,
    }
}

fn identify(data: ScsiData) -> NvmeCommand {
    NvmeCommand {
        opcode: admin::IDENTIFY,
        namespace: 0,
        dwords: [1, 0, 0, 0, 0, 0],
        data,
        timeout_ms: 1000,
    }
}

/// The null device takes no commands of any kind, and is on every machine.
#[tokio::test]
async fn a_device_of_another_kind_refuses_for_good() {
    let scsi = ScsiFile::new("/dev/null")
        .execute(&inquiry(ScsiData::In(36)))
        .await;
    assert!(
        matches!(&scsi, Err(PlatformError::Refused(why)) if why.contains("/dev/null takes no SCSI commands")),
        "{scsi:?}"
    );
    let host = Host::new("/", Arc::new(SystemPrograms));
    let nvme = NvmeFile::new(host, "null");
    let said = nvme.submit(&identify(ScsiData::In(4096))).await;
    assert!(
        matches!(&said, Err(PlatformError::Refused(why)) if why.contains("/dev/null takes no NVMe commands")),
        "{said:?}"
    );
    let said = nvme.reset(NvmeReset::Controller).await;
    assert!(matches!(&said, Err(PlatformError::Refused(_))), "{said:?}");
    let said = nvme.reset(NvmeReset::Subsystem).await;
    assert!(
        matches!(&said, Err(PlatformError::Refused(why)) if why.contains("cycle the drive's power")),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_device_that_is_gone_may_come_back() {
    let scsi = ScsiFile::new("/dev/sg-gone")
        .execute(&inquiry(ScsiData::None))
        .await;
    assert!(
        scsi.as_ref().is_err_and(PlatformError::is_transient),
        "{scsi:?}"
    );
    let host = Host::new("/", Arc::new(SystemPrograms));
    let said = NvmeFile::new(host, "nvme-gone")
        .submit(&identify(ScsiData::None))
        .await;
    assert!(
        said.as_ref().is_err_and(PlatformError::is_transient),
        "{said:?}"
    );
}

#[tokio::test]
async fn what_no_device_takes_is_not_sent() {
    let device = ScsiFile::new("/dev/null");
    let mut command = inquiry(ScsiData::None);
    command.cdb = vec![0; 33];
    assert!(
        device
            .execute(&command)
            .await
            .unwrap_err()
            .to_string()
            .contains("33 bytes")
    );
    let huge = inquiry(ScsiData::In(u32::MAX));
    assert!(
        device
            .execute(&huge)
            .await
            .unwrap_err()
            .to_string()
            .contains("more than 1048576 bytes")
    );
    let host = Host::new("/", Arc::new(SystemPrograms));
    let huge = identify(ScsiData::Out(vec![0; (1 << 20) + 1]));
    let said = NvmeFile::new(host, "null").submit(&huge).await;
    assert!(
        said.unwrap_err()
            .to_string()
            .contains("more than 1048576 bytes")
    );
}
