//! Rules that are broken on purpose: seeds must catch every one of them, or the simulation proves nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use evenkeel_model::Sabotage;
use evenkeel_simulation::storm::{draw, play};

/// Seeds within which each must be caught.
const WITHIN: u64 = 600;

/// The first seed that something is wrong with, and what.
fn caught(sabotage: Sabotage) -> Option<(u64, String)> {
    Sabotage::set(Some(sabotage));
    let found = (1..=WITHIN).find_map(|seed| {
        // Many nodes are slow, and show nothing that few do not.
        let script = Some(draw(seed)).filter(|script| script.nodes <= 4)?;
        let wrong = play(&script).wrong?;
        let first = wrong.lines().next().unwrap_or_default();
        Some((seed, first.chars().take(160).collect()))
    });
    Sabotage::set(None);
    found
}

#[test]
fn what_is_broken_on_purpose_is_caught() {
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    let work = || {
        while let Some(sabotage) = Sabotage::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            match caught(*sabotage) {
                Some((seed, how)) => println!("{sabotage:?}: seed {seed}: {how}"),
                None => missed.lock().expect("nobody panics").push(*sabotage),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let missed = missed.into_inner().expect("nobody panics");
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
