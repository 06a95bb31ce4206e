//! A seam for tests: something may go wrong at every file operation of the store.
//!
//! In production nothing is hooked in, and a step is the read of one atomic beside a file operation.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

/// Called before a file operation with its name and its file; an error is taken for the operation's own.
pub type StepHook = fn(&'static str, &Path) -> io::Result<()>;

static HOOK: OnceLock<StepHook> = OnceLock::new();

/// For tests only: hooks into the file operations of every store in this process, once and for all.
#[doc(hidden)]
pub fn hook_steps(hook: StepHook) {
    // A second hook is a mistake in a test, which the first one's effects show.
    let _ = HOOK.set(hook);
}

/// A file operation is about to happen.
#[inline]
pub(crate) fn step(what: &'static str, path: &Path) -> io::Result<()> {
    match HOOK.get() {
        None => Ok(()),
        Some(hook) => hook(what, path),
    }
}
