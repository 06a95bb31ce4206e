//! Time for each part of what a client does on a connection: a client that dawdles costs a connection for a
//! bounded time, and nothing else.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes of an answer that must go within the time for writing: a reader that takes less stands still.
const LEAST_WRITTEN: usize = 16 * 1024;

/// Times for the parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// From the beginning to the first head, and between requests while nobody was let in.
    pub(crate) stranger: Duration,
    /// Between requests of one who was let in.
    pub(crate) idle: Duration,
    /// From the first byte of a head to its end.
    pub(crate) head: Duration,
    /// For [`LEAST_WRITTEN`] of an answer, or all that is left of it.
    pub(crate) write: Duration,
}

/// What the client is at.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Nothing, since then.
    Waiting(Instant),
    /// Sending a head, since then.
    Head(Instant),
    /// Sending a body or reading an answer: bodies have bounds of their own.
    Request,
}

/// Where a connection is, shared between its stream and its requests.
#[derive(Debug)]
pub(crate) struct Pace {
    times: Times,
    now: Mutex<State>,
}

#[derive(Debug)]
struct State {
    part: Part,
    is_known: bool,
}

impl Pace {
    pub(crate) fn new(times: Times) -> Arc<Self> {
        Arc::new(Self {
            times,
            now: Mutex::new(State {
                part: Part::Waiting(Instant::now()),
                is_known: false,
            }),
        })
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        edit(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The head is complete. Waiting begins when the guard goes, with the last byte of the answer.
    pub(crate) fn request(self: &Arc<Self>) -> InRequest {
        self.edit(|state| state.part = Part::Request);
        InRequest(Arc::clone(self))
    }

    /// Somebody was let in.
    pub(crate) fn let_in(&self) {
        self.edit(|state| state.is_known = true);
    }

    fn bytes_came(&self) {
        self.edit(|state| {
            if let Part::Waiting(_) = state.part {
                state.part = Part::Head(Instant::now());
            }
        });
    }

    /// When the next byte must be there.
    fn deadline(&self) -> Option<Instant> {
        self.edit(|state| match (state.part, state.is_known) {
            (Part::Waiting(since), true) => Some(since + self.times.idle),
            (Part::Waiting(since), false) => Some(since + self.times.stranger),
            (Part::Head(since), _) => Some(since + self.times.head),
            (Part::Request, _) => None,
        })
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct InRequest(Arc<Pace>);

impl Drop for InRequest {
    fn drop(&mut self) {
        let waiting = Part::Waiting(Instant::now());
        self.0.edit(|state| state.part = waiting);
    }
}

/// A connection's stream, which fails when its client takes too long.
pub(crate) struct Paced<S> {
    inner: S,
    pace: Arc<Pace>,
    reading: Pin<Box<Sleep>>,
    writing: Option<Writing>,
}

/// An answer that waits for its reader.
struct Writing {
    until: Pin<Box<Sleep>>,
    written: usize,
}

impl<S> Paced<S> {
    pub(crate) fn new(inner: S, pace: Arc<Pace>) -> Self {
        Self {
            inner,
            pace,
            reading: Box::pin(sleep_until(Instant::now())),
            writing: None,
        }
    }

    /// The write was held up: for too long?
    fn held_up(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let time = self.pace.times.write;
        let writing = self.writing.get_or_insert_with(|| Writing {
            until: Box::pin(sleep_until(Instant::now() + time)),
            written: 0,
        });
        ready!(writing.until.as_mut().poll(context));
        Poll::Ready(too_slow("its answer is not read"))
    }

    fn went(&mut self, bytes: usize) {
        if let Some(writing) = &mut self.writing {
            writing.written += bytes;
            if writing.written >= LEAST_WRITTEN {
                self.writing = None;
            }
        }
    }
}

fn too_slow(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the client is too slow: {what}"),
    )
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.inner).poll_read(context, buffer) {
            Poll::Ready(outcome) => {
                if buffer.filled().len() > before {
                    self.pace.bytes_came();
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                let Some(deadline) = self.pace.deadline() else {
                    return Poll::Pending;
                };
                if self.reading.deadline() != deadline {
                    self.reading.as_mut().reset(deadline);
                }
                ready!(self.reading.as_mut().poll(context));
                Poll::Ready(Err(too_slow("no request came")))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(context, bytes) {
            Poll::Ready(outcome) => {
                self.went(*outcome.as_ref().unwrap_or(&0));
                Poll::Ready(outcome)
            }
            Poll::Pending => self.held_up(context).map(Err),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write_vectored(context, pieces) {
            Poll::Ready(outcome) => {
                self.went(*outcome.as_ref().unwrap_or(&0));
                Poll::Ready(outcome)
            }
            Poll::Pending => self.held_up(context).map(Err),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_flush(context) {
            Poll::Ready(outcome) => {
                // All of it has gone.
                self.writing = None;
                Poll::Ready(outcome)
            }
            Poll::Pending => self.held_up(context).map(Err),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_shutdown(context) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => self.held_up(context).map(Err),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const SECOND: Duration = Duration::from_secs(1);

    fn paced(pipe: usize) -> (Paced<DuplexStream>, DuplexStream, Arc<Pace>) {
        let pace = Pace::new(Times {
            stranger: 15 * SECOND,
            idle: 75 * SECOND,
            head: 10 * SECOND,
            write: 30 * SECOND,
        });
        let (server, client) = duplex(pipe);
        (Paced::new(server, Arc::clone(&pace)), client, pace)
    }

    async fn cut_after(stream: &mut Paced<DuplexStream>) -> Duration {
        let begun = Instant::now();
        let mut all = Vec::new();
        let error = stream.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        begun.elapsed().round_to_seconds()
    }

    trait Rounded {
        fn round_to_seconds(self) -> Duration;
    }

    impl Rounded for Duration {
        fn round_to_seconds(self) -> Duration {
            Duration::from_secs_f64(self.as_secs_f64().round())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_wait_shorter_than_those_who_were_let_in() {
        let (mut stream, _client, pace) = paced(100);
        assert_eq!(cut_after(&mut stream).await, 15 * SECOND);
        let (mut known, _client, other) = paced(100);
        other.let_in();
        drop(other.request());
        assert_eq!(cut_after(&mut known).await, 75 * SECOND);
        drop(pace);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_is_cut_and_a_body_is_not() {
        let (mut stream, mut client, pace) = paced(100);
        let drip = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SECOND).await;
            }
        });
        assert_eq!(cut_after(&mut stream).await, 10 * SECOND);
        let _body = pace.request();
        let mut some = [0; 100];
        stream.read_exact(&mut some[..60]).await.unwrap();
        drop(stream);
        drip.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stands_still_or_creeps_is_cut_and_a_slow_one_is_not() {
        for (bytes, lasts) in [(0, false), (100, false), (LEAST_WRITTEN, true)] {
            let (mut stream, mut client, pace) = paced(64 * 1024);
            let _request = pace.request();
            let read = tokio::spawn(async move {
                let mut piece = vec![0; bytes.max(1)];
                loop {
                    tokio::time::sleep(20 * SECOND).await;
                    if bytes > 0 && client.read_exact(&mut piece).await.is_err() {
                        return;
                    }
                }
            });
            let written = stream.write_all(&vec![1; 512 * 1024]).await;
            assert_eq!(written.is_ok(), lasts, "{bytes}");
            drop(stream);
            read.abort();
        }
    }
}
