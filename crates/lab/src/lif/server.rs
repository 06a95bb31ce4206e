//! The LIF server's process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::{HostedLif, Hosting, MAX_LINE};

/// An address is free as soon as the node that had it has released it or is dead: a matter of
/// milliseconds, and every one of them is an I/O gap.
const BIND_RETRY: Duration = Duration::from_millis(5);

/// Serves what `orders` say until they end: with them ended the supervisor, and with it the node's power.
pub(crate) async fn serve(node: &str, orders: impl AsyncBufRead + Unpin) -> Result<()> {
    let mut hosted: BTreeMap<HostedLif, JoinHandle<()>> = BTreeMap::new();
    let mut lines = orders.lines();
    while let Some(line) = lines.next_line().await? {
        let hosting: Hosting = serde_json::from_str(&line)?;
        hosted.retain(|lif, task| {
            let keep = hosting.lifs.contains(lif);
            if !keep {
                task.abort();
            }
            keep
        });
        for lif in hosting.lifs {
            let serve = host(node.to_owned(), lif.clone());
            hosted.entry(lif).or_insert_with(|| tokio::spawn(serve));
        }
    }
    Ok(())
}

/// Hosts one LIF until aborted, which closes its listener and its connections.
async fn host(node: String, lif: HostedLif) {
    let listener = loop {
        match TcpListener::bind(&lif.address).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::debug!(%error, address = lif.address, "cannot host yet");
                tokio::time::sleep(BIND_RETRY).await;
            }
        }
    };
    let answer = Arc::new(format!("{node} {}\n", lif.lif));
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(answer_reads(stream, Arc::clone(&answer)));
                }
                // Out of descriptors, say: the listener itself is as good as before.
                Err(error) => {
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(BIND_RETRY).await;
                }
            },
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn answer_reads(mut stream: TcpStream, answer: Arc<String>) {
    let (read, mut write) = stream.split();
    let mut reader = BufReader::new(read);
    loop {
        let mut line = String::new();
        let mut limited = (&mut reader).take(MAX_LINE as u64);
        match limited.read_line(&mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let Some(number) = line.trim_end().strip_prefix("READ ") else {
            return;
        };
        let text = format!("DATA {number} {answer}");
        if write.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lif_is_served_only_while_it_is_hosted() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let (mut orders, input) = tokio::io::duplex(4096);
        let serving = tokio::spawn(async move {
            let input = BufReader::new(input);
            serve("node1", input).await.unwrap();
        });
        let lifs = vec![HostedLif {
            lif: "lif1".to_owned(),
            address: address.clone(),
        }];
        let line = serde_json::to_string(&Hosting { lifs }).unwrap();
        orders
            .write_all(format!("{line}\n").as_bytes())
            .await
            .unwrap();
        let stream = loop {
            match TcpStream::connect(&address).await {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(b"READ 7\n").await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert_eq!(line, "DATA 7 node1 lif1\n");
        orders.write_all(b"{\"lifs\":[]}\n").await.unwrap();
        line.clear();
        assert!(matches!(stream.read_line(&mut line).await, Ok(0) | Err(_)));
        let rebound = TcpListener::bind(&address).await;
        rebound.unwrap();
        drop(orders);
        serving.await.unwrap();
    }
}
