//! The platform of a node whose hardware another process keeps: JSON lines over a Unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_model::{NodeName, Slot};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::command::{Request, Response};
use super::short_path::ShortPath;
use crate::traits::PlatformError;
use crate::wire::{Command, MAX_LINE_BYTES, Port, Reply, Transport};

/// The keeper answers from memory, after at most one small write: longer means that it is stuck.
const CALL_BOUND: Duration = Duration::from_secs(10);

/// A node's platform, kept by another process.
pub type Client = Port<Socket>;

/// Carries calls through a Unix socket, each on a connection of its own.
#[derive(Clone, Debug)]
pub struct Socket {
    path: PathBuf,
    node: NodeName,
    slots: PathBuf,
}

impl Client {
    /// Asks whoever listens at `path` whose hardware it keeps.
    pub async fn connect(path: &Path) -> Result<Self, PlatformError> {
        match exchange(path, &Request::Hello).await? {
            Response::Hello { node, slots } => Ok(Self::new(Socket {
                path: path.to_owned(),
                node,
                slots,
            })),
            Response::Failed { error } => Err(error),
            Response::Reply { reply } => Err(unexpected(&reply)),
        }
    }

    /// The node whose hardware it is.
    pub fn node(&self) -> &NodeName {
        &self.transport.node
    }
}

#[async_trait]
impl Transport for Socket {
    async fn call(&self, command: Command) -> Result<Reply, PlatformError> {
        match exchange(&self.path, &Request::Call { command }).await? {
            Response::Reply { reply } => Ok(reply),
            Response::Failed { error } => Err(error),
            Response::Hello { node, .. } => Err(unexpected(&node)),
        }
    }

    fn slot_path(&self, slot: Slot) -> PathBuf {
        self.slots.join(slot.as_str())
    }
}

fn unexpected(answer: &impl std::fmt::Debug) -> PlatformError {
    PlatformError::Unavailable(format!("the keeper of the hardware answered {answer:?}"))
}

async fn exchange(path: &Path, request: &Request) -> Result<Response, PlatformError> {
    let failed = |why: String| {
        PlatformError::Unavailable(format!("hardware behind {}: {why}", path.display()))
    };
    match timeout(CALL_BOUND, exchange_line(path, request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {CALL_BOUND:?}"))),
    }
}

async fn exchange_line(path: &Path, request: &Request) -> std::io::Result<Response> {
    let short = ShortPath::of(path)?;
    let mut stream = UnixStream::connect(short.path()).await?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream.take(MAX_LINE_BYTES));
    if reader.read_line(&mut answer).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&answer)?)
}
