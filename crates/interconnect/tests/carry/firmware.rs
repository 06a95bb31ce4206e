//! Firmware on its way through a cluster: whole, or not at all.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use evenkeel_interconnect::{Content, PullError, PullOrder};
use evenkeel_model::{Digest, WallTime, code};
use evenkeel_package_store::{
    FirmwareBuild, Policy, StageLimits, Store, StoredFirmware, TrustedKeys, build_firmware,
};

use crate::cluster::{Cluster, Fault, MIB, key, name, policy};

/// An archive of about three chunks.
fn make_firmware(folder: &Path) -> Vec<u8> {
    let image = folder.join("X423_SLTNG1T8SSX.NA06.LOD");
    let noise = (0_u64..5 * MIB / 2).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 11) as u8);
    fs::write(&image, noise.collect::<Vec<_>>()).unwrap();
    let output = folder.join("disks.zip");
    let options = FirmwareBuild {
        build_time: Some(WallTime::new("2026-01-02T03:04:05Z".parse().unwrap())),
        ..FirmwareBuild::default()
    };
    build_firmware(&[image], &key(), options, &output).unwrap();
    fs::read(output).unwrap()
}

async fn take_in(store: &Store) -> StoredFirmware {
    let folder = tempfile::tempdir().unwrap();
    let archive = make_firmware(folder.path());
    let begun = store.begin_firmware("upload", policy(), StageLimits::default());
    let mut staging = begun.unwrap();
    staging.write(Bytes::from(archive)).await.unwrap();
    staging.finish().await.unwrap().firmware().clone()
}

fn order(cluster: &Cluster, firmware: &StoredFirmware, policy: Policy) -> PullOrder {
    PullOrder {
        package: firmware.digest,
        content: Content::Firmware,
        archive: firmware.archive_digest,
        archive_bytes: firmware.archive_bytes,
        origin: name("n1"),
        policy,
        ..cluster.order()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn firmware_is_pulled_proven_and_passed_on() {
    let mut cluster = Cluster::new(4).await;
    let firmware = take_in(&cluster.node(0).store).await;
    let order = order(&cluster, &firmware, policy());
    for index in [1, 2] {
        cluster.node(index).puller.pull(&order).await.unwrap();
    }
    let here = cluster.node(2).store.get_firmware(firmware.digest).unwrap();
    assert_eq!(here.archive_digest, firmware.archive_digest);
    assert_eq!(here.summary, firmware.summary);
    assert!(cluster.net.sent("n2", "n3") >= firmware.archive_bytes);
    let held = cluster.node(2).puller.status().held;
    assert!(held.contains(&firmware.digest), "{held:?}");
    // A node that sends what is not the catalogue's is left for another.
    cluster.net.fail("n3", Fault::Corrupts(MIB + 7));
    cluster.node(3).puller.pull(&order).await.unwrap();
    assert!(
        cluster
            .node(3)
            .store
            .get_firmware(firmware.digest)
            .is_some()
    );
    let node = cluster.nodes[2].as_mut().unwrap();
    assert_eq!(node.suspects.try_recv().unwrap(), firmware.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn firmware_that_is_not_trusted_here_or_is_nowhere_leaves_nothing() {
    let cluster = Cluster::new(2).await;
    let firmware = take_in(&cluster.node(0).store).await;
    let nobodys = Policy::trusting(TrustedKeys::none());
    let refused = order(&cluster, &firmware, nobodys);
    let puller = &cluster.node(1).puller;
    let error = puller.pull(&refused).await.unwrap_err();
    assert!(error.is_refusal(), "{error}");
    assert_eq!(error.code(), code::PROCESSING_FAILED);
    let trouble = puller.status().trouble;
    assert!(trouble.contains_key(&firmware.digest), "{trouble:?}");
    let unknown = PullOrder {
        package: Digest([9; 32]),
        ..order(&cluster, &firmware, policy())
    };
    let error = puller.pull(&unknown).await.unwrap_err();
    assert!(matches!(error, PullError::NobodyHolds { .. }), "{error}");
    let store = &cluster.node(1).store;
    assert!(store.firmware().is_empty());
    let left = fs::read_dir(store.dir().join("incoming")).unwrap().count();
    assert_eq!(left, 0, "nothing of it stays");
}
