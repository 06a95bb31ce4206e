//! Writes a package into a slot, in a process of its own: owners, modes, attributes and setuid bits take privileges
//! that the daemon does not have where its unit starts it.
//!
//! The process proves the package once more, by itself: it is told which keys to believe and which package it must be,
//! never that all is well. The end of its input ends it at its next chunk.
//!
//! **Invariant.** Whatever ends either process, the slot is whole and marked, or has no mark (`package_store::extract`).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use evenkeel_model::{Digest, PlatformName, Progress};
use evenkeel_package_store::{
    ExtractError, ExtractProgress, ExtractRequest, KeyId, Policy, PublicKey, Target, TrustedKeys,
    extract_archive,
};
use serde::{Deserialize, Serialize};

use crate::error::chain;
use crate::sandbox::read_job;

/// Of so many reports of progress at least one is told: there is one for each piece of a file.
const TELL_EVERY_BYTES: u64 = 4 << 20;

/// One package to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlotJob {
    /// Its archive, in the store.
    pub(crate) archive: PathBuf,
    /// Which package it must be.
    pub(crate) package: Digest,
    /// The slot's folder.
    pub(crate) slot: PathBuf,
    /// The folder of the slot that runs.
    pub(crate) running: PathBuf,
    /// What is demanded of the package.
    pub(crate) demands: Demands,
}

/// A [`Policy`] that can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Demands {
    /// PEM of each key that is believed.
    trusted: Vec<String>,
    /// Ids of keys that no longer are.
    revoked: Vec<String>,
    hardware: Option<Hardware>,
    max_unpacked_bytes: u64,
    allow_unsigned: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hardware {
    platform: PlatformName,
    variant: Option<String>,
    features: Vec<String>,
}

impl From<&Policy> for Demands {
    fn from(policy: &Policy) -> Self {
        Self {
            trusted: policy.trusted.keys().map(PublicKey::to_pem).collect(),
            revoked: policy.trusted.revoked().map(|id| id.to_string()).collect(),
            hardware: policy.target.as_ref().map(|target| Hardware {
                platform: target.platform.clone(),
                variant: target.variant.clone(),
                features: target.features.clone(),
            }),
            max_unpacked_bytes: policy.max_unpacked_bytes,
            allow_unsigned: policy.allow_unsigned,
        }
    }
}

impl Demands {
    fn policy(&self) -> Result<Policy, String> {
        let mut trusted = TrustedKeys::none();
        for pem in &self.trusted {
            let key = pem.parse::<PublicKey>();
            trusted.add(key.map_err(|error| chain(&error))?);
        }
        for id in &self.revoked {
            let id = id.parse::<KeyId>();
            trusted.add_revoked(id.map_err(|error| chain(&error))?);
        }
        Ok(Policy {
            trusted,
            target: self.hardware.clone().map(|hardware| Target {
                platform: hardware.platform,
                variant: hardware.variant,
                features: hardware.features,
            }),
            max_unpacked_bytes: self.max_unpacked_bytes,
            allow_unsigned: self.allow_unsigned,
        })
    }
}

/// A line that the process says. Any but progress is its last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub(crate) enum Told {
    /// So far it is.
    Progress(Progress),
    /// The slot is whole and durable.
    Written,
    /// Another process writes there. Nothing changed.
    Busy,
    /// The package is refused, by what is in its archive.
    Refused {
        /// Why.
        why: String,
    },
    /// It must not be written there. Nothing changed.
    Forbidden {
        /// Why.
        why: String,
    },
    /// Another try may succeed.
    Failed {
        /// Why.
        why: String,
    },
}

impl Told {
    fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into() }
    }
}

impl From<ExtractError> for Told {
    fn from(error: ExtractError) -> Self {
        let why = chain(&error);
        match error {
            ExtractError::Busy { .. } => Self::Busy,
            ExtractError::Refused(_) => Self::Refused { why },
            ExtractError::Running { .. } | ExtractError::WrongPackage { .. } => {
                Self::Forbidden { why }
            }
            ExtractError::Store(_)
            | ExtractError::NoSpace { .. }
            | ExtractError::Canceled
            | ExtractError::Io { .. } => Self::Failed { why },
        }
    }
}

/// In words.
pub(crate) fn progress(at: ExtractProgress) -> Progress {
    let text = format!(
        "extracting, entry {} of {}",
        at.done_entries, at.total_entries
    );
    Progress {
        text,
        done: at.done_bytes,
        total: at.total_bytes,
    }
}

/// `evenkeeld write-slot`: reads its job from its input, says how far it is and what came of it.
pub(crate) fn main() -> ExitCode {
    let told = match read_job::<SlotJob>() {
        Ok(job) => write(&job),
        Err(why) => Told::failed(why),
    };
    match say(&told) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody listens any more.
        Err(_) => ExitCode::FAILURE,
    }
}

fn write(job: &SlotJob) -> Told {
    let policy = match job.demands.policy() {
        Ok(policy) => policy,
        Err(why) => return Told::failed(why),
    };
    let archive = match File::open(&job.archive) {
        Ok(archive) => archive,
        Err(error) => {
            return Told::failed(format!("cannot open {}: {error}", job.archive.display()));
        }
    };
    let request = ExtractRequest {
        slot_dir: &job.slot,
        running: Some(&job.running),
        expected: Some(job.package),
        policy: &policy,
    };
    let canceled = Arc::new(AtomicBool::new(false));
    cancel_with_the_input(Arc::clone(&canceled));
    let mut last = None;
    let mut report = |at: ExtractProgress| {
        let is_news = last.is_none_or(|last| at.done_bytes.abs_diff(last) >= TELL_EVERY_BYTES);
        if is_news || at.done_bytes == at.total_bytes {
            last = Some(at.done_bytes);
            if say(&Told::Progress(progress(at))).is_err() {
                canceled.store(true, Ordering::Relaxed);
            }
        }
    };
    match extract_archive(archive, request, &mut report, &canceled) {
        Ok(_) => Told::Written,
        Err(error) => error.into(),
    }
}

/// Nobody waits for it any more.
fn cancel_with_the_input(canceled: Arc<AtomicBool>) {
    thread::spawn(move || {
        let mut piece = [0; 64];
        while io::stdin().read(&mut piece).is_ok_and(|n| n > 0) {}
        canceled.store(true, Ordering::Relaxed);
    });
}

fn say(told: &Told) -> io::Result<()> {
    let line = serde_json::to_string(told).expect("plain data: JSON can say it");
    writeln!(io::stdout().lock(), "{line}")
}

#[cfg(test)]
mod tests {
    use evenkeel_package_store::SecretKey;

    use super::*;

    #[test]
    fn demands_are_the_same_on_the_other_side() {
        let (key, gone) = (
            SecretKey::from_seed(&[1; 32]),
            SecretKey::from_seed(&[2; 32]),
        );
        let mut trusted = TrustedKeys::from_iter([key.public(), gone.public()]);
        trusted.add_revoked(gone.public().id());
        let policy = Policy {
            trusted,
            target: Some(Target {
                platform: "lab-x86_64".parse().unwrap(),
                variant: Some("restricted".to_owned()),
                features: vec!["encryption".to_owned()],
            }),
            max_unpacked_bytes: 7,
            allow_unsigned: false,
        };
        let told = serde_json::to_string(&Demands::from(&policy)).unwrap();
        let heard: Demands = serde_json::from_str(&told).unwrap();
        let heard = heard.policy().unwrap();
        let ids = |policy: &Policy| policy.trusted.ids().collect::<Vec<_>>();
        assert_eq!(ids(&heard), [key.public().id()]);
        assert_eq!(
            heard.trusted.revoked().collect::<Vec<_>>(),
            [gone.public().id()]
        );
        assert_eq!(heard.target, policy.target);
        assert_eq!(heard.max_unpacked_bytes, 7);
        assert!(!heard.allow_unsigned);
    }

    #[test]
    fn a_key_that_cannot_be_read_is_no_reason_to_believe_anyone() {
        let demands = Demands {
            trusted: vec!["no key".to_owned()],
            revoked: Vec::new(),
            hardware: None,
            max_unpacked_bytes: 0,
            allow_unsigned: false,
        };
        assert!(demands.policy().is_err());
    }
}
