//! One try: a source opened at some byte, and its bytes.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::error::{SourceError, StartsOver};
use crate::ftp::{self, FtpBody};
use crate::http::{self, HttpBody};
use crate::limits::{Limits, Pace, TooSlow};
use crate::source::{Source, SourceScheme};
use crate::trust::Trust;
use crate::validator::Validator;

/// Opens sources.
#[derive(Clone, Debug, Default)]
pub struct Client {
    pub(crate) trust: Trust,
    pub(crate) limits: Limits,
}

/// A source that sends.
#[derive(Debug)]
pub struct Opened {
    /// The byte that comes first. Not the one asked for when [`starts_over`](Self::starts_over) is set: then 0.
    pub from: u64,
    /// Why it begins at 0 though a later byte was asked for.
    pub starts_over: Option<StartsOver>,
    /// What names the content from now on.
    pub validator: Validator,
    /// What the server calls it, a word like `text/html`.
    pub content_type: Option<String>,
    /// The bytes.
    pub body: Body,
}

impl Client {
    /// Trusts so, within these bounds.
    pub fn new(trust: Trust, limits: Limits) -> Self {
        Self { trust, limits }
    }

    /// Opens the source at byte `from`, if it still is what `known` names; else at 0.
    pub async fn open(
        &self,
        source: &Source,
        from: u64,
        known: &Validator,
    ) -> Result<Opened, SourceError> {
        match source.scheme() {
            SourceScheme::Http | SourceScheme::Https => http::open(self, source, from, known).await,
            SourceScheme::Ftp => ftp::open(self, source, from, known).await,
        }
    }

    pub(crate) async fn connect(&self, source: &Source) -> Result<TcpStream, SourceError> {
        let host = source.host();
        let connecting = TcpStream::connect((host, source.port()));
        let stream = self.in_time(host, connecting).await?;
        stream.map_err(|error| SourceError::Connect {
            host: host.to_owned(),
            source: error,
        })
    }

    /// Waits for an answer.
    pub(crate) async fn in_time<T>(
        &self,
        host: &str,
        answer: impl Future<Output = T>,
    ) -> Result<T, SourceError> {
        let limit = self.limits.answer;
        let silent = |_| SourceError::TooSlow {
            host: host.to_owned(),
            slow: TooSlow::Silent(limit),
        };
        timeout(limit, answer).await.map_err(silent)
    }
}

/// Bytes of a source, at the pace that its bounds demand.
pub struct Body {
    host: String,
    stall: Duration,
    pace: Pace,
    bytes: Origin,
}

/// Where the bytes come from.
pub(crate) enum Origin {
    Http(HttpBody),
    Ftp(Box<FtpBody>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Body {
    pub(crate) fn new(limits: &Limits, host: &str, bytes: Origin) -> Self {
        Self {
            host: host.to_owned(),
            stall: limits.stall,
            pace: Pace::new(limits),
            bytes,
        }
    }

    /// The next bytes; `None` at the end that the server announced.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let asked = Instant::now();
        let next = async {
            match &mut self.bytes {
                Origin::Http(body) => body.next().await,
                Origin::Ftp(body) => body.next().await,
            }
        };
        let slow = |slow| SourceError::TooSlow {
            host: self.host.clone(),
            slow,
        };
        let came = timeout(self.stall, next).await;
        let came = came.map_err(|_| slow(TooSlow::Silent(self.stall)))?;
        let came = came.map_err(|why| SourceError::Broke {
            host: self.host.clone(),
            why,
        })?;
        let count = came.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if came.is_some() {
            self.pace.came(count, asked.elapsed()).map_err(slow)?;
        }
        Ok(came)
    }
}
