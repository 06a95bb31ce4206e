//! Writes gzip as many independent members, compressed on all cores, in order.
//!
//! Each member carries its own size in an extra field (`EK`, four bytes, little-endian), so that a reader
//! may find the next one without inflating. A hint only: readers do not need it and must not trust it.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use flate2::write::DeflateEncoder;
use flate2::{Compression as Flate, Crc};

/// Content of one member. Measured: at this size the archive is no bigger than with a single member.
pub(crate) const MEMBER_BYTES: usize = 1 << 20;
/// Header with the extra field, in bytes.
pub(crate) const HEADER_BYTES: usize = 20;
/// The header up to the hint.
const HEADER: [u8; HEADER_BYTES - 4] =
    [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'E', b'K', 4, 0];

type Member = io::Result<Vec<u8>>;

struct Job {
    content: Vec<u8>,
    done: SyncSender<Member>,
}

/// How much time is spent to make a package small: a level of gzip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression(u8);

impl Compression {
    /// For a package that is soon thrown away.
    pub const FASTEST: Self = Self(1);

    /// A level from 1, the fastest, to 9, the smallest; `None` for any other.
    pub fn new(level: u8) -> Option<Self> {
        (1..=9).contains(&level).then_some(Self(level))
    }
}

impl Default for Compression {
    /// Level 6, as gzip has it.
    fn default() -> Self {
        Self(6)
    }
}

/// Takes content, gives members to the output in order.
pub(crate) struct MemberWriter<O> {
    content: Vec<u8>,
    jobs: SyncSender<Job>,
    order: SyncSender<Receiver<Member>>,
    output: JoinHandle<io::Result<O>>,
}

impl<O: Write + Send + 'static> MemberWriter<O> {
    /// Starts `threads` compressors, and one thread that writes to `output`.
    pub(crate) fn start(
        threads: usize,
        compression: Compression,
        mut output: O,
    ) -> io::Result<Self> {
        // Twice the compressors: enough to keep them busy, and a bound on memory.
        let (order, members) = sync_channel::<Receiver<Member>>(2 * threads);
        let (jobs, queue) = sync_channel::<Job>(2 * threads);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = queue.clone();
            thread::Builder::new()
                .name("compress".to_owned())
                .spawn(move || compress(&queue, compression))?;
        }
        let write = move || {
            for member in members {
                let ended = |_| io::Error::other("a compressing thread ended");
                output.write_all(&member.recv().map_err(ended)??)?;
            }
            Ok(output)
        };
        let output = thread::Builder::new()
            .name("write".to_owned())
            .spawn(write)?;
        Ok(Self {
            content: Vec::with_capacity(MEMBER_BYTES),
            jobs,
            order,
            output,
        })
    }

    /// Ends the stream and gives the output back; reports the first failure of any thread.
    pub(crate) fn finish(mut self) -> io::Result<O> {
        let sent = if self.content.is_empty() {
            Ok(())
        } else {
            self.send()
        };
        let Self {
            jobs,
            order,
            output,
            ..
        } = self;
        drop((jobs, order));
        let ended = |_| Err(io::Error::other("the writing thread panicked"));
        // If the output failed, its own error says more than the queue that broke.
        let output = output.join().unwrap_or_else(ended)?;
        sent.map(|()| output)
    }

    fn send(&mut self) -> io::Result<()> {
        let content = std::mem::replace(&mut self.content, Vec::with_capacity(MEMBER_BYTES));
        let (done, member) = sync_channel(1);
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        self.order.send(member).map_err(|_| broken())?;
        self.jobs.send(Job { content, done }).map_err(|_| broken())
    }
}

impl<O: Write + Send + 'static> Write for MemberWriter<O> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(MEMBER_BYTES - self.content.len());
        self.content.extend_from_slice(&bytes[..n]);
        if self.content.len() == MEMBER_BYTES {
            self.send()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn compress(queue: &Mutex<Receiver<Job>>, compression: Compression) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { content, done }) = next else {
            return;
        };
        // The writer may have failed and gone; then the member is not wanted.
        let _ = done.send(member(&content, compression));
    }
}

pub(crate) fn member(content: &[u8], compression: Compression) -> Member {
    let mut bytes = deflate(content, Flate::new(compression.0.into()))?;
    // The fastest level never stores what does not become smaller.
    if bytes.len() > content.len() + content.len() / 64 {
        bytes = deflate(content, Flate::none())?;
    }
    let mut crc = Crc::new();
    crc.update(content);
    bytes.extend_from_slice(&crc.sum().to_le_bytes());
    bytes.extend_from_slice(&crc.amount().to_le_bytes());
    let size = u32::try_from(bytes.len()).expect("a member is about 1 MiB");
    bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&size.to_le_bytes());
    Ok(bytes)
}

/// A member without its end, and without its size.
fn deflate(content: &[u8], level: Flate) -> Member {
    let mut bytes = HEADER.to_vec();
    bytes.resize(HEADER_BYTES, 0);
    let mut encoder = DeflateEncoder::new(bytes, level);
    encoder.write_all(content)?;
    encoder.finish()
}

/// The size that a member written here says it has.
pub(crate) fn hinted_size(header: &[u8]) -> Option<usize> {
    let hint = header.strip_prefix(&HEADER)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*hint)).ok()
}
