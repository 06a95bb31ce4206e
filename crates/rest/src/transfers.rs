//! `GET /evenkeel/v1/transfers`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use evenkeel_api::{NodeTransfers, TransferTrouble, Transfers};
use evenkeel_model::{NodeName, PackagesStatus, Transfer, TransferSource};

use crate::app::Shared;
use crate::request::Asked;
use crate::respond::{Failure, json};

/// Asks every node, for as long as a node may take to answer.
pub(crate) async fn transfers(State(app): Shared, asked: Asked) -> Result<Response, Failure> {
    let result = async {
        asked.params()?.finish()?;
        let nodes = app.door.transfers().await;
        let nodes = nodes.into_iter().map(of_node).collect();
        Ok(Transfers { nodes })
    };
    let transfers = result.await.map_err(|error| asked.failure(error))?;
    Ok(asked.form.answer(StatusCode::OK, json(&transfers)))
}

fn of_node((node, status): (NodeName, Option<PackagesStatus>)) -> NodeTransfers {
    let answers = status.is_some();
    let status = status.unwrap_or_default();
    let trouble = status.trouble.into_iter();
    NodeTransfers {
        node: node.to_string(),
        answers,
        room_bytes: status.room,
        transfers: status.transfers.into_iter().map(transfer).collect(),
        trouble: trouble
            .map(|(package, trouble)| TransferTrouble {
                package: package.to_string(),
                code: trouble.code.to_string(),
                message: trouble.message,
            })
            .collect(),
    }
}

fn transfer(transfer: Transfer) -> evenkeel_api::Transfer {
    let (source, from) = match transfer.source {
        TransferSource::Upload => ("upload", None),
        TransferSource::Download { host } => ("download", Some(host)),
        TransferSource::Pull { from } => ("pull", from.map(|node| node.to_string())),
    };
    let left = transfer
        .total_bytes
        .map(|total| total.saturating_sub(transfer.received_bytes));
    let rate = transfer.bytes_per_second;
    evenkeel_api::Transfer {
        package: transfer.package.map(|digest| digest.to_string()),
        version: transfer.version.map(|version| version.to_string()),
        source: source.to_owned(),
        from,
        received_bytes: transfer.received_bytes,
        total_bytes: transfer.total_bytes,
        bytes_per_second: rate,
        remaining_seconds: left.filter(|_| rate > 0).map(|left| left.div_ceil(rate)),
        since: transfer.since.to_api(),
        trouble: transfer.trouble,
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_model::{Digest, Trouble, Version, WallTime};

    use super::*;

    #[test]
    fn a_pull_says_from_whom_and_how_long() {
        let pull = Transfer {
            package: Some(Digest([1; 32])),
            version: Some(Version::new("9.2").unwrap()),
            source: TransferSource::Pull {
                from: Some(NodeName::new("n1").unwrap()),
            },
            received_bytes: 400,
            total_bytes: Some(1000),
            bytes_per_second: 100,
            since: WallTime::new("2026-01-02T03:04:05Z".parse().unwrap()),
            trouble: None,
        };
        let trouble = Trouble {
            code: 10_551_804,
            message: "full".to_owned(),
        };
        let status = PackagesStatus {
            transfers: vec![pull],
            trouble: [(Digest([2; 32]), trouble)].into(),
            ..PackagesStatus::default()
        };
        let node = NodeName::new("n2").unwrap();
        let shown = of_node((node.clone(), Some(status)));
        let pull = &shown.transfers[0];
        assert_eq!(
            (pull.source.as_str(), pull.from.as_deref()),
            ("pull", Some("n1"))
        );
        assert_eq!(pull.remaining_seconds, Some(6));
        assert_eq!(shown.trouble[0].code, "10551804");
        assert!(shown.answers && !of_node((node, None)).answers);
    }
}
