//! `evenkeel image package transfers`: what is on its way to which node.

use std::thread;
use std::time::Duration;

use evenkeel_api::{NodeTransfers, Transfer, Transfers};
use serde_json::Value;

use crate::client::Client;
use crate::image::decode;
use crate::outcome::{Stop, print, print_json};
use crate::table::{Table, bytes, seconds};

/// Pause between two looks: the rates are of about a second.
const POLL: Duration = Duration::from_secs(1);

pub(crate) fn show(client: &Client, watch: bool, json: bool) -> Result<(), Stop> {
    loop {
        let body: Value = client.get("/evenkeel/v1/transfers")?;
        let transfers: Transfers = decode(&body)?;
        match json {
            true => print_json(&body)?,
            false => print(&text(&transfers))?,
        }
        let is_idle = transfers.nodes.iter().all(|node| node.transfers.is_empty());
        if !watch || is_idle {
            return Ok(());
        }
        thread::sleep(POLL);
    }
}

fn text(transfers: &Transfers) -> String {
    let mut table = Table::new(&["Node", "Version", "From", "Received", "Of", "Rate", "Left"]);
    let mut notes = String::new();
    for node in &transfers.nodes {
        for transfer in &node.transfers {
            table.row(row(&node.node, transfer));
        }
        notes += &remarks(node);
    }
    table.render("No package is on its way.") + &notes
}

fn row(node: &str, transfer: &Transfer) -> [String; 7] {
    let from = transfer.from.clone();
    let total = transfer.total_bytes.map_or("-".to_owned(), bytes);
    [
        node.to_owned(),
        transfer.version.clone().unwrap_or_else(|| "-".to_owned()),
        from.unwrap_or_else(|| transfer.source.clone()),
        bytes(transfer.received_bytes),
        total,
        format!("{}/s", bytes(transfer.bytes_per_second)),
        seconds(transfer.remaining_seconds),
    ]
}

fn remarks(node: &NodeTransfers) -> String {
    let mut text = String::new();
    if !node.answers {
        text += &format!("{} does not answer.\n", node.node);
    }
    let waiting = node.transfers.iter().filter_map(|it| it.trouble.as_ref());
    for trouble in waiting {
        text += &format!("{}: {trouble}\n", node.node);
    }
    for trouble in &node.trouble {
        text += &format!(
            "{}: {} (code {})\n",
            node.node, trouble.message, trouble.code
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use evenkeel_api::TransferTrouble;

    use super::*;

    #[test]
    fn every_node_is_accounted_for() {
        let node = |name: &str| NodeTransfers {
            node: name.to_owned(),
            answers: true,
            room_bytes: None,
            transfers: Vec::new(),
            trouble: Vec::new(),
        };
        assert_eq!(text(&Transfers::default()), "No package is on its way.\n");
        let (mut pulling, mut silent, mut stuck) = (node("n1"), node("n2"), node("n3"));
        pulling.transfers.push(Transfer {
            package: None,
            version: Some("2".to_owned()),
            source: "pull".to_owned(),
            from: Some("n3".to_owned()),
            received_bytes: 5_000_000,
            total_bytes: Some(20_000_000),
            bytes_per_second: 1_000_000,
            remaining_seconds: Some(15),
            since: String::new(),
            trouble: Some("h cannot be reached; next try in 4 s".to_owned()),
        });
        silent.answers = false;
        stuck.trouble.push(TransferTrouble {
            package: String::new(),
            code: "10551804".to_owned(),
            message: "not enough space".to_owned(),
        });
        let text = text(&Transfers {
            nodes: vec![pulling, silent, stuck],
        });
        for part in [
            "n3    5 MB",
            "20 MB",
            "1 MB/s",
            "15s",
            "n1: h cannot be reached; next try in 4 s\n",
            "n2 does not answer.",
            "n3: not enough space (code 10551804)",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
