//! One run through all that a store does, and what must hold after any of it was cut short.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use evenkeel_model::Digest;
use evenkeel_package_store::{ScrubOutcome, StageError, StageLimits, Staging, Store};

use crate::common::*;

/// Packages, made once: the story is told many times.
pub(crate) struct Cast {
    /// Some hundred bytes.
    pub(crate) small: Part,
    /// A little more than a chunk.
    pub(crate) big: Part,
}

pub(crate) struct Part {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
}

impl Part {
    fn half(&self) -> Bytes {
        self.bytes.slice(..self.bytes.len() - 1000)
    }
}

impl Cast {
    /// In a folder in which an earlier call may have made them already.
    pub(crate) fn load(dir: &Path) -> Self {
        if !dir.join("2.0.tgz").exists() {
            make_small_package(dir, "1.0");
            fs::create_dir(dir.join("tree")).unwrap();
            fs::write(dir.join("tree/noise"), noise(1_240_000, 5)).unwrap();
            make_package(dir, "2.0");
        }
        let part = |name: &str| {
            let path = dir.join(name);
            let manifest = evenkeel_package_store::read_unproven_manifest(&path).unwrap();
            Part {
                digest: manifest.digest,
                bytes: fs::read(path).unwrap().into(),
            }
        };
        let (small, big) = (part("1.0.tgz"), part("2.0.tgz"));
        assert!(big.half().len() > 1 << 20);
        Self { small, big }
    }
}

/// What is done, in this order; doing it again is always right.
pub(crate) const DEEDS: [Deed; 9] = [
    Deed::Stage,
    Deed::Suspend,
    Deed::Resume,
    Deed::Quarantine,
    Deed::Heal,
    Deed::Replace,
    Deed::Delete,
    Deed::SuspendAgain,
    Deed::Discard,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The small package comes.
    Stage,
    /// The big one comes, in part.
    Suspend,
    /// The big one comes to its end.
    Resume,
    /// The small one is set aside.
    Quarantine,
    /// The small one comes again.
    Heal,
    /// The small one comes once more, over the one that is there.
    Replace,
    /// The big one goes.
    Delete,
    /// The small one comes in part…
    SuspendAgain,
    /// …and is not wanted any more.
    Discard,
}

type Failed = Box<dyn std::error::Error>;

pub(crate) fn limits(keep_partial: bool) -> StageLimits {
    StageLimits {
        reserve_bytes: 0,
        keep_partial,
        ..StageLimits::default()
    }
}

impl Deed {
    pub(crate) fn run(self, store: &Store, cast: &Cast) -> Result<(), Failed> {
        match self {
            Self::Stage => stage_whole(store, "small", &cast.small)?,
            Self::Suspend if store.get(cast.big.digest).is_some() => {}
            Self::Suspend => {
                let mut staging = store.begin("big", policy(), limits(true))?;
                write(&mut staging, &cast.big.half())?;
                staging.note(b"the rest is elsewhere")?;
                staging.suspend_blocking()?;
            }
            Self::Resume => match store.resume("big", policy(), limits(true)) {
                Ok((mut staging, offset)) => {
                    write(&mut staging, &cast.big.bytes.slice(offset as usize..))?;
                    staging.finish_blocking()?;
                }
                // It had come to its end before.
                Err(StageError::NothingKept { .. }) => {
                    assert!(store.get(cast.big.digest).is_some())
                }
                Err(error) => return Err(error.into()),
            },
            Self::Delete => {
                store.delete(cast.big.digest)?;
            }
            Self::Quarantine if store.get(cast.small.digest).is_none() => {}
            Self::Quarantine => {
                store.quarantine(cast.small.digest, None, "a test says so")?;
            }
            Self::Heal | Self::Replace => stage_whole(store, "again", &cast.small)?,
            Self::SuspendAgain => {
                let mut staging = store.begin("small", policy(), limits(true))?;
                write(&mut staging, &cast.small.half_of_small())?;
                staging.suspend_blocking()?;
            }
            Self::Discard => store.discard("small")?,
        }
        Ok(())
    }
}

impl Part {
    fn half_of_small(&self) -> Bytes {
        self.bytes.slice(..self.bytes.len() / 2)
    }
}

fn stage_whole(store: &Store, id: &str, part: &Part) -> Result<(), StageError> {
    let mut staging = store.begin(id, policy(), limits(false))?;
    write(&mut staging, &part.bytes)?;
    staging.finish_blocking()?;
    Ok(())
}

fn write(staging: &mut Staging, bytes: &Bytes) -> Result<(), StageError> {
    let pieces = (0..bytes.len()).step_by(400_000);
    for at in pieces {
        staging.write_blocking(bytes.slice(at..bytes.len().min(at + 400_000)))?;
    }
    Ok(())
}

/// The packages and partials that are there after the first `done` deeds.
fn after(done: usize, cast: &Cast) -> (BTreeSet<Digest>, BTreeSet<&'static str>) {
    let (mut packages, mut partials) = (BTreeSet::new(), BTreeSet::new());
    for deed in &DEEDS[..done] {
        match deed {
            Deed::Stage => drop(packages.insert(cast.small.digest)),
            Deed::Suspend => drop(partials.insert("big")),
            Deed::Resume => {
                partials.remove("big");
                packages.insert(cast.big.digest);
            }
            Deed::Quarantine => drop(packages.remove(&cast.small.digest)),
            Deed::Heal | Deed::Replace => drop(packages.insert(cast.small.digest)),
            Deed::Delete => drop(packages.remove(&cast.big.digest)),
            Deed::SuspendAgain => drop(partials.insert("small")),
            Deed::Discard => drop(partials.remove("small")),
        }
    }
    (packages, partials)
}

/// After a crash in the deed that follows the first `done`: opens the store, sees that each package is whole
/// or gone, as it must be, and that nothing else is there; then tells the rest of the story.
pub(crate) fn survive(dir: &Path, done: usize, cast: &Cast) {
    let store = Store::open(dir).unwrap();
    let buried = fs::read_dir(dir.join("aside")).unwrap().count();
    assert_eq!(buried, 0, "opening clears what was deleted");
    check(&store, done, cast);
    for deed in &DEEDS[done..] {
        if let Err(error) = deed.run(&store, cast) {
            panic!("{deed:?} after a crash in {:?}: {error}", DEEDS.get(done));
        }
    }
    check(&store, DEEDS.len(), cast);
}

/// Checks a store of which it is known that `done` deeds were done and that the next may have been begun.
pub(crate) fn check(store: &Store, done: usize, cast: &Cast) {
    let context = format!("after {done} deeds");
    let (packages, partials) = after(done, cast);
    let (next_packages, next_partials) = after(DEEDS.len().min(done + 1), cast);
    let listed: BTreeSet<Digest> = store.list().iter().map(|p| p.manifest_digest).collect();
    assert!(
        listed.is_superset(&(&packages & &next_packages)),
        "lost {context}"
    );
    assert!(
        listed.is_subset(&(&packages | &next_packages)),
        "undead {context}"
    );
    for digest in &listed {
        check_whole(store, *digest);
    }
    let kept = store.partials().unwrap();
    let ids: BTreeSet<&str> = kept.iter().map(|p| p.stage_id.as_str()).collect();
    assert!(
        ids.is_superset(&(&partials & &next_partials)),
        "lost partial {context}"
    );
    assert!(
        ids.is_subset(&(&partials | &next_partials)),
        "{ids:?} {context}"
    );
    if done == 2 {
        check_suspended(store, cast, &ids);
    }
    let names: BTreeSet<String> = on_disk(store.dir()).into_iter().collect();
    let known = listed.iter().map(Digest::to_string);
    let expected = known.chain(ids.iter().map(|id| format!("{id}.partial")));
    assert_eq!(names, expected.collect(), "debris {context}");
}

fn check_whole(store: &Store, digest: Digest) {
    let outcome = store.scrub(digest, &mut |_| ControlFlow::Continue(()));
    assert_eq!(outcome.unwrap(), ScrubOutcome::Whole);
    assert_eq!(store.manifest(digest).unwrap().digest, digest);
}

/// What was suspended has lost nothing, unless its resumption has begun to write.
fn check_suspended(store: &Store, cast: &Cast, ids: &BTreeSet<&str>) {
    if !ids.contains("big") {
        return check_whole(store, cast.big.digest);
    }
    let partials = store.partials().unwrap();
    assert_eq!(partials[0].note, b"the rest is elsewhere");
    let (staging, offset) = store.resume("big", policy(), limits(true)).unwrap();
    assert!(offset >= 1 << 20, "only {offset} bytes are left");
    staging.suspend_blocking().unwrap();
}
