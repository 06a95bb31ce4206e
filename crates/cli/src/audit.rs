//! `evenkeel audit`: who asked for which change, and what became of it.

use evenkeel_api::{Audit, Audited, encode_component};
use serde_json::Value;

use crate::args::AuditArgs;
use crate::client::Client;
use crate::image::decode;
use crate::outcome::{Stop, print, print_json};
use crate::table::Table;

pub(crate) fn run(client: &Client, args: &AuditArgs, json: bool) -> Result<(), Stop> {
    let mut path = format!("/evenkeel/v1/audit?max_records={}", args.max);
    if let Some(user) = &args.by {
        path += &format!("&user={}", encode_component(user));
    }
    let body: Value = client.get(&path)?;
    if json {
        return print_json(&body);
    }
    let audit: Audit = decode(&body)?;
    let header = ["Time", "Node", "User", "From", "What", "Outcome"];
    let mut table = Table::new(&header);
    for record in &audit.records {
        table.row(row(record));
    }
    let mut text = table.render("Nothing was asked for.");
    for node in &audit.silent_nodes {
        text += &format!("Node {node} does not answer: what was asked of it is missing.\n");
    }
    print(&text)
}

fn row(record: &Audited) -> [String; 6] {
    let mut what = format!("{} {}", record.method, record.path);
    for (name, value) in &record.what {
        what += &format!(" {name}={value}");
    }
    if record.left_out > 0 {
        what += &format!(" (and {} like it before)", record.left_out);
    }
    [
        record.at.clone(),
        record.node.clone(),
        record.user.clone().unwrap_or_else(|| "-".to_owned()),
        record.from.clone(),
        what,
        outcome(record),
    ]
}

fn outcome(record: &Audited) -> String {
    let said = match (record.is_over, record.status) {
        (false, _) => "not known".to_owned(),
        (true, None) => "the client left".to_owned(),
        (true, Some(status)) => status.to_string(),
    };
    let parts = [
        record.code.as_ref().map(|code| format!(" code {code}")),
        record.job.as_ref().map(|job| format!(" job {job}")),
    ];
    parts
        .into_iter()
        .flatten()
        .fold(said, |said, part| said + &part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_never_guessed() {
        let record = |json: &str| -> Audited {
            let head =
                r#"{"node": "n1", "at": "t", "from": "f", "method": "PATCH", "path": "/p", "#;
            serde_json::from_str(&format!("{head}{json}}}")).unwrap()
        };
        let said = |json: &str| row(&record(json))[5].clone();
        assert_eq!(said(r#""is_over": false"#), "not known");
        assert_eq!(said(r#""is_over": true"#), "the client left");
        let begun = r#""is_over": true, "status": 202, "job": "j""#;
        assert_eq!(said(begun), "202 job j");
        assert_eq!(
            said(r#""is_over": true, "status": 403, "code": "6""#),
            "403 code 6"
        );
    }
}
