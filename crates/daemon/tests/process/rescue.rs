//! A record that is gone: the node's copy of it is the last one, and stays.

use std::fs;

use serde_json::{Value, json};

use crate::security::locally;
use crate::stand::Stand;

#[test]
fn a_record_that_was_removed_is_not_begun_anew() {
    let stand = Stand::new("");
    let (record, away) = (stand.dir.join("record"), stand.dir.join("away"));
    fs::create_dir(&record).unwrap();
    let daemon = stand.start();
    let cluster = || {
        let (status, cluster) = stand.call("GET", "/api/cluster", None);
        (status == 200).then(|| cluster["uuid"].clone())
    };
    let uuid = stand.until("the cluster", cluster);
    stand.until("the coordinator", || {
        stand.was_told("STATUS=coordinator n1").then_some(())
    });
    assert!(daemon.terminate().success());

    fs::rename(&record, &away).unwrap();
    fs::create_dir(&record).unwrap();
    let daemon = stand.start();
    let shown = stand.until("what is wrong", || {
        let (_, shown) = locally(&stand.dir, "GET", evenkeel_api::CLUSTER, &json!({}));
        let advice = shown["advice"].as_str().unwrap_or_default().to_owned();
        advice.contains("is empty").then_some(shown)
    });
    assert_eq!(shown["state"], "member");
    let user = json!({"name": "new", "password": "a password", "role": "admin"});
    let (status, refused): (u16, Value) = locally(&stand.dir, "POST", "/evenkeel/v1/users", &user);
    assert_eq!(status, 503, "{refused}");
    assert!(refused.to_string().contains("is empty"), "{refused}");
    assert_eq!(cluster(), Some(uuid.clone()), "from its copy");
    assert!(daemon.terminate().success());

    fs::remove_dir_all(&record).unwrap();
    fs::rename(&away, &record).unwrap();
    let daemon = stand.start();
    stand.until("the coordinator", || {
        stand.was_told("STATUS=coordinator n1").then_some(())
    });
    assert_eq!(cluster(), Some(uuid));
    assert!(daemon.terminate().success());
}
