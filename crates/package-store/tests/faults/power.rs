//! The power goes before every file operation.

use std::fs;
use std::sync::{Arc, Mutex};

use evenkeel_package_store::Store;

use crate::disk::{Disk, Power, scratch};
use crate::reexec::{in_namespace, is_child};
use crate::steps;
use crate::story::{Cast, DEEDS, survive};

/// Steps from one cut to the next: the tests share the work, most of which is waiting.
const SHARES: u64 = 3;

#[test]
fn without_power_at_a_third_of_the_steps() {
    cut_at_every_step_from(1, "power::without_power_at_a_third_of_the_steps");
}

#[test]
fn without_power_at_another_third() {
    cut_at_every_step_from(2, "power::without_power_at_another_third");
}

#[test]
fn without_power_at_the_last_third() {
    cut_at_every_step_from(3, "power::without_power_at_the_last_third");
}

fn cut_at_every_step_from(first: u64, name: &str) {
    if !is_child() {
        return in_namespace(name);
    }
    let dir = scratch();
    let cast = Cast::load(dir.path());
    let disk = Disk::new(dir.path(), 24);
    let power = Arc::new(Mutex::new(Power::new()));
    let mut step = first;
    loop {
        let root = disk.path().join(format!("store-{step}"));
        let store = Store::open(&root).unwrap();
        let (mount, switch) = (disk.path().to_owned(), power.clone());
        steps::arm(step, move || {
            switch.lock().unwrap().cut(&mount);
            Ok(())
        });
        let done = DEEDS
            .iter()
            .take_while(|deed| deed.run(&store, &cast).is_ok());
        let done = done.count();
        let steps = steps::disarm();
        drop(store);
        disk.unmount();
        disk.mount();
        survive(&root, done, &cast);
        fs::remove_dir_all(&root).unwrap();
        if steps < step {
            assert_eq!(done, DEEDS.len());
            break;
        }
        step += SHARES;
    }
    assert!(step > 80, "only {step} steps: are they still hooked?");
    disk.unmount();
}
