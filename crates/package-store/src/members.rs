//! The inflated content of a gzip file, made on threads of its own.
//!
//! Where a member tells its own size in the way of `gzip_write.rs`, several members are inflated at once. The
//! size is a hint from whoever made the file, so it is bounded, and a member counts only if it ends exactly
//! there with the right checksum and length. Whatever is not so in every respect goes to [`Serial`],
//! from that member on: there the content and the error are the same as if no hint had been there.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

use crate::buffers::{Buffer, Pool, read_buffered};
use crate::gzip::{Blocks, Serial, Sums};
use crate::gzip_write::{HEADER_BYTES, MEMBER_BYTES, hinted_size};

const TRAILER_BYTES: usize = 8;
/// Most bytes of a member whose hint is followed: what does not compress takes a little more than itself.
pub(crate) const MAX_HINTED_BYTES: usize = MEMBER_BYTES + (64 << 10);
/// Threads that inflate members: more would wait for those that hash.
const MAX_THREADS: usize = 4;
/// Blocks and members under way to the reader: with 4 threads, 14 MiB in all.
const ITEMS: usize = 6;

type Source = Box<dyn Read + Send>;

/// What is under way to the reader, in order.
enum Item {
    /// Content.
    Block(Bytes),
    /// A member that another thread inflates.
    Member(Receiver<Done>),
    /// Nothing follows.
    Failed(io::Error),
    /// Nothing follows: the whole input was read, or what is left of it is handed over. Without this a thread
    /// that died would pass for the end.
    End,
}

/// A member that was tried.
struct Done {
    raw: Buffer,
    size: usize,
    /// `None`: not what its hint promised.
    content: Option<Bytes>,
}

struct Job {
    raw: Buffer,
    size: usize,
    done: SyncSender<Done>,
    /// Length of the content, for the thread that reads on.
    proven: Sender<Option<u64>>,
}

/// The inflated content as a stream. Memory is bounded by the queue's length. Its threads end when this is
/// dropped and the input gives the next bytes or ends.
pub(crate) struct Inflated {
    items: Option<Receiver<Item>>,
    /// The input, after a member was not as its hint promised.
    rest: Receiver<Source>,
    serial: Option<Box<Serial<Rest>>>,
    current: Bytes,
    produced: u64,
    members: u64,
}

impl Inflated {
    pub(crate) fn new(input: impl Read + Send + 'static) -> io::Result<Self> {
        let (items_tx, items) = sync_channel(ITEMS);
        let (rest_tx, rest) = sync_channel(1);
        thread::Builder::new()
            .name("inflate".to_owned())
            .spawn(move || {
                let splitter = Splitter::new(items_tx.clone(), rest_tx);
                let last = match splitter.run(Box::new(input)) {
                    Ok(()) => Item::End,
                    Err(error) => Item::Failed(error),
                };
                // The reader may have gone already; then nobody wants to know.
                let _ = items_tx.send(last);
            })?;
        Ok(Self {
            items: Some(items),
            rest,
            serial: None,
            current: Bytes::new(),
            produced: 0,
            members: 0,
        })
    }

    /// The next block, empty at the end.
    fn next(&mut self) -> io::Result<Bytes> {
        if let Some(serial) = &mut self.serial {
            return Ok(serial.next()?.unwrap_or_default());
        }
        let Some(items) = &self.items else {
            return Ok(Bytes::new());
        };
        match items.recv().map_err(|_| gone())? {
            Item::Block(block) => Ok(block),
            Item::End => {
                self.items = None;
                Ok(Bytes::new())
            }
            Item::Failed(error) => {
                self.items = None;
                Err(error)
            }
            Item::Member(member) => {
                let done = member.recv().map_err(|_| gone())?;
                match done.content {
                    Some(content) => {
                        self.members += 1;
                        self.produced += content.len() as u64;
                        Ok(content)
                    }
                    None => self.read_serially(done),
                }
            }
        }
    }

    /// From this member on.
    fn read_serially(&mut self, done: Done) -> io::Result<Bytes> {
        let (_, nothing) = sync_channel(0);
        let rest = Rest {
            bytes: done.raw.share().slice(..done.size),
            items: self.items.take(),
            rest: std::mem::replace(&mut self.rest, nothing),
            input: None,
        };
        let serial = Serial::resume(rest, self.produced, self.members == 0);
        self.serial = Some(Box::new(serial));
        self.next()
    }
}

fn gone() -> io::Error {
    io::Error::other("an inflating thread ended")
}

impl Read for Inflated {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, out)
    }
}

impl BufRead for Inflated {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // A member may be empty without being the last.
        while self.current.is_empty() {
            let members = self.members;
            self.current = self.next()?;
            if self.current.is_empty() && self.members == members {
                break;
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, n: usize) {
        self.current.advance(n.min(self.current.len()));
    }
}

impl Blocks for Inflated {
    fn share(&self, n: usize) -> Bytes {
        self.current.slice(..n)
    }
}

/// Compressed bytes that were under way when a member was not as its hint promised, then the rest.
struct Rest {
    bytes: Bytes,
    items: Option<Receiver<Item>>,
    rest: Receiver<Source>,
    input: Option<Source>,
}

impl Read for Rest {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.bytes.is_empty() {
            if let Some(input) = &mut self.input {
                return input.read(out);
            }
            let item = match &self.items {
                Some(items) => items.recv().map_err(|_| gone())?,
                None => Item::End,
            };
            match item {
                Item::Member(member) => {
                    let done = member.recv().map_err(|_| gone())?;
                    self.bytes = done.raw.share().slice(..done.size);
                }
                // It gives no blocks while members are unproven.
                Item::Block(_) => return Err(gone()),
                Item::Failed(error) => return Err(error),
                Item::End => {
                    self.items = None;
                    self.input = Some(self.rest.recv().map_err(|_| gone())?);
                }
            }
        }
        let n = self.bytes.len().min(out.len());
        self.bytes.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

/// The thread that reads the input and cuts it at the hints.
struct Splitter {
    items: SyncSender<Item>,
    rest: SyncSender<Source>,
    /// Made with the first hint.
    jobs: Option<SyncSender<Job>>,
    proven_tx: Sender<Option<u64>>,
    proven: Receiver<Option<u64>>,
    /// Members sent whose proof is still out.
    unproven: u64,
    produced: u64,
    is_first: bool,
    failed: bool,
}

impl Splitter {
    fn new(items: SyncSender<Item>, rest: SyncSender<Source>) -> Self {
        let (proven_tx, proven) = channel();
        Self {
            items,
            rest,
            jobs: None,
            proven_tx,
            proven,
            unproven: 0,
            produced: 0,
            is_first: true,
            failed: false,
        }
    }

    fn run(mut self, mut input: Source) -> io::Result<()> {
        let pool = Pool::new(MAX_HINTED_BYTES, ITEMS);
        loop {
            let mut raw = pool.get();
            raw.bytes.resize(MAX_HINTED_BYTES, 0);
            let (head, mut error) = fill(&mut input, &mut raw.bytes[..HEADER_BYTES]);
            let hint = hinted_size(&raw.bytes[..head])
                .filter(|size| (HEADER_BYTES + TRAILER_BYTES..=MAX_HINTED_BYTES).contains(size));
            let mut size = head;
            if let Some(hint) = hint {
                let (more, late) = fill(&mut input, &mut raw.bytes[head..hint]);
                size += more;
                error = late;
            }
            self.collect_proofs();
            if hint != Some(size) || self.failed {
                return self.read_serially(raw, size, error, input);
            }
            if !self.send(raw, size)? {
                return Ok(());
            }
        }
    }

    /// False: the reader has gone.
    fn send(&mut self, raw: Buffer, size: usize) -> io::Result<bool> {
        let jobs = match &self.jobs {
            Some(jobs) => jobs,
            None => self.jobs.insert(start_workers()?),
        };
        let (done, member) = sync_channel(1);
        let proven = self.proven_tx.clone();
        let job = Job {
            raw,
            size,
            done,
            proven,
        };
        if self.items.send(Item::Member(member)).is_err() {
            return Ok(false);
        }
        jobs.send(job).map_err(|_| gone())?;
        self.unproven += 1;
        self.is_first = false;
        Ok(true)
    }

    fn collect_proofs(&mut self) {
        while let Ok(proof) = self.proven.try_recv() {
            self.note(proof);
        }
    }

    fn note(&mut self, proof: Option<u64>) {
        self.unproven -= 1;
        match proof {
            Some(bytes) => self.produced += bytes,
            None => self.failed = true,
        }
    }

    /// The member that starts with `raw` has no hint, or ends before it, or an earlier one was not proven.
    fn read_serially(
        mut self,
        raw: Buffer,
        size: usize,
        error: Option<io::Error>,
        input: Source,
    ) -> io::Result<()> {
        let bytes = Bytes::copy_from_slice(&raw.bytes[..size]);
        drop(raw);
        let input = Resumed {
            bytes,
            error,
            input,
        };
        while self.unproven > 0 {
            let proof = self.proven.recv().map_err(|_| gone())?;
            self.note(proof);
        }
        if self.failed {
            // The reader has found that too, or will, and reads on itself.
            let _ = self.rest.send(Box::new(input));
            return Ok(());
        }
        let mut serial = Serial::resume(input, self.produced, self.is_first);
        while let Some(block) = serial.next()? {
            if self.items.send(Item::Block(block)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Bytes that were read ahead, then the error that came with them, then the input.
struct Resumed {
    bytes: Bytes,
    error: Option<io::Error>,
    input: Source,
}

impl Read for Resumed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if !self.bytes.is_empty() {
            let n = self.bytes.len().min(out.len());
            self.bytes.copy_to_slice(&mut out[..n]);
            return Ok(n);
        }
        match self.error.take() {
            Some(error) => Err(error),
            None => self.input.read(out),
        }
    }
}

/// Fills `out` as far as the input goes.
fn fill(input: &mut impl Read, out: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut n = 0;
    while n < out.len() {
        match input.read(&mut out[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (n, Some(error)),
        }
    }
    (n, None)
}

fn start_workers() -> io::Result<SyncSender<Job>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (jobs, queue) = sync_channel(ITEMS);
    let queue = Arc::new(Mutex::new(queue));
    // One more than allowed: the decoder need not stop for room before it has seen the end.
    let pool = Pool::new(MEMBER_BYTES + 1, 2 * ITEMS);
    for _ in 0..threads.min(MAX_THREADS) {
        let (queue, pool) = (queue.clone(), pool.clone());
        thread::Builder::new()
            .name("inflate-member".to_owned())
            .spawn(move || work(&queue, &pool))?;
    }
    Ok(jobs)
}

fn work(queue: &Mutex<Receiver<Job>>, pool: &Pool) {
    let mut inflate = Decompress::new(false);
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else {
            return;
        };
        let content = inflate_member(&mut inflate, &job.raw.bytes[..job.size], pool);
        // Both may have gone, if no one wants the rest.
        let _ = job
            .proven
            .send(content.as_ref().map(|content| content.len() as u64));
        let _ = job.done.send(Done {
            raw: job.raw,
            size: job.size,
            content,
        });
    }
}

/// The content, if the member is exactly as its hint promised.
fn inflate_member(inflate: &mut Decompress, member: &[u8], pool: &Pool) -> Option<Bytes> {
    let (header_and_data, trailer) = member.split_last_chunk::<TRAILER_BYTES>()?;
    let data = &header_and_data[HEADER_BYTES..];
    let mut buffer = pool.get();
    inflate.reset(false);
    // All at once: so it needs no window of its own.
    let status = inflate.decompress(data, &mut buffer.bytes, FlushDecompress::Finish);
    if !matches!(status, Ok(Status::StreamEnd)) || inflate.total_in() != data.len() as u64 {
        return None;
    }
    let length = inflate.total_out() as usize;
    let mut sums = Sums::default();
    sums.update(&buffer.bytes[..length]);
    sums.are(*trailer).then(|| buffer.share().slice(..length))
}
