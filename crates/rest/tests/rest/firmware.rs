//! Firmware through the door of a node: the first bytes decide what an upload is.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{BootId, ControlEvent, Event, FirmwareKind, MachineId, StreamId, WallTime};
use evenkeel_package_store::{FirmwareBuild, SecretKey, build_firmware};
use evenkeel_record::{Fence, Record, Writer};
use evenkeel_seam::SeededIds;
use serde_json::{Value, json};

use crate::door::{Bench, answer, id, server};
use crate::support::{END, Reply, USER, part_named};

const FILE: &str = "X423_SLTNG1T8SSX.NA06.LOD";

/// Settings of firmware, and what waits.
const SETTINGS: &str = "/evenkeel/v1/firmware";

/// A package of one image for disks.
fn package(key: &SecretKey) -> Vec<u8> {
    package_of(FILE, key)
}

/// A package of one image, whose name says what it is for.
fn package_of(file: &str, key: &SecretKey) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (image, output) = (dir.path().join(file), dir.path().join("firmware.zip"));
    fs::write(&image, b"an image".repeat(5000)).unwrap();
    let options = FirmwareBuild {
        build_time: Some(WallTime::new("2026-01-02T03:04:05Z".parse().unwrap())),
        ..FirmwareBuild::default()
    };
    build_firmware(&[image], key, options, &output).unwrap();
    fs::read(output).unwrap()
}

/// A node whose daemon has said which release it is.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    let view = bench.follower.refresh().await.unwrap();
    let booted = ControlEvent::NodeBooted {
        at: WallTime::new("2026-01-02T03:04:05Z".parse().unwrap()),
        node: "a".parse().unwrap(),
        boot_id: BootId(id(1)),
        version: None,
        daemon: "test".to_owned(),
        machine: MachineId::default(),
    };
    let write = view.write(StreamId::Control, vec![Event::Control(booted)]);
    let record: Arc<dyn Record> = bench.memory.clone();
    let writer = Writer::new(record, Arc::new(SeededIds::new(6)));
    writer.append(Fence::None, vec![write]).await.unwrap();
    bench.follower.refresh().await.unwrap();
    bench
}

async fn upload(bench: &Bench, file: &str, bytes: &[u8]) -> Reply {
    let body = [part_named("file", file, bytes), END.to_vec()].concat();
    bench.client.upload("", body).await
}

async fn job(bench: &Bench, reply: &Reply) -> Value {
    let job = reply.json()["job"]["_links"]["self"]["href"].clone();
    bench.client.get(job.as_str().unwrap()).await.json()
}

#[tokio::test]
async fn a_zip_of_firmware_is_in_the_catalogue_and_asked_for_before_the_answer() {
    let bench = bench().await;
    let package = package(&bench.key);
    let reply = upload(&bench, "C:\\fw\\all disk.zip", &package).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let [stored] = bench.store.firmware().try_into().expect("one");
    let view = bench.follower.refresh().await.unwrap();
    let entry = &view.catalogue().firmware[&stored.digest];
    assert_eq!(entry.firmware.summary.kind, FirmwareKind::Disk);
    assert_eq!(entry.firmware.archive_digest, stored.archive_digest);
    assert_eq!(entry.asked.as_ref().unwrap().file, "all disk.zip");
    let job = job(&bench, &reply).await;
    assert_eq!(job["state"], "success", "{job}");
    assert_eq!(bench.open_operations(), 0);
    // The same again asks once more, and adds nothing.
    let reply = upload(&bench, "again.zip", &package).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let view = bench.follower.refresh().await.unwrap();
    let firmware = &view.catalogue().firmware;
    assert_eq!(firmware.len(), 1);
    let asked = &firmware[&stored.digest].asked;
    assert_eq!(asked.as_ref().unwrap().file, "again.zip");
}

#[tokio::test]
async fn firmware_that_is_refused_leaves_a_failed_job_and_nothing_else() {
    let bench = bench().await;
    let good = package(&bench.key);
    let stranger = package(&SecretKey::from_seed(&[8; 32]));
    let cut = good[..good.len() / 2].to_vec();
    let mut behind = good.clone();
    behind.extend(b"data behind the end");
    let no_zip = b"PK\x03\x04 and nothing that a zip has".to_vec();
    for bytes in [stranger, cut, behind, no_zip] {
        let reply = upload(&bench, "bad.zip", &bytes).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        let job = job(&bench, &reply).await;
        assert_eq!(job["state"], "failure", "{job}");
        assert_eq!(job["code"], 10_551_359, "{job}");
        let text = job["message"].as_str().unwrap();
        assert!(text.contains("firmware"), "{text}");
        assert_eq!(bench.open_operations(), 0);
        assert!(bench.store.firmware().is_empty());
        let incoming = fs::read_dir(bench.store.dir().join("incoming")).unwrap();
        assert_eq!(incoming.count(), 0, "{job}");
        let view = bench.follower.refresh().await.unwrap();
        assert!(view.catalogue().firmware.is_empty());
    }
}

#[tokio::test]
async fn a_download_of_firmware_that_breaks_off_starts_over() {
    let bench = bench().await;
    let package = package(&bench.key);
    let half = &package[..package.len() / 2];
    let url = server(vec![
        answer("200 OK", package.len(), half),
        answer("200 OK", package.len(), &package),
    ]);
    let reply = bench.download(&url.await).await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let mut views = bench.follower.views();
    let came = views.wait_for(|view| !view.catalogue().firmware.is_empty());
    let came = tokio::time::timeout(Duration::from_secs(60), came).await;
    drop(came.unwrap().unwrap());
    let [stored] = bench.store.firmware().try_into().expect("one");
    let view = bench.follower.refresh().await.unwrap();
    let entry = &view.catalogue().firmware[&stored.digest];
    assert_eq!(entry.asked.as_ref().unwrap().file, "p.tgz");
    assert_eq!(stored.archive_bytes, package.len() as u64);
}

/// The files of the updates that wait, in order.
async fn waiting(bench: &Bench) -> Vec<String> {
    let shown = bench.client.get(SETTINGS).await.json();
    let waiting = shown["waiting"].as_array().unwrap();
    let file = |it: &Value| it["file"].as_str().unwrap().to_owned();
    waiting.iter().map(file).collect()
}

#[tokio::test]
async fn what_waits_is_shown_in_order_and_withdrawn_by_its_digest() {
    let bench = bench().await;
    let (disk, shelf) = (
        package(&bench.key),
        package_of("IOM12.0300.SFW", &bench.key),
    );
    for (file, package) in [("shelf.zip", &shelf), ("disk.zip", &disk)] {
        let reply = upload(&bench, file, package).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
    }
    assert_eq!(waiting(&bench).await, ["disk.zip", "shelf.zip"]);
    let shown = bench.client.get(SETTINGS).await.json();
    let first = &shown["waiting"][0];
    assert_eq!(
        (&first["kind"], &first["name"], &first["by"]),
        (
            &json!("disk"),
            &json!("disk firmware X423_SLTNG1T8SSX NA06"),
            &json!(USER)
        )
    );
    assert_eq!(first["at"].as_str().map(str::len), Some(25), "{first}");
    assert_eq!(shown["waiting"][1]["kind"], "shelf");

    let one = format!("{SETTINGS}/{}", first["digest"].as_str().unwrap());
    let withdrawn = bench.client.delete(&one).await;
    assert_eq!(withdrawn.status, 200, "{}", withdrawn.text);
    assert_eq!(waiting(&bench).await, ["shelf.zip"]);
    let view = bench.follower.refresh().await.unwrap();
    assert_eq!(view.catalogue().firmware.len(), 2, "the packages stay");

    let nobody = format!("{SETTINGS}/{}", "0".repeat(64));
    for uri in [&one, &nobody, &format!("{SETTINGS}/disk.zip")] {
        let reply = bench.client.delete(uri).await;
        let expected = (404, "4".to_owned(), Some("digest".to_owned()));
        assert_eq!(reply.error(), expected, "{uri}: {}", reply.text);
    }
    assert_eq!(upload(&bench, "again.zip", &disk).await.status, 202);
    assert_eq!(waiting(&bench).await, ["again.zip", "shelf.zip"]);
}

#[tokio::test]
async fn firmware_goes_to_all_disks_until_it_is_said_otherwise() {
    let off = json!({ "background": false }).to_string();
    let mixed = Bench::new().await.client.patch(SETTINGS, &off).await;
    assert_eq!(mixed.error().0, 400, "{}", mixed.text);
    assert!(mixed.text.contains("different releases"), "{}", mixed.text);

    let bench = bench().await;
    let shown = async || bench.client.get(SETTINGS).await.json();
    let nothing =
        |background| json!({ "background": background, "waiting": [], "begun": [], "refused": [] });
    assert_eq!(shown().await, nothing(true));
    for background in [false, true, false] {
        let change = json!({ "background": background }).to_string();
        let reply = bench.client.patch(SETTINGS, &change).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let expected = nothing(background);
        assert_eq!((reply.json(), shown().await), (expected.clone(), expected));
    }
    for wrong in [
        "{}",
        r#"{"background":null}"#,
        r#"{"background":"on"}"#,
        r#"{"background":true,"spares":1}"#,
    ] {
        let reply = bench.client.patch(SETTINGS, wrong).await;
        let (status, code, _) = reply.error();
        assert_eq!((status, code.as_str()), (400, "2"), "{wrong}");
    }
    assert_eq!(shown().await["background"], false);
    let asked = bench.client.get("/evenkeel/v1/firmware?colour=blue").await;
    assert_eq!(asked.status, 400);
}
