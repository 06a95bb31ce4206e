//! How many requests and connections there may be at once, and how many of them one user or one address may
//! have: whoever takes more than a share leaves room for the others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts what is under way, by whom it belongs to.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    taken: Mutex<Taken<K>>,
}

/// How many there may be, for somebody who wants one more. Of those who may have more in all, the rest is theirs alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) all: usize,
    pub(crate) each: usize,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    each: HashMap<K, usize>,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::new(Taken {
                all: 0,
                each: HashMap::new(),
            }),
        })
    }

    /// One more for `key`, until the share is dropped; `None` when there are too many.
    pub(crate) fn take(self: &Arc<Self>, key: K, most: Most) -> Option<Share<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.each.get(&key).copied().unwrap_or(0);
        if taken.all >= most.all || own >= most.each {
            return None;
        }
        taken.all += 1;
        taken.each.insert(key.clone(), own + 1);
        drop(taken);
        Some(Share {
            of: Arc::clone(self),
            key,
        })
    }

    fn give_back(&self, key: &K) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let own = taken.each.get(key).copied().unwrap_or(0);
        match own {
            0 | 1 => drop(taken.each.remove(key)),
            more => drop(taken.each.insert(key.clone(), more - 1)),
        }
    }
}

/// One that is under way.
#[derive(Debug)]
pub(crate) struct Share<K: Clone + Eq + Hash> {
    of: Arc<Shares<K>>,
    key: K,
}

impl<K: Clone + Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        self.of.give_back(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leaves_room_for_others_and_what_ends_makes_room() {
        let shares = Shares::new();
        let most = Most { all: 3, each: 2 };
        let first = shares.take("a", most).unwrap();
        let _second = shares.take("a", most).unwrap();
        assert!(shares.take("a", most).is_none(), "its share is taken");
        let other = shares.take("b", most).unwrap();
        assert!(shares.take("c", most).is_none(), "all is taken");
        let privileged = Most { all: 4, each: 2 };
        assert!(shares.take("c", privileged).is_some(), "but for this one");
        drop(first);
        assert!(shares.take("a", most).is_some());
        drop(other);
        assert_eq!(shares.taken.lock().unwrap().each.len(), 1);
    }
}
