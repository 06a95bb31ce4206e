//! gzip as a stream of members: every member's checksum counts, and nothing may follow the last.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use flate2::bufread::GzDecoder;

use crate::verify::VerifyError;

/// Inflated bytes travel between threads in buffers of this size: hashed while still in the cache.
const BUFFER_BYTES: usize = 256 << 10;
/// Buffers under way between the inflating thread and its reader.
const BUFFERS: usize = 8;

/// Inflates all members of a gzip file. Errors carry a [`VerifyError`] inside.
struct Members<R: BufRead> {
    decoder: Option<GzDecoder<R>>,
    members: u64,
    produced: u64,
}

impl<R: BufRead> Members<R> {
    fn new(mut input: R) -> io::Result<Self> {
        match input.fill_buf()? {
            [] => Err(wrap(VerifyError::Truncated { after: 0 })),
            [0x1f, ..] => Ok(Self {
                decoder: Some(GzDecoder::new(input)),
                members: 0,
                produced: 0,
            }),
            [..] => Err(wrap(VerifyError::NotGzip)),
        }
    }

    /// Starts the next member, or ends the stream when the input has ended.
    fn next_member(&mut self) -> io::Result<()> {
        self.members += 1;
        let Some(decoder) = self.decoder.take() else {
            return Ok(());
        };
        let mut input = decoder.into_inner();
        match input.fill_buf()? {
            [] => Ok(()),
            [0x1f, ..] => {
                self.decoder = Some(GzDecoder::new(input));
                Ok(())
            }
            [..] => Err(wrap(VerifyError::TrailingData { at: self.produced })),
        }
    }

    fn name_error(&self, error: io::Error) -> io::Error {
        // An error of the input below: it has its own cause.
        if error.raw_os_error().is_some() || error.get_ref().is_some_and(|e| e.is::<VerifyError>())
        {
            return error;
        }
        let no_header = self.decoder.as_ref().is_none_or(|d| d.header().is_none());
        wrap(match error.kind() {
            io::ErrorKind::UnexpectedEof => VerifyError::Truncated {
                after: self.produced,
            },
            io::ErrorKind::InvalidInput if self.members == 0 && no_header => VerifyError::NotGzip,
            _ => VerifyError::CorruptGzip {
                at: self.produced,
                source: error,
            },
        })
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            match decoder.read(out) {
                Ok(0) => self.next_member()?,
                Ok(n) => {
                    self.produced += n as u64;
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.name_error(error)),
            }
        }
        Ok(0)
    }
}

fn wrap(error: VerifyError) -> io::Error {
    io::Error::other(error)
}

/// The inflated content, made on a thread of its own so that inflating and hashing overlap.
///
/// Memory is bounded by [`BUFFERS`] buffers that travel in a circle. The thread ends when this is dropped
/// and its input gives the next bytes or ends.
pub(crate) struct Inflated {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Inflated {
    pub(crate) fn new<R: BufRead + Send + 'static>(input: R) -> io::Result<Self> {
        let (full_tx, full) = sync_channel(BUFFERS);
        let (empty, empty_rx) = sync_channel(BUFFERS + 2);
        thread::Builder::new()
            .name("inflate".to_owned())
            .spawn(move || inflate(input, &full_tx, &empty_rx))?;
        Ok(Self {
            full,
            empty,
            current: Vec::new(),
            at: 0,
            ended: false,
        })
    }
}

fn inflate<R: BufRead>(
    input: R,
    full: &SyncSender<io::Result<Vec<u8>>>,
    empty: &Receiver<Vec<u8>>,
) {
    let run = || -> io::Result<()> {
        let mut members = Members::new(input)?;
        loop {
            let mut buffer = empty.try_recv().unwrap_or_else(|_| vec![0; BUFFER_BYTES]);
            buffer.resize(BUFFER_BYTES, 0);
            let filled = fill(&mut members, &mut buffer);
            let n = match &filled {
                Ok(n) | Err((n, _)) => *n,
            };
            buffer.truncate(n);
            if n > 0 && full.send(Ok(buffer)).is_err() {
                return Ok(());
            }
            match filled {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err((_, error)) => return Err(error),
            }
        }
    };
    if let Err(error) = run() {
        // The reader may have gone already; then nobody wants to know.
        let _ = full.send(Err(error));
    }
}

/// Fills `buffer` as far as the input goes; an error comes with what was read before it.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, (usize, io::Error)> {
    let mut n = 0;
    while n < buffer.len() {
        match input.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) => return Err((n, error)),
        }
    }
    Ok(n)
}

impl Read for Inflated {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(out.len());
        out[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Inflated {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len() && !self.ended {
            match self.full.recv() {
                Ok(Ok(next)) => {
                    let used = std::mem::replace(&mut self.current, next);
                    self.at = 0;
                    // The inflating thread may have ended; then the buffer is simply freed.
                    let _ = self.empty.try_send(used);
                }
                Ok(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                Err(_) => self.ended = true,
            }
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, n: usize) {
        self.at = (self.at + n).min(self.current.len());
    }
}
