//! The same memory as plain data, for whoever explores what nodes may come to remember.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_firmware::DeviceStep;
use evenkeel_interconnect::ConsentRequest;
use evenkeel_model::{Generation, TaskKey, TaskOrder, TransitionId};
use evenkeel_platform::devices::DeviceId;

use super::tables::Tables;
use super::{JournalEntry, Side, Stage};

/// All that a node must not forget. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The highest generation seen.
    pub generation: Generation,
    /// Orders, oldest first.
    pub orders: Vec<Arc<JournalEntry>>,
    /// Promises that this node gave.
    pub given: Vec<Arc<ConsentRequest>>,
    /// Promises that it holds or asked for.
    pub held: Vec<Arc<ConsentRequest>>,
    /// The newest step of each device.
    pub devices: BTreeMap<DeviceId, Arc<DeviceStep>>,
    /// Small state, by key.
    pub small: BTreeMap<String, String>,
}

/// Keeps a [`Memory`]: each transaction is one load and, when it changed something, one store.
pub trait Keeper: Send {
    /// What is remembered now.
    fn load(&mut self) -> Memory;
    /// What is remembered from now on.
    fn store(&mut self, memory: Memory);
}

impl Memory {
    fn side(&mut self, side: Side) -> &mut Vec<Arc<ConsentRequest>> {
        match side {
            Side::Given => &mut self.given,
            Side::Held => &mut self.held,
        }
    }
}

impl Tables for Memory {
    fn generation(&self) -> rusqlite::Result<Generation> {
        Ok(self.generation)
    }

    fn set_generation(&mut self, to: Generation) -> rusqlite::Result<()> {
        self.generation = to;
        Ok(())
    }

    fn order(&self, key: TaskKey) -> rusqlite::Result<Option<JournalEntry>> {
        let found = self.orders.iter().find(|entry| entry.order.key == key);
        Ok(found.map(|entry| (**entry).clone()))
    }

    fn open(&self) -> rusqlite::Result<Vec<JournalEntry>> {
        let open = self.orders.iter().filter(|e| e.stage != Stage::Ended);
        Ok(open.map(|entry| (**entry).clone()).collect())
    }

    fn recent(&self, limit: u32) -> rusqlite::Result<Vec<JournalEntry>> {
        let ended = self.orders.iter().filter(|e| e.stage == Stage::Ended);
        let old = ended.count().saturating_sub(limit as usize);
        let mut passed = 0;
        let recent = self.orders.iter().filter(|entry| {
            let is_ended = entry.stage == Stage::Ended;
            passed += usize::from(is_ended);
            !is_ended || passed > old
        });
        Ok(recent.map(|entry| (**entry).clone()).collect())
    }

    fn add(&mut self, order: &TaskOrder) -> rusqlite::Result<()> {
        self.orders.push(Arc::new(JournalEntry::new(order.clone())));
        Ok(())
    }

    fn change(&mut self, entry: &JournalEntry) -> rusqlite::Result<()> {
        let key = entry.order.key;
        if let Some(known) = self.orders.iter_mut().find(|e| e.order.key == key) {
            *known = Arc::new(entry.clone());
        }
        Ok(())
    }

    fn consents(&self, side: Side) -> rusqlite::Result<Vec<ConsentRequest>> {
        let consents = match side {
            Side::Given => &self.given,
            Side::Held => &self.held,
        };
        Ok(consents.iter().map(|c| (**c).clone()).collect())
    }

    fn put_consent(&mut self, side: Side, request: &ConsentRequest) -> rusqlite::Result<()> {
        self.drop_consent(side, request.transition)?;
        let consents = self.side(side);
        consents.push(Arc::new(request.clone()));
        consents.sort_by_key(|c| c.transition.to_string());
        Ok(())
    }

    fn drop_consent(&mut self, side: Side, transition: TransitionId) -> rusqlite::Result<()> {
        self.side(side).retain(|c| c.transition != transition);
        Ok(())
    }

    fn device_steps(&self) -> rusqlite::Result<Vec<DeviceStep>> {
        Ok(self.devices.values().map(|step| (**step).clone()).collect())
    }

    fn put_device_step(&mut self, step: &DeviceStep) -> rusqlite::Result<()> {
        let device = step.step.device.clone();
        self.devices.insert(device, Arc::new(step.clone()));
        Ok(())
    }

    fn drop_device_step(&mut self, device: &DeviceId) -> rusqlite::Result<()> {
        self.devices.remove(device);
        Ok(())
    }

    fn value(&self, key: &str) -> rusqlite::Result<Option<String>> {
        Ok(self.small.get(key).cloned())
    }

    fn set_value(&mut self, key: &str, value: Option<&str>) -> rusqlite::Result<()> {
        match value {
            Some(value) => drop(self.small.insert(key.to_owned(), value.to_owned())),
            None => drop(self.small.remove(key)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use evenkeel_firmware::{Phase, Step, WorkId};
    use evenkeel_model::*;
    use uuid::Uuid;

    use super::*;
    use crate::db::NodeDb;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Memory>>);

    impl Keeper for Kept {
        fn load(&mut self) -> Memory {
            self.0.lock().unwrap().clone()
        }

        fn store(&mut self, memory: Memory) {
            *self.0.lock().unwrap() = memory;
        }
    }

    fn order(task: u32, generation: u64, action: Action) -> TaskOrder {
        let node = NodeName::new("n1").unwrap();
        TaskOrder {
            key: TaskKey {
                operation: OperationId(Uuid::nil()),
                task: TaskId(task),
                attempt: 1,
            },
            generation: Generation(generation),
            task: Task {
                id: TaskId(task),
                node: node.clone(),
                executor: Executor::Agent(node),
                action,
                estimate_s: 1,
            },
            partner: None,
            transition: None,
            before: Before::default(),
            package: Digest([1; 32]),
            target: Version::new("2").unwrap(),
            no_progress_ms: None,
        }
    }

    fn request(transition: u32, generation: u64) -> ConsentRequest {
        ConsentRequest {
            transition: TransitionId(Uuid::from_u128(transition.into())),
            key: order(transition, generation, Action::Takeover).key,
            generation: Generation(generation),
            by: NodeName::new("n2").unwrap(),
            by_boot: BootId(Uuid::nil()),
            node_boot: BootId(Uuid::nil()),
        }
    }

    fn step(disk: u32, attempt: u32) -> DeviceStep {
        DeviceStep {
            work: WorkId {
                operation: OperationId(Uuid::nil()),
                package: Digest([2; 32]),
            },
            step: Step {
                device: DeviceId::Drive(format!("D{disk}").parse().unwrap()),
                phase: Phase::Writing,
                attempt,
            },
        }
    }

    /// One of the things that are done to a node's memory, and what came of it.
    fn act(db: &NodeDb, what: u64, n: u32, generation: u64) -> String {
        let takeover = order(n, generation, Action::Takeover);
        let key = takeover.key;
        let done = TaskEnd::Done {
            how: How::Completed,
        };
        match what {
            0 => format!("{:?}", db.accept(&takeover)),
            1 => format!("{:?}", db.accept(&order(n, generation, Action::MarkGood))),
            2 => format!("{:?}", db.begin_acting(key, Generation(generation))),
            3 => format!("{:?}", db.end(key, &done)),
            4 => format!("{:?}", db.give(&request(n, generation))),
            5 => format!("{:?}", db.ask(&request(n, generation))),
            6 => format!("{:?}", db.release(Side::Given, request(n, 0).transition)),
            7 => format!("{:?}", db.release(Side::Held, request(n, 0).transition)),
            8 => format!("{:?}", db.raise(Generation(generation))),
            9 => format!("{:?}", db.resume(key)),
            10 => format!("{:?}", (db.put("k", &n.to_string()), db.get("k"))),
            11 => format!("{:?}", db.put_device_step(&step(n, generation as u32))),
            12 => format!("{:?}", db.drop_device_step(&step(n, 0).step.device)),
            _ => format!("{:?}", (db.forget("k"), db.recent_orders(2), db.order(key))),
        }
    }

    #[test]
    fn plain_data_and_sqlite_remember_the_same() {
        let (sqlite, plain) = (
            NodeDb::open_in_memory().unwrap(),
            NodeDb::plain(Kept::default()),
        );
        let mut noise = 0x2545_f491_4f6c_dd1d_u64;
        for step in 0..3000 {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let (what, n) = (noise % 14, (noise >> 16) % 5);
            let generation = step / 300 + (noise >> 32) % 3;
            let of = |db| act(db, what, n as u32, generation);
            assert_eq!(of(&sqlite), of(&plain), "step {step}");
            assert_eq!(sqlite.open_orders().unwrap(), plain.open_orders().unwrap());
            assert_eq!(
                sqlite.device_steps().unwrap(),
                plain.device_steps().unwrap()
            );
            for side in [Side::Given, Side::Held] {
                assert_eq!(
                    sqlite.consents(side).unwrap(),
                    plain.consents(side).unwrap()
                );
            }
        }
    }
}
