//! gzip as a stream of members: every member's checksum counts, and nothing may follow the last.
//!
//! [`Serial`] reads any gzip on one thread and is the measure: what it gives, and the error it ends with, is
//! what the file holds. [`Inflated`] gives the same, faster where it can (`members.rs`).

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::buffers::{Buffer, Pool};
use crate::verify_error::VerifyError;

pub(crate) use crate::members::Inflated;

/// Inflated bytes travel between threads in blocks of this size: hashed while still in the cache.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks kept for use again; about as many as can be under way.
const BLOCKS_KEPT: usize = 16;
/// Compressed bytes held at a time.
const INPUT_BYTES: usize = 128 << 10;
/// Most bytes of a name or comment in a member's header. Both, and the longest extra field, fit in what is held.
const MAX_TEXT_BYTES: usize = 16 << 10;
const TRAILER_BYTES: usize = 8;

/// What a member's trailer is compared with.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    crc: Crc,
}

impl Sums {
    pub(crate) fn update(&mut self, content: &[u8]) {
        self.crc.update(content);
    }

    /// Checksum and length, as a trailer has them.
    pub(crate) fn are(&self, trailer: [u8; TRAILER_BYTES]) -> bool {
        let [a, b, c, d, e, f, g, h] = trailer;
        self.crc.sum() == u32::from_le_bytes([a, b, c, d])
            && self.crc.amount() == u32::from_le_bytes([e, f, g, h])
    }
}

/// Compressed bytes that were read ahead.
struct Compressed<R> {
    input: R,
    bytes: Vec<u8>,
    at: usize,
    end: usize,
    is_last: bool,
}

impl<R: Read> Compressed<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            bytes: vec![0; INPUT_BYTES],
            at: 0,
            end: 0,
            is_last: false,
        }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..self.end]
    }

    /// Reads more, keeping what was not taken; it fits, since no one waits for as much as there is room.
    fn more(&mut self) -> io::Result<()> {
        self.bytes.copy_within(self.at..self.end, 0);
        self.end -= self.at;
        self.at = 0;
        let n = loop {
            match self.input.read(&mut self.bytes[self.end..INPUT_BYTES]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += n;
        self.is_last = n == 0;
        Ok(())
    }

    /// At least `wanted` bytes, if the input has them.
    fn at_least(&mut self, wanted: usize) -> io::Result<&[u8]> {
        while self.end - self.at < wanted && !self.is_last {
            self.more()?;
        }
        Ok(self.rest())
    }
}

enum State {
    /// Between two members; `true`: the first is still to come.
    Boundary {
        is_first: bool,
    },
    Content(Sums),
    Ended,
}

/// Inflates all members of a gzip file, one after another. Errors carry a [`VerifyError`] inside.
pub(crate) struct Serial<R> {
    input: Compressed<R>,
    inflate: Decompress,
    pool: Pool,
    state: State,
    produced: u64,
    /// Told after what was inflated before it.
    error: Option<io::Error>,
}

impl<R: Read> Serial<R> {
    /// Goes on at the start of a member, after `produced` bytes.
    pub(crate) fn resume(input: R, produced: u64, is_first: bool) -> Self {
        Self {
            input: Compressed::new(input),
            inflate: Decompress::new(false),
            pool: Pool::new(BLOCK_BYTES, BLOCKS_KEPT),
            state: State::Boundary { is_first },
            produced,
            error: None,
        }
    }

    /// The next block; `None` at the end. After an error there is nothing more.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(error) = self.error.take() {
            self.state = State::Ended;
            return Err(error);
        }
        let mut buffer = self.pool.get();
        buffer.bytes.resize(BLOCK_BYTES, 0);
        let mut end = 0;
        while end < BLOCK_BYTES {
            match self.step(&mut buffer, &mut end) {
                Ok(Step::More) => {}
                Ok(Step::Ended) => break,
                Err(error) if end == 0 => {
                    self.state = State::Ended;
                    return Err(error);
                }
                Err(error) => {
                    self.error = Some(error);
                    break;
                }
            }
        }
        if end == 0 {
            return Ok(None);
        }
        Ok(Some(buffer.share().slice(..end)))
    }

    fn step(&mut self, buffer: &mut Buffer, end: &mut usize) -> io::Result<Step> {
        match &mut self.state {
            State::Ended => Ok(Step::Ended),
            State::Boundary { is_first } => {
                let is_first = *is_first;
                self.begin(is_first)
            }
            State::Content(_) => self.content(buffer, end),
        }
    }

    /// Reads a member's header, or finds the end.
    fn begin(&mut self, is_first: bool) -> io::Result<Step> {
        match self.input.at_least(1)? {
            [] if is_first => return Err(wrap(VerifyError::Truncated { after: 0 })),
            [] => {
                self.state = State::Ended;
                return Ok(Step::Ended);
            }
            [0x1f, ..] => {}
            [b'P', b'K', ..] if is_first => return Err(wrap(VerifyError::Zip)),
            [..] if is_first => return Err(wrap(VerifyError::NotGzip)),
            [..] => return Err(wrap(VerifyError::TrailingData { at: self.produced })),
        }
        loop {
            match header_length(self.input.rest()) {
                Ok(Some(length)) => {
                    self.input.at += length;
                    self.inflate.reset(false);
                    self.state = State::Content(Sums::default());
                    return Ok(Step::More);
                }
                Ok(None) if self.input.is_last => {
                    return Err(wrap(VerifyError::Truncated {
                        after: self.produced,
                    }));
                }
                Ok(None) => self.input.more()?,
                Err(_) if is_first => return Err(wrap(VerifyError::NotGzip)),
                Err(why) => return Err(self.corrupt(why)),
            }
        }
    }

    fn content(&mut self, buffer: &mut Buffer, end: &mut usize) -> io::Result<Step> {
        let State::Content(sums) = &mut self.state else {
            return Ok(Step::More);
        };
        let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
        let from = *end;
        let (input, room) = (self.input.rest(), &mut buffer.bytes[from..]);
        let status = self.inflate.decompress(input, room, FlushDecompress::None);
        let taken = self.inflate.total_in() - taken;
        let given = self.inflate.total_out() - given;
        *end += given as usize;
        self.input.at += taken as usize;
        sums.update(&buffer.bytes[from..*end]);
        self.produced += given;
        match status {
            Ok(Status::StreamEnd) => self.trailer(),
            Ok(Status::Ok | Status::BufError) if taken + given > 0 => Ok(Step::More),
            Ok(Status::Ok | Status::BufError) if self.input.is_last => {
                let after = self.produced;
                Err(wrap(VerifyError::Truncated { after }))
            }
            Ok(Status::Ok | Status::BufError) => self.input.more().map(|()| Step::More),
            // In our words: those of the library hang on how much it was given at once.
            Err(_) => Err(self.corrupt("bytes that do not inflate")),
        }
    }

    fn trailer(&mut self) -> io::Result<Step> {
        let after = self.produced;
        let State::Content(sums) = &self.state else {
            return Ok(Step::More);
        };
        let rest = self.input.at_least(TRAILER_BYTES)?;
        let Some(trailer) = rest.first_chunk() else {
            return Err(wrap(VerifyError::Truncated { after }));
        };
        if !sums.are(*trailer) {
            return Err(self.corrupt("a checksum or length that does not match"));
        }
        self.input.at += TRAILER_BYTES;
        self.state = State::Boundary { is_first: false };
        Ok(Step::More)
    }

    fn corrupt(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
        wrap(VerifyError::CorruptGzip {
            at: self.produced,
            source: io::Error::new(io::ErrorKind::InvalidData, why),
        })
    }
}

enum Step {
    More,
    Ended,
}

/// Length of the header that `bytes` starts with; `None` while it is not all there.
fn header_length(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    const HAS_CRC: u8 = 2;
    const HAS_EXTRA: u8 = 4;
    const HAS_NAME: u8 = 8;
    const HAS_COMMENT: u8 = 16;
    let magic = [0x1f, 0x8b, 8];
    let known = bytes.len().min(magic.len());
    if bytes[..known] != magic[..known] {
        return Err("a member of another format");
    }
    let Some(flags) = bytes.get(3) else {
        return Ok(None);
    };
    if flags & 0xe0 != 0 {
        return Err("a member with unknown flags");
    }
    let mut at = 10;
    if flags & HAS_EXTRA != 0 {
        let Some([low, high]) = bytes.get(at..at + 2) else {
            return Ok(None);
        };
        at += 2 + usize::from(u16::from_le_bytes([*low, *high]));
    }
    for flag in [HAS_NAME, HAS_COMMENT] {
        if flags & flag != 0 {
            let rest = bytes.get(at..).unwrap_or_default();
            // Never further, even if more is here already: what is taken must not hang on how much came at once.
            let mut text = rest.iter().take(MAX_TEXT_BYTES);
            match text.position(|byte| *byte == 0) {
                Some(end) => at += end + 1,
                None if rest.len() >= MAX_TEXT_BYTES => return Err("an endless header"),
                None => return Ok(None),
            }
        }
    }
    if flags & HAS_CRC != 0 {
        let Some([low, high]) = bytes.get(at..at + 2) else {
            return Ok(None);
        };
        let mut crc = Crc::new();
        crc.update(&bytes[..at]);
        if crc.sum() as u16 != u16::from_le_bytes([*low, *high]) {
            return Err("a header whose checksum does not match");
        }
        at += 2;
    }
    Ok((at <= bytes.len()).then_some(at))
}

pub(crate) fn wrap(error: VerifyError) -> io::Error {
    io::Error::other(error)
}

/// Inflated bytes that can be kept without copying them.
pub(crate) trait Blocks: BufRead {
    /// The first `n` of the bytes that [`BufRead::fill_buf`] gave last.
    fn share(&self, n: usize) -> Bytes;
}
