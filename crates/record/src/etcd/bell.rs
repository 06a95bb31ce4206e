//! The doorbell: a watch on the head of the record. Lossy by contract, so it only has to come back.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::open::Inner;
use super::trouble::Trouble;
use super::wire::{Streamed, WatchAnswer, text};

/// A watch that brings nothing for so long is begun anew: its connection may be dead without anyone's saying so.
const QUIET: Duration = Duration::from_secs(30);
/// Pause before it is begun anew.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest message of a watch: one key of a few hundred bytes, many times at most.
const LONGEST_MESSAGE: usize = 1024 * 1024;

/// Why a watch ended.
#[derive(Debug)]
enum Ended {
    Quiet,
    /// By the connection or by etcd, which may not know the token any more.
    Closed(String),
}

/// Watches for as long as the handle is there.
pub(super) async fn keep_watching(inner: Arc<Inner>) {
    loop {
        match begin(&inner).await {
            Ok(mut body) => match listen(&inner, &mut body).await {
                Ended::Quiet => {}
                Ended::Closed(why) => {
                    tracing::debug!(why, "the watch on the record ended");
                    inner.client.move_on();
                }
            },
            Err(why) => tracing::debug!(%why, "the record cannot be watched"),
        }
        sleep(PAUSE).await;
    }
}

async fn begin(inner: &Inner) -> Result<Incoming, Trouble> {
    let watch = json!({"create_request": {"key": text(inner.keys.head())}});
    inner.client.stream("watch", &watch).await
}

/// Rings for each message: the first says that the watch has begun, and something may have happened before.
async fn listen(inner: &Inner, body: &mut Incoming) -> Ended {
    let mut pending = Vec::new();
    loop {
        let frame = match timeout(QUIET, body.frame()).await {
            Err(_) => return Ended::Quiet,
            Ok(None) => return Ended::Closed("the stream is over".to_owned()),
            Ok(Some(Err(error))) => return Ended::Closed(error.to_string()),
            Ok(Some(Ok(frame))) => frame,
        };
        let Some(data) = frame.data_ref() else {
            continue;
        };
        pending.extend_from_slice(data);
        while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            match judge(&line) {
                Message::Rings => inner.rings.send_modify(|rings| *rings += 1),
                Message::Ends(why) => return Ended::Closed(why),
                Message::Nothing => {}
            }
        }
        if pending.len() > LONGEST_MESSAGE {
            return Ended::Closed("a message without an end".to_owned());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Message {
    Rings,
    Ends(String),
    Nothing,
}

fn judge(line: &[u8]) -> Message {
    if line.trim_ascii().is_empty() {
        return Message::Nothing;
    }
    match serde_json::from_slice::<Streamed<WatchAnswer>>(line) {
        Err(error) => Message::Ends(error.to_string()),
        Ok(Streamed {
            error: Some(error), ..
        }) => Message::Ends(error.to_string()),
        Ok(Streamed { result: None, .. }) => Message::Nothing,
        Ok(Streamed {
            result: Some(answer),
            ..
        }) => match answer.canceled {
            true => Message::Ends(answer.cancel_reason),
            false if answer.created || !answer.events.is_empty() => Message::Rings,
            false => Message::Nothing,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_as_etcd_sends_them() {
        let created = br#"{"result":{"header":{"cluster_id":"29"},"created":true}}"#;
        assert_eq!(judge(created), Message::Rings);
        let event = br#"{"result":{"header":{},"events":[{"kv":{"key":"aGVhZA=="}}]}}"#;
        assert_eq!(judge(event), Message::Rings);
        let canceled = br#"{"result":{"created":true,"canceled":true,"cancel_reason":"no"}}"#;
        assert_eq!(judge(canceled), Message::Ends("no".to_owned()));
        let error = br#"{"error":{"grpc_code":14,"message":"etcdserver: no leader"}}"#;
        assert!(matches!(judge(error), Message::Ends(why) if why.contains("no leader")));
        assert_eq!(judge(br#"{"result":{"header":{}}}"#), Message::Nothing);
        assert_eq!(judge(b"\n"), Message::Nothing);
        assert!(matches!(judge(b"<html>"), Message::Ends(_)));
    }
}
