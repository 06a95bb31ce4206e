//! Values with their fingerprints: a state is made of a few of them, and compared by them.

use std::fmt::{self, Debug, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
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

struct Hashing(DefaultHasher);

impl Write for Hashing {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// Of everything that `Debug` says, which is all there is: the types derive it.
pub(crate) fn print(value: &impl Debug) -> u64 {
    let mut hashing = Hashing(DefaultHasher::new());
    write!(hashing, "{value:?}").expect("hashing does not fail");
    hashing.0.finish()
}

/// Of several fingerprints, in order.
pub(crate) fn join(prints: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    prints.hash(&mut hasher);
    hasher.finish()
}
