//! What the units of systemd's wait for, each as a command of its own: it asks this node's daemon over the local socket,
//! says what is still awaited (to systemd as the unit's status, and in the log whenever it changes), and ends when that
//! has come.
//!
//! - `boot-good` waits for as long as it takes: an update may stand for days. A boot that is not good stays on trial.
//! - `pacemaker-gate` has a bound, and lets Pacemaker go then: a node whose daemon cannot start must be able to serve when
//!   its partner is dead. A node that was taken over stays in standby meanwhile, which Pacemaker keeps by itself.
//! - `may-restart` looks once, or waits within a bound.
//!
//! A node whose daemon never ran is under nobody's care: there the last two hold nothing up. Whether a boot is good is the daemon's
//! word alone: a system that does not find the node's data looks just like one whose daemon never ran.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use crate::config::{self, CONFIGURATION, ConfigError};
use crate::error::chain;
use crate::local;
use crate::notify::notify;
use crate::readiness::{self, Readiness};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Time for one answer: the daemon looks at the machine for it.
const ANSWER: Duration = Duration::from_secs(20);
/// Longest answer.
const MAX_ANSWER: u64 = 64 << 10;
/// How long Pacemaker waits for the record once the daemon answers: a node serves without one.
const RECORD_WITHIN: Duration = Duration::from_secs(20);

/// `EX_TEMPFAIL` of `sysexits.h`: not yet.
const NOT_YET: u8 = 75;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Subcommand)]
pub(crate) enum Wait {
    /// Wait until this boot is good: the node serves and is in the record, or the update marked its slot good.
    #[command(name = "boot-good")]
    BootGood,
    /// Wait until Pacemaker may start: the daemon is up, has read its journal, and the record names this boot.
    #[command(name = "pacemaker-gate")]
    PacemakerGate {
        /// Let it start after so many seconds in any case: a node must serve when its partner is dead.
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        within: u64,
    },
    /// Say whether a restart of the daemon disturbs nobody now: no takeover stands, no update and no flash is open.
    ///
    /// Exit code 0 says yes, also when no daemon answers or its configuration cannot be read, and 75 not yet.
    #[command(name = "may-restart")]
    MayRestart {
        /// Wait up to so many seconds until it is so.
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        within: u64,
    },
}

/// What a look came to.
enum Look {
    Told(Readiness),
    /// Nobody answers at the socket.
    Silent(String),
    /// Somebody answers who does not know the question: a daemon of another release.
    Ignorant(String),
}

/// What it means for who waits.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    GoOn(String),
    Wait(String),
}

/// Does it.
pub(crate) fn run(command: Wait, config: &Path) -> ExitCode {
    let socket = match own_socket(command, config) {
        Ok(Some(socket)) => socket,
        Ok(None) => {
            println!("no daemon has run on this node yet: nothing to wait for");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("evenkeeld: {}", chain(&error));
            return match command {
                Wait::BootGood => ExitCode::from(CONFIGURATION),
                // No daemon can be found by it, and a package must be removable and a node serve all the same.
                Wait::PacemakerGate { .. } | Wait::MayRestart { .. } => ExitCode::SUCCESS,
            };
        }
    };
    let mut said = Said::default();
    match command {
        Wait::BootGood => until(|_, look| boot_good(look), &socket, None, &mut said),
        Wait::PacemakerGate { within } => {
            let within = Duration::from_secs(within);
            let mut answered = None;
            let judge = |passed, look: &Look| pacemaker(passed, look, &mut answered);
            if until(judge, &socket, Some(within), &mut said) != ExitCode::SUCCESS {
                eprintln!(
                    "after {} s Pacemaker starts without the daemon's word: a node must be able to serve",
                    within.as_secs()
                );
            }
            ExitCode::SUCCESS
        }
        Wait::MayRestart { within } => {
            let within = Some(Duration::from_secs(within));
            until(|_, look| may_restart(look), &socket, within, &mut said)
        }
    }
}

/// None where the command waits for nobody, since no daemon has run: it leaves its database behind.
fn own_socket(command: Wait, config: &Path) -> Result<Option<PathBuf>, ConfigError> {
    let data = config::load(config)?.data;
    let waits = match command {
        Wait::BootGood => true,
        Wait::PacemakerGate { .. } | Wait::MayRestart { .. } => data.join("node.db").exists(),
    };
    Ok(waits.then(|| data.join(local::SOCKET)))
}

/// Looks until the verdict is to go on. [`NOT_YET`] when that did not come within the bound.
fn until(
    mut judge: impl FnMut(Duration, &Look) -> Verdict,
    socket: &Path,
    within: Option<Duration>,
    said: &mut Said,
) -> ExitCode {
    let begun = Instant::now();
    loop {
        let passed = begun.elapsed();
        match judge(passed, &look(socket)) {
            Verdict::GoOn(why) => {
                said.say(&why);
                return ExitCode::SUCCESS;
            }
            Verdict::Wait(what) => said.say(&format!("waits for {what}")),
        }
        if within.is_some_and(|within| passed >= within) {
            return ExitCode::from(NOT_YET);
        }
        sleep(EVERY);
    }
}

fn boot_good(look: &Look) -> Verdict {
    match look {
        Look::Told(readiness) => match &readiness.good {
            None => Verdict::GoOn(format!("boot {} is good", readiness.boot_id)),
            Some(what) => Verdict::Wait(what.clone()),
        },
        Look::Silent(why) | Look::Ignorant(why) => Verdict::Wait(why.clone()),
    }
}

/// `answered` is when the daemon first did.
fn pacemaker(passed: Duration, look: &Look, answered: &mut Option<Duration>) -> Verdict {
    match look {
        Look::Told(readiness) => {
            let first = *answered.get_or_insert(passed);
            match &readiness.pacemaker {
                None => Verdict::GoOn("Pacemaker may start".to_owned()),
                Some(what) if passed.saturating_sub(first) >= RECORD_WITHIN => {
                    Verdict::GoOn(format!("Pacemaker may start without {what}"))
                }
                Some(what) => Verdict::Wait(what.clone()),
            }
        }
        Look::Silent(why) => Verdict::Wait(why.clone()),
        Look::Ignorant(why) => Verdict::GoOn(format!("Pacemaker may start: {why}")),
    }
}

fn may_restart(look: &Look) -> Verdict {
    match look {
        Look::Told(readiness) => match &readiness.restart {
            None => Verdict::GoOn("a restart disturbs nobody".to_owned()),
            Some(what) => Verdict::Wait(what.clone()),
        },
        Look::Silent(why) | Look::Ignorant(why) => Verdict::GoOn(format!("it may restart: {why}")),
    }
}

/// Says what is new.
#[derive(Default)]
struct Said(String);

impl Said {
    fn say(&mut self, text: &str) {
        if self.0 != text {
            println!("{text}");
            notify(&[NotifyState::Status(text)]);
            text.clone_into(&mut self.0);
        }
    }
}

fn look(socket: &Path) -> Look {
    let shown = socket.display();
    match ask(socket) {
        Ok((200, body)) => match serde_json::from_slice(&body) {
            Ok(readiness) => Look::Told(readiness),
            Err(error) => Look::Ignorant(format!("the daemon answers something else: {error}")),
        },
        Ok((status, _)) => {
            Look::Ignorant(format!("the daemon, of another release, answers {status}"))
        }
        Err(error) => Look::Silent(format!("the daemon, silent at {shown}: {error}")),
    }
}

/// One call over a connection of its own.
fn ask(socket: &Path) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    write!(
        stream,
        "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        readiness::PATH
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::other("its answer was cut"))
}

/// An answer whose body is as long as it says.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    })?;
    let body = answer[end + 4..].get(..length)?;
    Some((status, body.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn told(waits: Option<&str>) -> Look {
        let waits = waits.map(str::to_owned);
        Look::Told(Readiness {
            node: "n1".to_owned(),
            boot_id: "b".to_owned(),
            good: waits.clone(),
            pacemaker: waits.clone(),
            restart: waits,
        })
    }

    fn waits(verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Wait(_) => true,
            Verdict::GoOn(_) => false,
        }
    }

    #[test]
    fn a_boot_is_good_by_the_daemons_word_alone() {
        assert!(!waits(&boot_good(&told(None))));
        assert!(waits(&boot_good(&told(Some("giveback")))));
        assert!(waits(&boot_good(&Look::Silent(String::new()))));
        assert!(waits(&boot_good(&Look::Ignorant(String::new()))));
    }

    #[test]
    fn pacemaker_waits_for_the_daemon_and_a_little_for_the_record() {
        let mut answered = None;
        let mut at = |seconds: u32, look: &Look| pacemaker(seconds * SECOND, look, &mut answered);
        assert!(waits(&at(0, &Look::Silent(String::new()))));
        // The record's time begins with the daemon's first answer.
        assert!(waits(&at(60, &told(Some("the record")))));
        assert!(waits(&at(79, &told(Some("the record")))));
        assert!(!waits(&at(80, &told(Some("the record")))));
        assert!(!waits(&at(61, &told(None))));
    }

    #[test]
    fn without_a_daemon_there_is_nobody_to_disturb() {
        assert!(!waits(&may_restart(&Look::Silent(String::new()))));
        assert!(!waits(&may_restart(&told(None))));
        assert!(waits(&may_restart(&told(Some("a takeover")))));
    }

    #[test]
    fn an_answer_is_read_and_a_cut_one_is_not() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse(whole), Some((200, b"{}".to_vec())));
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
    }
}
