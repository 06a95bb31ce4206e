//! A value that many may watch: as `tokio::sync::watch`, but those who wait are woken in the order in
//! which they began to. tokio draws that order, which would make two runs of one simulated story differ.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::Notify;

struct Shared<T> {
    value: RwLock<T>,
    /// Counts the changes. Written with the lock held.
    version: AtomicU64,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    closed: AtomicBool,
    changed: Notify,
    deserted: Notify,
}

/// The sender is gone and what it sent last was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sender of a watched value is gone")]
pub struct Closed;

/// Changes the value.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// Watches the value.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// The value, for as long as nobody may change it: not to be held over an `await`.
pub struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value and its first watcher.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Shared<T> {
    fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

impl<T> Sender<T> {
    /// A value that nobody watches yet.
    pub fn new(value: T) -> Self {
        let shared = Shared {
            value: RwLock::new(value),
            version: AtomicU64::new(0),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            changed: Notify::new(),
            deserted: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A watcher to whom the value as it is now is no news.
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.receivers.fetch_add(1, Ordering::AcqRel);
        Receiver {
            shared: Arc::clone(&self.shared),
            seen: self.shared.version(),
        }
    }

    /// The value.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// Puts another value in its place, watched or not. Returns the one before.
    pub fn send_replace(&self, value: T) -> T {
        let mut value = value;
        self.send_modify(|present| std::mem::swap(present, &mut value));
        value
    }

    /// Changes the value.
    pub fn send_modify(&self, change: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    /// Changes the value, which is news if `change` says so.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let is_news = {
            let value = &self.shared.value;
            let mut value = value.write().unwrap_or_else(PoisonError::into_inner);
            let is_news = change(&mut value);
            if is_news {
                self.shared.version.fetch_add(1, Ordering::Release);
            }
            is_news
        };
        if is_news {
            self.shared.changed.notify_waiters();
        }
        is_news
    }
}

impl<T> Sender<T> {
    /// Waits until nobody watches.
    pub async fn closed(&self) {
        loop {
            // Made before the look: what changes after the look ends it.
            let deserted = self.shared.deserted.notified();
            if self.is_closed() {
                return;
            }
            deserted.await;
        }
    }

    /// Whether nobody watches.
    pub fn is_closed(&self) -> bool {
        self.shared.receivers.load(Ordering::Acquire) == 0
    }
}

impl<T> Receiver<T> {
    /// The value; whether it is news stays as it is.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.read())
    }

    /// The value, which is no news from now on.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.shared.read();
        self.seen = self.shared.version();
        Ref(value)
    }

    /// The value as it is now is no news.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.version();
    }

    /// Waits until there is news, which then is none any more.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            // Made before the look: what changes after the look ends it.
            let changed = self.shared.changed.notified();
            let version = self.shared.version();
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.shared.closed.load(Ordering::Acquire) {
                return Err(Closed);
            }
            changed.await;
        }
    }

    /// Waits until the value is as wanted.
    pub async fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, Closed> {
        loop {
            let (is_wanted, closed) = {
                let closed = self.shared.closed.load(Ordering::Acquire);
                let value = self.shared.read();
                self.seen = self.shared.version();
                (wanted(&value), closed)
            };
            if is_wanted {
                return Ok(Ref(self.shared.read()));
            }
            if closed {
                return Err(Closed);
            }
            // The end of the sender is seen by the next look.
            let _ = self.changed().await;
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::AcqRel);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.closed.store(true, Ordering::Release);
            self.shared.changed.notify_waiters();
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if self.shared.receivers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.deserted.notify_waiters();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Ordering::AcqRel);
        Self {
            shared: Arc::clone(&self.shared),
            seen: self.seen,
        }
    }
}

impl<T: Default> Default for Sender<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&*self.borrow()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&*self.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_once_by_everyone_and_the_end_after_the_last_one() {
        let (sender, mut first) = channel(1);
        let mut second = first.clone();
        sender.send_replace(2);
        first.changed().await.unwrap();
        assert_eq!(*first.borrow(), 2);
        drop(sender);
        second.changed().await.unwrap();
        assert_eq!(second.changed().await, Err(Closed));
        assert_eq!(first.changed().await, Err(Closed));
    }

    #[tokio::test]
    async fn those_who_wait_are_woken_in_their_order() {
        let sender = Sender::new(0);
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..20 {
            let (mut receiver, order) = (sender.subscribe(), Arc::clone(&order));
            waiting.spawn(async move {
                receiver.changed().await.unwrap();
                order.lock().unwrap().push(number);
            });
            tokio::task::yield_now().await;
        }
        sender.send_modify(|value| *value += 1);
        waiting.join_all().await;
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_sender_learns_that_nobody_watches_any_more() {
        let (sender, receiver) = channel(0);
        let watching = tokio::spawn(async move { sender.closed().await });
        let second = receiver.clone();
        drop(receiver);
        tokio::task::yield_now().await;
        assert!(!watching.is_finished());
        drop(second);
        watching.await.unwrap();
    }

    #[tokio::test]
    async fn a_wanted_value_is_found_at_once_or_later_or_never() {
        let (sender, mut receiver) = channel(3);
        assert_eq!(*receiver.wait_for(|value| *value == 3).await.unwrap(), 3);
        let waits = tokio::spawn(async move { receiver.wait_for(|v| *v == 9).await.map(|v| *v) });
        tokio::task::yield_now().await;
        sender.send_replace(9);
        assert_eq!(waits.await.unwrap(), Ok(9));
        let mut receiver = sender.subscribe();
        drop(sender);
        assert_eq!(receiver.wait_for(|v| *v == 1).await.err(), Some(Closed));
    }
}
