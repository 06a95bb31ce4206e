//! Firmware through the door of a node: the first bytes decide what an upload is.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_model::{BootId, ControlEvent, Event, FirmwareKind, MachineId, StreamId, WallTime};
use evenkeel_package_store::{FirmwareBuild, SecretKey, build_firmware};
use evenkeel_record::{Fence, Record, Writer};
use evenkeel_seam::SeededIds;
use serde_json::Value;

use crate::door::{Bench, answer, id, server};
use crate::support::{END, Reply, part_named};

const FILE: &str = "X423_SLTNG1T8SSX.NA06.LOD";

/// A package of one image.
fn package(key: &SecretKey) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (image, output) = (dir.path().join(FILE), dir.path().join("disks.zip"));
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
