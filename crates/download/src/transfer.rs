//! A whole file, over as many tries as it takes.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use crate::error::{SourceError, StartsOver};
use crate::open::{Body, Client};
use crate::source::Source;
use crate::validator::Validator;

/// What happens in a transfer.
#[derive(Debug)]
pub enum Event {
    /// Bytes will come, from this one on. Comes before the first of each try.
    Opened {
        /// Which byte comes next.
        from: u64,
        /// What names the content: to be kept where a later transfer is to go on.
        validator: Validator,
        /// What the server calls it.
        content_type: Option<String>,
    },
    /// All bytes so far are void: the next ones are the first of the file.
    StartsOver(StartsOver),
    /// The next bytes.
    Bytes(Bytes),
    /// A try has failed; the next call waits, then tries again.
    Failed {
        /// Why.
        error: SourceError,
        /// How long the next call waits.
        pause: Duration,
        /// Tries that are left, the next one among them, if none brings anything new.
        tries_left: u32,
    },
    /// All bytes came.
    End,
}

/// Brings one file. Cancelling a call of [`next`](Self::next) loses no bytes that it gave before.
pub struct Transfer {
    client: Client,
    source: Source,
    validator: Validator,
    position: u64,
    /// The furthest byte that was ever reached: what is fetched a second time is no progress.
    furthest: u64,
    /// Tries in a row without progress.
    failed: u32,
    /// Where the present try began to bring something new.
    fresh: u64,
    state: State,
}

enum State {
    Closed,
    Waiting(Duration),
    /// The file began anew, and nobody was told where it is yet.
    Starting(Option<String>, Body),
    Open(Body),
    Ended,
    /// The error that was final has been told.
    Failed,
}

impl Transfer {
    /// A transfer that begins at the first byte.
    pub fn new(client: Client, source: Source) -> Self {
        Self::resume(client, source, 0, Validator::default())
    }

    /// A transfer whose first `position` bytes came before, from what `validator` names.
    pub fn resume(client: Client, source: Source, position: u64, validator: Validator) -> Self {
        Self {
            client,
            source,
            validator,
            position,
            furthest: position,
            failed: 0,
            fresh: position,
            state: State::Closed,
        }
    }

    /// What comes next. An error is final.
    pub async fn next(&mut self) -> Result<Event, SourceError> {
        loop {
            match std::mem::replace(&mut self.state, State::Closed) {
                State::Waiting(pause) => {
                    // Cancelled in its middle, the wait begins anew.
                    self.state = State::Waiting(pause);
                    sleep(pause).await;
                    self.state = State::Closed;
                }
                State::Closed if self.is_complete() => self.state = State::Ended,
                State::Closed => match self.open().await {
                    Ok(event) => return Ok(event),
                    Err(error) => return self.try_failed(error),
                },
                State::Starting(content_type, body) => return Ok(self.begin(content_type, body)),
                State::Open(body) => {
                    self.state = State::Open(body);
                    return self.read().await;
                }
                State::Ended => {
                    self.state = State::Ended;
                    return Ok(Event::End);
                }
                State::Failed => {
                    self.state = State::Failed;
                    // Never the end: the caller would take what came for the whole file.
                    return Err(self.broke("for good, as was said before"));
                }
            }
        }
    }

    /// Bytes that came so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the whole file, where they are known.
    pub fn total(&self) -> Option<u64> {
        self.validator.total
    }

    fn is_complete(&self) -> bool {
        self.position > 0 && self.validator.total == Some(self.position)
    }

    async fn open(&mut self) -> Result<Event, SourceError> {
        let opening = self
            .client
            .open(&self.source, self.position, &self.validator);
        let opened = opening.await?;
        self.validator = opened.validator;
        self.position = opened.from;
        self.fresh = self.furthest;
        match opened.starts_over {
            Some(why) => {
                self.state = State::Starting(opened.content_type, opened.body);
                Ok(Event::StartsOver(why))
            }
            None => Ok(self.begin(opened.content_type, opened.body)),
        }
    }

    fn begin(&mut self, content_type: Option<String>, body: Body) -> Event {
        self.state = State::Open(body);
        Event::Opened {
            from: self.position,
            validator: self.validator.clone(),
            content_type,
        }
    }

    async fn read(&mut self) -> Result<Event, SourceError> {
        let State::Open(body) = &mut self.state else {
            return Ok(Event::End);
        };
        match body.next().await {
            Ok(Some(bytes)) => {
                self.position += bytes.len() as u64;
                self.furthest = self.furthest.max(self.position);
                if self.furthest - self.fresh >= self.client.limits.progress {
                    self.failed = 0;
                }
                Ok(Event::Bytes(bytes))
            }
            Ok(None) => self.ended(),
            Err(error) => {
                self.state = State::Closed;
                self.try_failed(error)
            }
        }
    }

    /// The server says that this was all.
    fn ended(&mut self) -> Result<Event, SourceError> {
        self.state = State::Ended;
        match self.validator.total {
            Some(total) if self.position < total => {
                self.state = State::Closed;
                self.try_failed(SourceError::Short {
                    host: self.source.host().to_owned(),
                    received: self.position,
                    total,
                })
            }
            // More than was announced: the file grew while it was read.
            Some(total) if self.position > total => {
                self.validator = Validator::default();
                self.state = State::Closed;
                self.try_failed(self.broke("with more bytes than announced"))
            }
            Some(_) | None => Ok(Event::End),
        }
    }

    fn broke(&self, why: &'static str) -> SourceError {
        SourceError::Broke {
            host: self.source.host().to_owned(),
            why,
        }
    }

    fn try_failed(&mut self, error: SourceError) -> Result<Event, SourceError> {
        self.failed += 1;
        if !error.is_transient() || self.failed >= self.client.limits.tries {
            self.state = State::Failed;
            return Err(error);
        }
        let pause = self.client.limits.pause(self.failed);
        self.state = State::Waiting(pause);
        Ok(Event::Failed {
            error,
            pause,
            tries_left: self.client.limits.tries - self.failed,
        })
    }
}
