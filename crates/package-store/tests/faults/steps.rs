//! Counts the store's file operations and lets one of them go wrong.

use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use evenkeel_package_store::hook_steps;

type Fault = Box<dyn Fn() -> io::Result<()> + Send>;

static COUNT: AtomicU64 = AtomicU64::new(0);
static FAULT: Mutex<Option<(u64, Fault)>> = Mutex::new(None);

/// From now on the `at`th step (from 1) does `fault` first; the count begins anew.
pub(crate) fn arm(at: u64, fault: impl Fn() -> io::Result<()> + Send + 'static) {
    *FAULT.lock().unwrap() = Some((at, Box::new(fault)));
    COUNT.store(0, Ordering::SeqCst);
    hook_steps(step);
}

/// Nothing goes wrong any more. Says how many steps there were.
pub(crate) fn disarm() -> u64 {
    *FAULT.lock().unwrap() = None;
    hook_steps(step);
    COUNT.swap(0, Ordering::SeqCst)
}

pub(crate) fn step(_what: &'static str, _path: &Path) -> io::Result<()> {
    let number = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
    match &*FAULT.lock().unwrap() {
        Some((at, fault)) if *at == number => fault(),
        Some(_) | None => Ok(()),
    }
}
