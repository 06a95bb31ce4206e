//! Lists: fields, filters, order, pages.

use crate::support::Client;
use serde_json::{Value, json};

fn versions(reply: &Value) -> Vec<&str> {
    let records = reply["records"].as_array().unwrap();
    records
        .iter()
        .map(|record| record["version"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn records_have_keys_and_links_by_default_and_more_on_demand() {
    let client = Client::new();
    let plain = client.get("/api/cluster/software/packages").await.json();
    let link = json!({"self": {"href": "/api/cluster/software/packages/9.10.1"}});
    assert_eq!(
        plain["records"][0],
        json!({"version": "9.10.1", "_links": link})
    );
    assert_eq!(
        plain["_links"],
        json!({"self": {"href": "/api/cluster/software/packages"}})
    );
    for fields in ["*", "%2A", "create_time", "**"] {
        let uri = format!("/api/cluster/software/packages?fields={fields}");
        let record = client.get(&uri).await.json()["records"][0].clone();
        assert_eq!(
            record["create_time"], "2026-01-01T00:00:02+00:00",
            "{fields}"
        );
    }
}

#[tokio::test]
async fn history_has_no_address_and_so_everything_by_default() {
    let client = Client::new();
    let record = client.get("/api/cluster/software/history").await.json()["records"][0].clone();
    assert_eq!(record.get("_links"), None);
    assert_eq!(record["node"]["name"], "a");
    assert_eq!(record["state"], "successful");
}

#[tokio::test]
async fn filters_by_nested_fields_and_operators() {
    let client = Client::new();
    let count = async |query: &str| {
        client
            .get(&format!("/api/cluster/software/{query}"))
            .await
            .json()["num_records"]
            .clone()
    };
    assert_eq!(count("history?node.name=b").await, 1);
    assert_eq!(count("history?node.name=a|b&state=successful").await, 2);
    assert_eq!(
        count("history?start_time=%3E%3D2026-01-01T00:00:02Z").await,
        1
    );
    assert_eq!(count("packages?version=9.*").await, 2);
    assert_eq!(count("packages?version=odd+name%2Bx").await, 1);
    assert_eq!(count("packages?version=!9.9.1").await, 2);
    assert_eq!(count("packages?version=none").await, 0);
    let empty = client
        .get("/api/cluster/software/packages?version=none")
        .await
        .json();
    assert_eq!(empty["records"], json!([]));
    let node = client
        .get("/api/cluster/nodes?name=a&fields=uuid")
        .await
        .json();
    assert_eq!(node["records"][0]["name"], "a");
}

#[tokio::test]
async fn ordering_and_counting() {
    let client = Client::new();
    let get = async |q: &str| {
        client
            .get(&format!("/api/cluster/software/packages?{q}"))
            .await
    };
    let by_time = get("order_by=create_time").await.json();
    assert_eq!(versions(&by_time), ["9.9.1", "9.10.1", "odd name+x"]);
    let falling = get("order_by=create_time%20desc").await.json();
    assert_eq!(versions(&falling), ["odd name+x", "9.10.1", "9.9.1"]);
    let count = get("return_records=false").await.json();
    assert_eq!(
        (count["num_records"].clone(), count.get("records")),
        (json!(3), None)
    );
    assert_eq!(get("order_by=x").await.error().1, "262197");
    assert_eq!(get("max_records=0").await.error().1, "262197");
}

#[tokio::test]
async fn pages_carry_every_parameter_and_survive_a_deletion_between_them() {
    let client = Client::new();
    let first = "/api/cluster/software/packages?fields=*&max_records=1&order_by=create_time";
    let mut seen = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(uri) = next {
        let page = client.get(&uri).await.json();
        assert_eq!(page["num_records"], 1);
        assert!(
            page["records"][0]["create_time"].is_string(),
            "fields are carried on"
        );
        seen.push(versions(&page)[0].to_owned());
        // What came before is gone; nothing may be skipped for it.
        client.fake.edit(|state| {
            state
                .packages
                .retain(|p| p.version != "9.9.1" || seen.len() < 2)
        });
        next = page["_links"]["next"]["href"].as_str().map(str::to_owned);
        assert!(
            next.as_ref()
                .is_none_or(|uri| uri.matches("/api").count() == 1)
        );
    }
    assert_eq!(seen, ["9.9.1", "9.10.1", "odd name+x"]);
}

#[tokio::test]
async fn rows_that_look_alike_are_all_listed_once() {
    let client = Client::new();
    client.fake.edit(|state| {
        let again = state.history[0].clone();
        state.history.insert(0, again);
    });
    let (mut next, mut pages) = (
        Some("/api/cluster/software/history?max_records=1".to_owned()),
        0,
    );
    while let Some(uri) = next {
        let page = client.get(&uri).await.json();
        pages += 1;
        assert!(pages <= 3, "it goes round in circles");
        next = page["_links"]["next"]["href"].as_str().map(str::to_owned);
    }
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn a_search_looks_into_several_fields() {
    let client = Client::new();
    let count = async |query: &str| {
        let uri = format!("/api/cluster/software/history?{query}");
        client.get(&uri).await.json()["num_records"].clone()
    };
    assert_eq!(
        count("query=9.9.*&query_fields=from_version,to_version").await,
        2
    );
    assert_eq!(count("query=9.9.*&query_fields=from_version").await, 0);
    assert_eq!(count("query=b").await, 1);
    assert_eq!(count("query=b&node.name=a").await, 0);
}

#[tokio::test]
async fn there_is_no_history_of_firmware() {
    let uri = "/api/cluster/firmware/history?fields=*&fw_update_state=completed";
    let all = Client::new().get(uri).await.json();
    assert_eq!(
        (&all["num_records"], &all["records"]),
        (&json!(0), &json!([]))
    );
}

#[tokio::test]
async fn software_without_fields_has_all_but_what_breaks_clients() {
    let client = Client::new();
    client
        .fake
        .show_update("9.10.1", evenkeel_api::UpdateState::InProgress);
    let software = client.get("/api/cluster/software").await.json();
    assert_eq!(software["state"], "in_progress");
    assert_eq!(software["update_details"][0]["node"]["name"], "a");
    assert_eq!(
        software["nodes"][0],
        json!({"name": "a", "version": "9.9.1"})
    );
    assert!(!software.to_string().contains("null"));
    // Two clients fail on them, and ask for this.
    let nodes = client.get("/api/cluster/software?fields=nodes").await;
    assert!(nodes.text.contains("\"version\""), "{}", nodes.text);
    assert!(!nodes.text.contains("software_images"), "{}", nodes.text);
    let images = client
        .get("/api/cluster/software?fields=nodes.software_images")
        .await
        .json();
    assert_eq!(
        images["nodes"][0]["software_images"][0]["package"],
        "image.tgz"
    );
    let state = client
        .get("/api/cluster/software?fields=message,state")
        .await;
    assert_eq!(state.error().1, "262197");
    let state = client
        .get("/api/cluster/software?fields=state%2Cvalidation_results")
        .await
        .json();
    assert_eq!(state.as_object().unwrap().len(), 3, "{state}");
}

#[tokio::test]
async fn events_after_a_position() {
    let client = Client::new();
    let events = client.get("/evenkeel/v1/events?since=1&follow=false").await;
    assert_eq!(events.header("content-type"), "application/jsonl");
    let seqs = events.text.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap()["seq"]
            .as_u64()
            .unwrap()
    });
    assert_eq!(seqs.collect::<Vec<_>>(), [2, 3]);
}
