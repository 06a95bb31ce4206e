//! Request lines as people type them.
//!
//! The query language has `<`, `>` and `"` in it. RFC 3986 wants them percent-encoded, and hyper answers anything
//! else with a bare 400; curl and Go send `?elapsed_duration=>600` as it is typed. So they are encoded here, before
//! hyper sees them.
//!
//! Only in request lines, which are found by counting heads: after a request with a body the connection is left
//! alone, since from there on only hyper knows where a head begins.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection's stream, with request lines encoded.
pub(crate) struct Typed<S> {
    inner: S,
    heads: Heads,
    /// Read and not given out yet: encoding makes longer.
    rest: Bytes,
}

impl<S> Typed<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner,
            heads: Heads::default(),
            rest: Bytes::new(),
        }
    }

    fn give_rest(&mut self, buffer: &mut ReadBuf<'_>) {
        let bytes = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..bytes]);
        self.rest.advance(bytes);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Typed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
            let Some(encoded) = self.heads.encode(&buffer.filled()[before..]) else {
                return Poll::Ready(Ok(()));
            };
            buffer.set_filled(before);
            self.rest = encoded;
        }
        self.give_rest(buffer);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Typed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Headers that announce a body.
const BODY: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];

/// The longest of them.
const LONGEST: usize = 17;

/// Where in a connection's heads the next byte stands.
#[derive(Default)]
struct Heads {
    at: At,
    has_body: bool,
}

#[derive(Clone, Copy, Default)]
enum At {
    /// Before a request line; empty lines may come first.
    #[default]
    Start,
    Method,
    /// The rest of the request line.
    Target,
    /// A header's name so far, in small letters, and how long it is.
    Name([u8; LONGEST], usize),
    Value,
    /// Somewhere that only hyper knows.
    Unknown,
}

impl Heads {
    /// What the bytes become, where that is something else.
    fn encode(&mut self, bytes: &[u8]) -> Option<Bytes> {
        let mut encoded: Option<BytesMut> = None;
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(self.at, At::Unknown) && encoded.is_none() {
                return None;
            }
            let code: Option<&[u8]> = match (self.at, byte) {
                (At::Target, b'<') => Some(b"%3C"),
                (At::Target, b'>') => Some(b"%3E"),
                (At::Target, b'"') => Some(b"%22"),
                (_, _) => None,
            };
            match (code, &mut encoded) {
                (Some(code), encoded) => encoded
                    .get_or_insert_with(|| BytesMut::from(&bytes[..at]))
                    .extend_from_slice(code),
                (None, Some(encoded)) => encoded.extend_from_slice(&[*byte]),
                (None, None) => {}
            }
            self.step(*byte);
        }
        encoded.map(BytesMut::freeze)
    }

    fn step(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            (At::Start, b'\r' | b'\n') => At::Start,
            (At::Start, _) => At::Method,
            (At::Method, b' ') => At::Target,
            (At::Method, b'\n') => At::Unknown,
            (At::Target | At::Value, b'\n') => At::Name([0; LONGEST], 0),
            (At::Name(_, 0), b'\n') => self.end(),
            (At::Name(_, 0), b'\r') => At::Name([0; LONGEST], 0),
            (At::Name(name, length), b':') => {
                let name = name.get(..length);
                self.has_body |= name.is_some_and(|name| BODY.contains(&name));
                At::Value
            }
            (At::Name(..), b'\n') => At::Unknown,
            (At::Name(mut name, length), byte) => {
                if let Some(letter) = name.get_mut(length) {
                    *letter = byte.to_ascii_lowercase();
                }
                At::Name(name, (length + 1).min(LONGEST + 1))
            }
            (at @ (At::Method | At::Target | At::Value | At::Unknown), _) => at,
        };
    }

    fn end(&self) -> At {
        match self.has_body {
            true => At::Unknown,
            false => At::Start,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// What comes out of pieces of this size, read into buffers of that size.
    async fn through(sent: &[u8], pieces: usize, buffer: usize) -> Vec<u8> {
        let (server, mut client) = duplex(pieces);
        let sent = sent.to_owned();
        let send = tokio::spawn(async move { client.write_all(&sent).await.unwrap() });
        let (mut stream, mut all) = (Typed::new(server), Vec::new());
        let mut some = vec![0; buffer];
        loop {
            let bytes = stream.read(&mut some).await.unwrap();
            if bytes == 0 {
                break;
            }
            all.extend_from_slice(&some[..bytes]);
        }
        send.await.unwrap();
        all
    }

    async fn assert_becomes(sent: &str, expected: &str) {
        for (pieces, buffer) in [(1, 1), (3, 2), (7, 64), (4096, 4096), (4096, 5)] {
            let became = through(sent.as_bytes(), pieces, buffer).await;
            let became = String::from_utf8(became).unwrap();
            assert_eq!(became, expected, "in pieces of {pieces}");
        }
    }

    #[tokio::test]
    async fn request_lines_are_encoded_and_nothing_else() {
        assert_becomes(
            "GET /a?size=>1&name=\"<x\" HTTP/1.1\r\nx: <>\r\n\r\nGET /b?<2 HTTP/1.1\n\n",
            "GET /a?size=%3E1&name=%22%3Cx%22 HTTP/1.1\r\nx: <>\r\n\r\nGET /b?%3C2 HTTP/1.1\n\n",
        )
        .await;
    }

    #[tokio::test]
    async fn bodies_and_what_follows_them_stay_as_they_are() {
        for header in ["Content-Length: 3", "transfer-ENCODING: chunked"] {
            let tail = format!(
                " HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n<\n>\r\n\r\nGET /<> HTTP/1.1\r\n\r\n"
            );
            assert_becomes(&format!("POST /<{tail}"), &format!("POST /%3C{tail}")).await;
        }
    }
}
