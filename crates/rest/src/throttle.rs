//! Slows the guessing of passwords down, by where it comes from: a name that is guessed at from one address
//! is not slowed for anybody else, so nobody can be locked out.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Slots of each table: a fixed size, whatever is tried. Two that share one slow each other by seconds.
const SLOTS: usize = 4096;

/// Who waits longer than this is sent away instead: it would hold a connection for nothing.
const LONGEST: Duration = Duration::from_secs(10);

/// How tries of one kind are slowed.
struct Pace {
    /// Failures without consequence.
    free: f64,
    /// Time after which one more is forgotten.
    forgets: Duration,
    /// Distance between two tries after one failure more, doubled for each further one…
    first: Duration,
    /// …up to this.
    most: Duration,
}

/// One name from one address.
const NAME: Pace = Pace {
    free: 3.0,
    forgets: Duration::from_secs(60),
    first: Duration::from_millis(250),
    most: Duration::from_secs(5),
};

/// All names from one address: many people may share it.
const ADDRESS: Pace = Pace {
    free: 30.0,
    forgets: Duration::from_secs(10),
    first: Duration::from_millis(50),
    most: Duration::from_millis(500),
};

#[derive(Clone, Copy)]
struct Slot {
    failures: f64,
    seen: Instant,
    next: Instant,
}

impl Slot {
    fn leak(&mut self, pace: &Pace, now: Instant) {
        let forgotten = (now - self.seen).as_secs_f64() / pace.forgets.as_secs_f64();
        self.failures = (self.failures - forgotten).max(0.0);
        self.seen = now;
    }

    fn distance(&self, pace: &Pace) -> Duration {
        let over = self.failures - pace.free;
        if over < 0.0 {
            return Duration::ZERO;
        }
        pace.first.mul_f64(over.exp2().min(1e6)).min(pace.most)
    }
}

/// Remembers where tries failed.
pub(crate) struct Throttle {
    hasher: RandomState,
    names: Mutex<Vec<Slot>>,
    addresses: Mutex<Vec<Slot>>,
}

/// Too many tries wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Throttle {
    pub(crate) fn new(now: Instant) -> Self {
        let slot = Slot {
            failures: 0.0,
            seen: now,
            next: now,
        };
        Self {
            hasher: RandomState::new(),
            names: Mutex::new(vec![slot; SLOTS]),
            addresses: Mutex::new(vec![slot; SLOTS]),
        }
    }

    /// When this try may be made. It counts as a failure until [`Throttle::succeeded`], so that many at once
    /// are not taken for the first.
    pub(crate) fn try_at(
        &self,
        source: Option<IpAddr>,
        name: &str,
        now: Instant,
    ) -> Result<Instant, TooMany> {
        let mut names = self.names.lock().expect("no panic while held");
        let mut addresses = self.addresses.lock().expect("no panic while held");
        let of_name = &mut names[self.slot((source, name))];
        let of_address = &mut addresses[self.slot(source)];
        of_name.leak(&NAME, now);
        of_address.leak(&ADDRESS, now);
        let at = now.max(of_name.next).max(of_address.next);
        if at - now > LONGEST {
            return Err(TooMany);
        }
        for (slot, pace) in [(of_name, NAME), (of_address, ADDRESS)] {
            slot.failures += 1.0;
            slot.next = at + slot.distance(&pace);
        }
        Ok(at)
    }

    /// The try was no failure.
    pub(crate) fn succeeded(&self, source: Option<IpAddr>, name: &str, now: Instant) {
        let mut names = self.names.lock().expect("no panic while held");
        let of_name = &mut names[self.slot((source, name))];
        (of_name.failures, of_name.next) = (0.0, now);
        let mut addresses = self.addresses.lock().expect("no panic while held");
        let of_address = &mut addresses[self.slot(source)];
        of_address.failures = (of_address.failures - 1.0).max(0.0);
    }

    fn slot(&self, key: impl Hash) -> usize {
        (self.hasher.hash_one(key) % SLOTS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn failures_slow_their_own_source_and_name_and_nobody_else() {
        let start = Instant::now();
        let throttle = Throttle::new(start);
        let mut now = start;
        for _ in 0..20 {
            now = throttle.try_at(source(1), "admin", now).unwrap();
        }
        let taken = now - start;
        assert!(taken > Duration::from_secs(60), "twenty in {taken:?}");
        assert_eq!(throttle.try_at(source(2), "admin", now), Ok(now));
        assert_eq!(throttle.try_at(source(1), "other", now), Ok(now));
    }

    #[test]
    fn many_tries_at_once_are_sent_away_instead_of_being_kept() {
        let now = Instant::now();
        let throttle = Throttle::new(now);
        let tries = (0..100).map(|_| throttle.try_at(source(1), "admin", now));
        let waiting = tries.take_while(Result::is_ok).count();
        assert!((5..15).contains(&waiting), "{waiting}");
        let later = now + Duration::from_secs(60);
        assert!(throttle.try_at(source(1), "admin", later).is_ok());
    }

    #[test]
    fn guessing_at_names_is_slowed_too() {
        let start = Instant::now();
        let throttle = Throttle::new(start);
        let mut now = start;
        for name in 0..200 {
            now = throttle
                .try_at(source(1), &format!("u{name}"), now)
                .unwrap();
        }
        assert!(now - start > Duration::from_secs(30), "{:?}", now - start);
    }

    #[test]
    fn success_and_time_forget() {
        let now = Instant::now();
        let throttle = Throttle::new(now);
        let fail = |at| throttle.try_at(source(1), "admin", at).unwrap();
        let mut last = now;
        for _ in 0..6 {
            last = fail(last);
        }
        throttle.succeeded(source(1), "admin", last);
        assert_eq!(fail(last), last);
        let hours = last + Duration::from_secs(7200);
        assert_eq!(fail(hours), hours);
        assert_eq!(fail(hours), hours);
    }
}
