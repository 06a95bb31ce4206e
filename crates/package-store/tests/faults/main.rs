//! What no crash, full disk or power cut may break: a package is whole or gone, what was reported as stored
//! stays stored, nothing else remains, and doing it again succeeds. A slot with a manifest is whole.
//!
//! Every file operation of the store is a step at which something goes wrong: `story` is a run through all that
//! a store does, and each test tells it again and again, with the fault at the first step, the second, and so on.
//! File systems and power cuts are real: an ext4 on a loop device, mounted in a namespace of its own, so that
//! nothing stays mounted whatever happens. That needs root; without it these tests fail and say so.

#![cfg(test)]

#[path = "../store/common.rs"]
#[expect(dead_code, reason = "shared with the store's other tests")]
mod common;
mod disk;
mod enospc;
mod firmware;
mod kill;
mod power;
mod reexec;
mod slot;
mod steps;
mod story;
