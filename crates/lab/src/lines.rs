//! One JSON line asked, one answered, on a Unix socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use evenkeel_platform::sim::ShortPath;
use evenkeel_platform::wire::MAX_LINE_BYTES;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A client that has connected asks at once: it is one of ours.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// Listens at `path`, whatever a supervisor that was killed left there.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(ShortPath::of(path)?.path())
}

/// Answers everyone who connects, side by side, until dropped.
pub(crate) async fn answer<Q, A, F, R>(listener: UnixListener, reply: F)
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    F: Fn(Q) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = A> + Send + 'static,
{
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(answer_one(stream, reply.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(answered) = clients.join_next() => {
                if let Ok(Err(error)) = answered {
                    tracing::debug!(%error, "a client of the supervisor went away");
                }
            }
        }
    }
}

async fn answer_one<Q, A, F, R>(mut stream: UnixStream, reply: F) -> io::Result<()>
where
    Q: DeserializeOwned,
    A: Serialize,
    F: Fn(Q) -> R,
    R: Future<Output = A>,
{
    let mut line = String::new();
    let (read, mut write) = stream.split();
    let mut reader = BufReader::new(read.take(MAX_LINE_BYTES));
    let read = timeout(ASK_WITHIN, reader.read_line(&mut line)).await;
    if read.map_err(io::Error::from)?? == 0 {
        return Ok(());
    }
    let question = serde_json::from_str(&line)?;
    let mut answer = serde_json::to_vec(&reply(question).await)?;
    answer.push(b'\n');
    write.write_all(&answer).await
}

/// Asks the one who listens at `path`.
pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
    path: &Path,
    question: &Q,
    within: Duration,
) -> io::Result<A> {
    let exchange = async {
        let short = ShortPath::of(path)?;
        let mut stream = UnixStream::connect(short.path()).await?;
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = String::new();
        // Events and incidents make long answers.
        let mut reader = BufReader::new(stream.take(MAX_LINE_BYTES * 16));
        if reader.read_line(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&answer)?)
    };
    timeout(within, exchange).await.map_err(io::Error::from)?
}
