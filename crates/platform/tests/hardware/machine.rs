//! The hardware with a clock, in one process and behind a socket.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use evenkeel_model::{MemberHa, Slot};
use evenkeel_platform::sim::{Client, Effect, Machine, Request, Response, Store};
use evenkeel_platform::wire::Reply;
use evenkeel_platform::{BootSlots, Failover, Inventory, PlatformError, Power};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;

use crate::bench::{Bench, name};

fn slots() -> PathBuf {
    PathBuf::from("/nowhere")
}

#[tokio::test(start_paused = true)]
async fn time_passes_by_tokio_and_a_boot_that_is_over_is_not_heard() {
    let machine = Machine::new(Bench::new().hardware);
    let (a, b) = (name("a"), name("b"));
    let old = machine.platform(&a, slots()).unwrap();
    let partner = machine.platform(&b, slots()).unwrap();
    assert_eq!(old.path(Slot::B), slots().join("b"));
    let request = evenkeel_platform::TakeoverRequest {
        id: crate::bench::transition(1),
        partner_boot: old.boot_id().await.unwrap(),
        local_boot: partner.boot_id().await.unwrap(),
    };
    partner.take_over(&request).await.unwrap();
    let effects = machine.next_effects().await;
    assert_eq!(effects[0], Effect::Shutdown { node: a.clone() });
    assert!(machine.platform(&a, slots()).is_none());
    let effects = machine.next_effects().await;
    assert!(matches!(&effects[0], Effect::Boot { node, .. } if *node == a));
    assert_eq!(machine.now_ms(), 2_300);
    let gone = old.boot_id().await;
    assert!(
        matches!(gone, Err(PlatformError::Unavailable(_))),
        "{gone:?}"
    );
    let new = machine.platform(&a, slots()).unwrap();
    let pair = new.pair().await.unwrap().unwrap();
    assert_eq!(pair.local.ha, MemberHa::WaitingForGiveback);
    assert_eq!(new.disks().await.unwrap().len(), 8);
}

#[tokio::test]
async fn every_change_is_stored_before_it_is_answered() {
    let stored = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&stored);
    let store: Store = Box::new(move |hardware| {
        if hardware.faults(&name("d")).is_empty() {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        } else {
            Err("the disk is full".to_owned())
        }
    });
    let machine = Machine::stored(Bench::new().hardware, store);
    let a = machine.platform(&name("a"), slots()).unwrap();
    a.mark_good(Slot::A).await.unwrap();
    a.slots().await.unwrap();
    let before = stored.load(Ordering::SeqCst);
    a.mark_unbootable(Slot::B).await.unwrap();
    assert_eq!(stored.load(Ordering::SeqCst), before + 1);
    let fault = evenkeel_platform::sim::Fault::Alert;
    let failed = machine.with(|hardware, now| hardware.set_fault(&name("d"), fault, true, now));
    assert!(matches!(failed, Err(PlatformError::Unavailable(_))));
}

#[tokio::test]
async fn a_client_speaks_to_hardware_behind_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let machine = Machine::new(Bench::new().hardware);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut line = String::new();
            BufReader::new(read).read_line(&mut line).await.unwrap();
            let response = match serde_json::from_str(&line).unwrap() {
                Request::Hello => Response::Hello {
                    node: name("a"),
                    slots: slots(),
                },
                Request::Call { command } => match machine.call(&name("a"), None, &command) {
                    Ok(reply) => Response::Reply { reply },
                    Err(error) => Response::Failed { error },
                },
            };
            let mut text = serde_json::to_vec(&response).unwrap();
            text.push(b'\n');
            write.write_all(&text).await.unwrap();
        }
    });
    let client = Client::connect(&path).await.unwrap();
    assert_eq!(client.node(), &name("a"));
    assert_eq!(client.path(Slot::A), slots().join("a"));
    assert_eq!(client.pair().await.unwrap().unwrap().local.node, name("a"));
    assert!(client.slots().await.unwrap().writable);
    client.mark_good(Slot::A).await.unwrap();
    let refused = client.mark_good(Slot::B).await;
    assert!(
        matches!(refused, Err(PlatformError::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(client.exclusive_jobs().await.unwrap(), Vec::<String>::new());
    let json = serde_json::to_string(&Reply::Texts(Vec::new())).unwrap();
    assert_eq!(json, r#"{"reply":"texts","value":[]}"#);
}

#[tokio::test]
async fn a_socket_that_no_one_serves_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Client::connect(&dir.path().join("none")).await;
    assert!(matches!(missing, Err(PlatformError::Unavailable(_))));
}
