//! RAUC's service, with a loader that counts as U-Boot's script does: every boot costs a try, and marking a slot good gives all back.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use evenkeel_model::Slot;
use serde_json::json;

use super::bench::TRIES;
use super::cut::Cut;
use crate::{Call, Finished, Programs};
use evenkeel_platform::PlatformError;

/// What `busctl` is asked for is answered from memory, in its form.
pub(super) struct FakeRauc {
    state: Mutex<State>,
    cut: Mutex<Option<Arc<Cut>>>,
}

struct State {
    first: Slot,
    left: [u8; 2],
    booted: Slot,
}

impl Default for FakeRauc {
    fn default() -> Self {
        let state = State {
            first: Slot::A,
            left: [TRIES, 0],
            booted: Slot::A,
        };
        Self {
            state: Mutex::new(state),
            cut: Mutex::default(),
        }
    }
}

fn index(slot: Slot) -> usize {
    match slot {
        Slot::A => 0,
        Slot::B => 1,
    }
}

impl State {
    fn next(&self) -> Option<Slot> {
        let order = [self.first, self.first.other()];
        order.into_iter().find(|slot| self.left[index(*slot)] > 0)
    }
}

impl FakeRauc {
    /// What may end the caller before and after each `Mark`.
    pub(super) fn watch(&self, cut: Option<Arc<Cut>>) {
        *self.cut.lock().unwrap() = cut;
    }

    /// The loader starts.
    pub(super) fn boot(&self) -> Option<Slot> {
        let mut state = self.state.lock().unwrap();
        let slot = state.next()?;
        state.left[index(slot)] -= 1;
        state.booted = slot;
        Some(slot)
    }

    fn may_go_on(&self) -> Result<(), PlatformError> {
        let cut = self.cut.lock().unwrap();
        match cut.as_ref().map(|cut| cut.count()) {
            Some(Err(error)) => Err(PlatformError::Unavailable(error.to_string())),
            Some(Ok(())) | None => Ok(()),
        }
    }

    fn mark(&self, how: &str, name: &str) -> Result<serde_json::Value, PlatformError> {
        let slot = if name == "rootfs.0" { Slot::A } else { Slot::B };
        self.may_go_on()?;
        {
            let mut state = self.state.lock().unwrap();
            match how {
                "good" => state.left[index(slot)] = TRIES,
                "bad" => state.left[index(slot)] = 0,
                "active" => {
                    state.first = slot;
                    state.left[index(slot)] = TRIES;
                }
                other => panic!("RAUC knows no state {other}"),
            }
        }
        self.may_go_on()?;
        Ok(json!({"type": "ss", "data": [name, "marked"]}))
    }

    fn answer(&self, method: &str, args: &[&str]) -> Result<serde_json::Value, PlatformError> {
        if let ("Mark", ["ss", how, name]) = (method, args) {
            return self.mark(how, name);
        }
        let state = self.state.lock().unwrap();
        let slot = |slot: Slot, name: &str, bootname: &str| {
            let text = |text: &str| json!({"type": "s", "data": text});
            let good = if state.left[index(slot)] > 0 {
                "good"
            } else {
                "bad"
            };
            let booted = if state.booted == slot {
                "booted"
            } else {
                "inactive"
            };
            json!([name, {"class": text("rootfs"), "bootname": text(bootname), "state": text(booted), "boot-status": text(good)}])
        };
        match (method, state.next()) {
            ("GetPrimary", Some(next)) => {
                let name = ["rootfs.0", "rootfs.1"][index(next)];
                Ok(json!({"type": "s", "data": [name]}))
            }
            ("GetPrimary", None) => Err(PlatformError::Unavailable("no primary slot".to_owned())),
            ("GetSlotStatus", _) => {
                let slots = [
                    slot(Slot::A, "rootfs.0", "A"),
                    slot(Slot::B, "rootfs.1", "B"),
                ];
                Ok(json!({"type": "a(sa{sv})", "data": [slots]}))
            }
            (other, _) => panic!("not asked for by this engine: {other}"),
        }
    }
}

#[async_trait]
impl Programs for FakeRauc {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        let args: Vec<&str> = call.args.iter().map(String::as_str).collect();
        let (service, rest) = args.split_at(6);
        assert_eq!(call.program, "busctl");
        assert_eq!(service[2..4], ["call", "de.pengutronix.rauc"]);
        let answer = self.answer(rest[0], &rest[1..])?;
        Ok(Finished {
            code: Some(0),
            output: answer.to_string().into_bytes(),
            errors: String::new(),
        })
    }
}
