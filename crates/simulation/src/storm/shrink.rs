//! The short story in a long one.

use evenkeel_model::PauseAfter;
use evenkeel_record::MemoryFaults;

use super::play::play;
use super::script::{Gust, Script, When};

/// Plays that a shrinking may take.
const PLAYS: usize = 300;

/// What is left of a story that went wrong.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// It.
    pub script: Script,
    /// What goes wrong in it.
    pub wrong: String,
    /// How many stories were played to find it.
    pub plays: usize,
}

/// Leaves out of a story what it does not need to go wrong: gusts, nodes, options, the record's faults. None
/// when it does not go wrong.
pub fn shrink(script: &Script) -> Option<Shrunk> {
    let wrong = play(script).wrong?;
    let mut found = Shrunk {
        script: script.clone(),
        wrong,
        plays: 1,
    };
    while found.smaller() {}
    Some(found)
}

impl Shrunk {
    /// One round of everything that may be left out. False: nothing could be.
    fn smaller(&mut self) -> bool {
        let fewer_gusts = self.drop_gusts();
        let changes: [fn(&mut Script); 10] = [
            |s| s.gates = None,
            |s| s.checks = false,
            |s| s.acknowledges = false,
            |s| s.nodes = s.nodes.min(2),
            |s| s.nodes = s.nodes.min(4),
            |s| s.record = MemoryFaults::default(),
            |s| s.pause_after = PauseAfter::None,
            |s| (s.first, s.force_rolling) = (None, false),
            |s| s.only.clear(),
            |s| s.early = 0,
        ];
        let mut simpler = false;
        for change in changes {
            let mut script = self.script.clone();
            change(&mut script);
            simpler |= self.take(script);
        }
        fewer_gusts || simpler || self.sooner()
    }

    /// Leaves out halves, then quarters, down to single gusts.
    fn drop_gusts(&mut self) -> bool {
        let before = self.script.gusts.len();
        let mut part = before;
        while part > 0 {
            let mut from = 0;
            while from < self.script.gusts.len() {
                let mut script = self.script.clone();
                let to = (from + part).min(script.gusts.len());
                script.gusts.drain(from..to);
                let gone_early = script.early.min(to).saturating_sub(from);
                script.early -= gone_early;
                if !self.take(script) {
                    from += part;
                }
            }
            part /= 2;
        }
        self.script.gusts.len() < before
    }

    /// Gusts that come at once.
    fn sooner(&mut self) -> bool {
        let mut sooner = false;
        for number in 0..self.script.gusts.len() {
            let mut script = self.script.clone();
            let Gust { when, .. } = &mut script.gusts[number];
            *when = match *when {
                When::After { ms } => When::After { ms: ms / 4 },
                When::Into { task, .. } => When::Into { task, ms: 0 },
            };
            sooner |= self.take(script);
        }
        sooner
    }

    /// Takes a story in this one's place if it goes wrong too.
    fn take(&mut self, script: Script) -> bool {
        if script == self.script || self.plays >= PLAYS {
            return false;
        }
        self.plays += 1;
        let Some(wrong) = play(&script).wrong else {
            return false;
        };
        (self.script, self.wrong) = (script, wrong);
        true
    }
}
