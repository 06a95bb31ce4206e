//! The node that sits is killed in mid-append, and the other one takes what it left behind.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use evenkeel_model::{BootId, OperationId, Position, Seq, StreamId};
use evenkeel_record::{Record, machine_boot_id};
use evenkeel_seam::{Clock, Ids, RandomIds, SystemClock};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::pair::{Node, Pair, one, options};

#[tokio::test(flavor = "multi_thread")]
async fn kill_nine_of_the_holder_loses_nothing_acknowledged() {
    let pair = Pair::new();
    let mut known = 0;
    for _ in 0..3 {
        let acknowledged = append_until_killed(&pair).await;
        let left = std::fs::metadata(pair.log()).unwrap().len();
        assert!(left > 0, "it left its log behind");
        let node = &pair.nodes[1];
        node.sit().await;
        let entries = node
            .record
            .read_since(Position(0), usize::MAX)
            .await
            .unwrap();
        let in_control = entries.iter().filter(|it| it.stream == StreamId::Control);
        let control = in_control.count();
        assert!(
            control >= known + acknowledged,
            "{control} of {known} and {acknowledged}"
        );
        assert_eq!(entries.len(), control * 3, "nothing is there by halves");
        node.record
            .append(both(control as u64))
            .await
            .expect("it goes on at once");
        known = control + 1;
        node.take().await;
        assert!(!pair.log().exists());
    }
    let raw = rusqlite::Connection::open(pair.file()).unwrap();
    let holder = raw.query_row("SELECT node, released FROM holder", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
    });
    assert_eq!(holder.unwrap(), ("n2".to_owned(), true));
}

/// One event to control and two to an operation of its own.
fn both(control: u64) -> evenkeel_record::Append {
    let operation = StreamId::Operation(OperationId(RandomIds.uuid()));
    let mut append = one(StreamId::Control, control);
    append.writes.extend(one(operation, 0).writes);
    let second = one(operation, 1).writes.remove(0).events;
    append.writes[1].events.extend(second);
    append
}

/// How many appends node 1 acknowledged, as a process of its own, before it was killed.
async fn append_until_killed(pair: &Pair) -> usize {
    let seat = &pair.nodes[0].options.seat;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::child_appends_until_killed",
            "--nocapture",
        ])
        .env("RECORD_CHILD_POOL", pair.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    while let Some(line) = lines.next_line().await.unwrap() {
        acknowledged += usize::from(line.contains("appended"));
        if acknowledged == 20 {
            child.start_kill().unwrap();
        }
    }
    child.wait().await.unwrap();
    assert!(acknowledged >= 20);
    // The machine is gone, and with it what was in its memory.
    std::fs::remove_file(seat.with_file_name("child-seat")).unwrap();
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn child_appends_until_killed() {
    let Some(dir) = std::env::var_os("RECORD_CHILD_POOL") else {
        return; // An ordinary run: this test is the other's helper.
    };
    let dir = Path::new(&dir);
    let clock = Arc::new(SystemClock::new(machine_boot_id().unwrap())) as Arc<dyn Clock>;
    let boot = BootId(RandomIds.uuid());
    let mut options = options(
        &dir.join("n1"),
        &dir.join("pool"),
        ["n1", "n2"],
        boot,
        clock,
    );
    options.seat = dir.join("n1/child-seat");
    let node = Node::start(options);
    node.sit().await;
    let record = &node.record;
    let control = record.read(StreamId::Control, Seq(0), usize::MAX).await;
    let mut control = control.unwrap().len() as u64;
    loop {
        record.append(both(control)).await.unwrap();
        control += 1;
        println!("\nappended {control}");
    }
}
