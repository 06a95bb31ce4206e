//! A machine behind another process answers, refuses and acts as it does without one between.

use std::path::PathBuf;
use std::sync::Arc;

use evenkeel_model::Slot;
use evenkeel_platform::devices::{
    Devices, RedfishBody, RedfishMethod, RedfishRequest, ScsiCommand, ScsiData, ScsiTarget,
};
use evenkeel_platform::remote::{self, Remote};
use evenkeel_platform::sim::{InProcess, Machine};
use evenkeel_platform::wire::MAX_LINE_BYTES;
use evenkeel_platform::{
    Addresses, BootSlots, Failover, Inventory, PlatformError, Power, TakeoverRequest,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use crate::bench::{Bench, name, transition};

/// Node `a` without and with a socket between. What serves it ends with the test's runtime.
async fn both(machine: &Arc<Machine>, dir: &tempfile::TempDir) -> (InProcess, Remote) {
    let near = machine
        .platform(&name("a"), PathBuf::from("/slots"))
        .unwrap();
    let socket = dir.path().join("machine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (platform, devices) = remote::shared(near.clone());
    let stop = std::future::pending();
    tokio::spawn(remote::serve(listener, platform, devices, stop));
    (near, Remote::connect(&socket).await.unwrap())
}

#[tokio::test]
async fn every_look_shows_the_same() {
    let (dir, machine) = (
        tempfile::tempdir().unwrap(),
        Machine::new(Bench::new().hardware),
    );
    let (near, far) = both(&machine, &dir).await;
    macro_rules! same {
        ($($look:ident),*) => {$(
            assert_eq!(far.$look().await, near.$look().await, stringify!($look));
        )*};
    }
    same!(
        pair,
        witness,
        fencing,
        slots,
        boot_settings,
        boot_id,
        sp,
        partner_sp,
        lifs,
        ports
    );
    same!(
        pools,
        disks,
        unowned_disks,
        shelves,
        load,
        time_sync,
        exclusive_jobs,
        alerts
    );
    same!(client_hazards, client_risks, machine, space);
    same!(drives, groups, modules, processor);
    for slot in [Slot::A, Slot::B] {
        assert_eq!(far.path(slot), near.path(slot));
    }
    let drive = near.drives().await.unwrap()[0].serial.clone();
    let inquiry = ScsiCommand {
        cdb: vec![0x12, 0, 0, 0, 96, 0],
        data: ScsiData::In(96),
        timeout_ms: 1_000,
    };
    let target = ScsiTarget::Drive(drive);
    let told = far.scsi(&target).execute(&inquiry).await.unwrap();
    assert_eq!(told, near.scsi(&target).execute(&inquiry).await.unwrap());
}

#[tokio::test]
async fn an_act_is_done_and_a_refusal_is_one() {
    let (dir, machine) = (
        tempfile::tempdir().unwrap(),
        Machine::new(Bench::new().hardware),
    );
    let (near, far) = both(&machine, &dir).await;
    let refused = far.mark_unbootable(Slot::A).await.unwrap_err();
    assert_eq!(refused, near.mark_unbootable(Slot::A).await.unwrap_err());
    assert!(matches!(refused, PlatformError::Refused(_)), "{refused:?}");
    let partner = machine.platform(&name("b"), PathBuf::new()).unwrap();
    let request = TakeoverRequest {
        id: transition(1),
        partner_boot: partner.boot_id().await.unwrap(),
        local_boot: far.boot_id().await.unwrap(),
    };
    far.take_over(&request).await.unwrap();
    let pair = near.pair().await.unwrap().unwrap();
    assert_eq!(pair.transition.unwrap().id, Some(transition(1)));
}

#[tokio::test]
async fn an_image_that_no_line_carries_is_refused_before_it_is_sent() {
    let (dir, machine) = (
        tempfile::tempdir().unwrap(),
        Machine::new(Bench::new().hardware),
    );
    let (_, far) = both(&machine, &dir).await;
    let image = vec![0; usize::try_from(MAX_LINE_BYTES).unwrap() / 4 * 3];
    let push = RedfishRequest {
        method: RedfishMethod::Post,
        path: "/redfish/v1/UpdateService/update".to_owned(),
        body: RedfishBody::Multipart {
            parameters: serde_json::json!({}),
            image: Arc::new(image),
        },
    };
    let refused = far.redfish().send(&push).await.unwrap_err();
    assert!(
        matches!(&refused, PlatformError::Refused(why) if why.contains("100663296 bytes")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn without_the_other_process_nothing_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("machine.sock");
    let nobody = Remote::connect(&socket).await.unwrap_err();
    assert!(matches!(&nobody, PlatformError::Unavailable(why) if why.contains("machine.sock")));
    // One that is there and never answers is cut by whoever asks; one that dies amid an answer is not understood.
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let died = Remote::connect(&socket).await.unwrap_err();
    assert!(matches!(died, PlatformError::Unavailable(_)), "{died:?}");
}

#[tokio::test]
async fn what_is_under_way_when_it_is_told_to_end_goes_on_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine::new(Bench::new().hardware);
    let near = machine.platform(&name("a"), PathBuf::from("/slots"));
    let socket = dir.path().join("machine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (platform, devices) = remote::shared(near.unwrap());
    let (stop, stopped) = oneshot::channel();
    let stopped = async move { stopped.await.unwrap() };
    let served = tokio::spawn(remote::serve(listener, platform, devices, stopped));
    let mut under_way = UnixStream::connect(&socket).await.unwrap();
    // They are taken in turn: this one was taken when the next is answered.
    Remote::connect(&socket).await.unwrap();
    stop.send(()).unwrap();
    while UnixStream::connect(&socket).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!served.is_finished());
    under_way.write_all(b"{\"ask\":\"slots\"}\n").await.unwrap();
    let mut answer = String::new();
    under_way.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("/slots/b"), "{answer}");
    served.await.unwrap();
}
