//! How many requests and connections there may be at once, and how many of them one user or one address may
//! have: whoever takes more than a share leaves room for the others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts what is under way, by whom it belongs to.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    most: usize,
    most_each: usize,
    taken: Mutex<Taken<K>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    each: HashMap<K, usize>,
}

impl<K: Clone + Eq + Hash> Shares<K> {
    pub(crate) fn new(most: usize, most_each: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_each,
            taken: Mutex::new(Taken {
                all: 0,
                each: HashMap::new(),
            }),
        })
    }

    /// One more for `key`, until the share is dropped; `None` when there are too many.
    pub(crate) fn take(self: &Arc<Self>, key: K) -> Option<Share<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.each.get(&key).copied().unwrap_or(0);
        if taken.all >= self.most || own >= self.most_each {
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
        let shares = Shares::new(3, 2);
        let first = shares.take("a").unwrap();
        let _second = shares.take("a").unwrap();
        assert!(shares.take("a").is_none(), "its share is taken");
        let other = shares.take("b").unwrap();
        assert!(shares.take("c").is_none(), "all is taken");
        drop(first);
        assert!(shares.take("a").is_some());
        drop(other);
        assert_eq!(shares.taken.lock().unwrap().each.len(), 1);
    }
}
