//! Values with their fingerprints: a state is made of a few of them, and compared by them.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A shared value and the fingerprint of all that it is.
pub(crate) struct Kept<T> {
    pub(crate) print: u64,
    value: Arc<T>,
}

/// Says the fingerprint alone, so that what holds kept values is quickly fingerprinted itself.
impl<T> Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.print)
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self {
            print: self.print,
            value: Arc::clone(&self.value),
        }
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Debug> Kept<T> {
    pub(crate) fn new(value: T) -> Self {
        Self::with(print(&value), value)
    }
}

impl<T> Kept<T> {
    /// With a fingerprint that the caller knows.
    pub(crate) fn with(print: u64, value: T) -> Self {
        Self {
            print,
            value: Arc::new(value),
        }
    }
}

/// Folds bytes into 64 bits, eight at a time. An exploration spends most of its time here, and the standard
/// library's hashing, compiled without optimisation, takes thrice as long as all the rest.
#[derive(Default)]
struct Folding {
    folded: u64,
}

const ODD: [u64; 2] = [0xA076_1D64_78BD_642F, 0xE703_7ED1_A0B4_28DB];

impl Folding {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.folded ^ word ^ ODD[0]) * u128::from(ODD[1]);
        self.folded = (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(29);
    }

    fn fold_all(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            let word = word.try_into().expect("a chunk of eight has eight");
            self.fold(u64::from_le_bytes(word));
        }
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        self.fold(u64::from_le_bytes(last));
        self.fold(bytes.len() as u64);
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        self.fold_all(bytes);
    }

    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.folded ^ ODD[1]) * u128::from(ODD[0]);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

thread_local! {
    /// What is said, before it is folded: kept, so that its room is made once.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Of everything that `Debug` says, which is all there is: the types derive it.
pub(crate) fn print(value: &impl Debug) -> u64 {
    let mut said = SAID.take();
    said.clear();
    write!(said, "{value:?}").expect("a string takes everything");
    let mut folding = Folding::default();
    folding.fold_all(said.as_bytes());
    SAID.set(said);
    folding.finish()
}

/// Of several fingerprints, in order.
pub(crate) fn join(prints: &impl Hash) -> u64 {
    let mut folding = Folding::default();
    prints.hash(&mut folding);
    folding.finish()
}
