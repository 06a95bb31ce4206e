//! One line for each change: for logs.

use std::io::Write;
use std::time::Duration;

use super::progress::{Part, Snapshot};
use super::{View, word};

/// Writes what changed since the last look.
pub(crate) struct Lines<W> {
    out: W,
    last: Snapshot,
    lost: bool,
}

impl<W: Write> Lines<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            last: Snapshot::default(),
            lost: false,
        }
    }

    fn line(&mut self, at: Duration, text: &str) {
        // Nobody reads progress any more: the update does not stop for that, nor does the watching.
        let _ = writeln!(self.out, "{:8.1}s  {text}", at.as_secs_f64());
    }

    fn was(&self, part: &Part) -> bool {
        let same = |old: &&Part| old.phase == part.phase && old.node == part.node;
        let old = self.last.parts.iter().find(same);
        old.is_some_and(|old| old.state == part.state && old.step == part.step)
    }
}

impl<W: Write> View for Lines<W> {
    fn show(&mut self, at: Duration, snapshot: &Snapshot) {
        self.lost = false;
        for part in snapshot
            .parts
            .iter()
            .filter(|part| !self.was(part))
            .cloned()
            .collect::<Vec<_>>()
        {
            let step = part
                .step
                .map(|step| format!(" ({step})"))
                .unwrap_or_default();
            let state = word(&part.state);
            self.line(at, &format!("{} {}: {state}{step}", part.node, part.phase));
        }
        if snapshot.awaiting != self.last.awaiting && !snapshot.awaiting.is_empty() {
            self.line(at, &format!("awaiting {}", snapshot.awaiting.join("; ")));
        }
        if let (Some(state), true) = (snapshot.state, snapshot.state != self.last.state) {
            self.line(at, &format!("update: {}", word(&state)));
        }
        self.last = snapshot.clone();
    }

    fn lost(&mut self, at: Duration, why: &str) {
        if !self.lost {
            self.line(at, &format!("the cluster does not answer: {why}"));
        }
        self.lost = true;
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_api::UpdateState;

    #[test]
    fn only_changes_are_written() {
        let part = Part {
            phase: "Post-update checks".to_owned(),
            node: "n1".to_owned(),
            state: UpdateState::Waiting,
            percent: 0,
            step: None,
        };
        let mut snapshot = Snapshot {
            parts: vec![part],
            ..Snapshot::default()
        };
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        lines.show(Duration::from_secs(1), &snapshot);
        lines.show(Duration::from_secs(2), &snapshot);
        snapshot.parts[0].state = UpdateState::Completed;
        lines.show(Duration::from_secs(3), &snapshot);
        lines.lost(Duration::from_secs(4), "refused");
        lines.lost(Duration::from_secs(5), "refused");
        let text = String::from_utf8(out).unwrap();
        let expected = "     1.0s  n1 Post-update checks: waiting\n     \
                        3.0s  n1 Post-update checks: completed\n     \
                        4.0s  the cluster does not answer: refused\n";
        assert_eq!(text, expected);
    }
}
