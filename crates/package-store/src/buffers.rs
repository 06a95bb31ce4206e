//! Buffers that go round: filled on one thread, read on others, and back when the last reader lets go.
//! Fresh memory costs a page fault each 4 KiB, which is dear at a gigabyte.

use std::io::{self, BufRead};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers of one size.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    bytes: usize,
    /// Buffers kept when no one uses them.
    keep: usize,
}

impl Pool {
    pub(crate) fn new(bytes: usize, keep: usize) -> Self {
        let free = Arc::default();
        Self { free, bytes, keep }
    }

    /// A buffer of any content.
    pub(crate) fn get(&self) -> Buffer {
        let used = self.lock().pop();
        Buffer {
            bytes: used.unwrap_or_else(|| vec![0; self.bytes]),
            pool: self.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // A push or a pop is whole or has not happened.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer of a pool.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    pool: Pool,
}

impl Buffer {
    /// No one writes to it any more.
    pub(crate) fn share(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.pool.lock();
        if free.len() < self.pool.keep {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// `Read::read` for what is a buffer already.
pub(crate) fn read_buffered(input: &mut impl BufRead, out: &mut [u8]) -> io::Result<usize> {
    let available = input.fill_buf()?;
    let n = available.len().min(out.len());
    out[..n].copy_from_slice(&available[..n]);
    input.consume(n);
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_reader_lets_go() {
        let pool = Pool::new(10, 1);
        let first = pool.get();
        let address = first.bytes.as_ptr();
        let whole = first.share();
        let part = whole.slice(2..4);
        drop(whole);
        let second = pool.get();
        assert_ne!(second.bytes.as_ptr(), address);
        drop(part);
        assert_eq!(pool.get().bytes.as_ptr(), address);
    }
}
