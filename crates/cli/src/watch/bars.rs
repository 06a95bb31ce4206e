//! A bar for each phase of each node: for terminals.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::progress::{Part, Snapshot};
use super::{View, word};

/// Bars that stay on the screen when watching ends.
pub(crate) struct Bars {
    screen: MultiProgress,
    parts: BTreeMap<(String, String), ProgressBar>,
    awaiting: ProgressBar,
}

impl Bars {
    pub(crate) fn new() -> Self {
        let screen = MultiProgress::new();
        let awaiting = screen.add(ProgressBar::new_spinner().with_style(style("{msg}")));
        Self {
            screen,
            parts: BTreeMap::new(),
            awaiting,
        }
    }

    fn bar(&mut self, part: &Part) -> ProgressBar {
        let key = (part.phase.clone(), part.node.clone());
        let (screen, last) = (&self.screen, &self.awaiting);
        let bar = self.parts.entry(key).or_insert_with(|| {
            let template = "{prefix:32} {bar:24} {pos:>3}% {msg}";
            let bar = ProgressBar::new(100).with_style(style(template));
            bar.set_prefix(format!("{} {}", part.node, part.phase));
            screen.insert_before(last, bar)
        });
        bar.clone()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a valid template")
}

impl View for Bars {
    fn show(&mut self, at: Duration, snapshot: &Snapshot) {
        for part in &snapshot.parts {
            let bar = self.bar(part);
            bar.set_position(part.percent);
            bar.set_message(part.step.clone().unwrap_or_else(|| word(&part.state)));
        }
        let awaiting = match snapshot.awaiting.is_empty() {
            true => String::new(),
            false => format!(", awaiting {}", snapshot.awaiting.join("; ")),
        };
        self.awaiting
            .set_message(format!("{:.1}s{awaiting}", at.as_secs_f64()));
    }

    fn lost(&mut self, at: Duration, why: &str) {
        self.awaiting.set_message(format!(
            "{:.1}s, the cluster does not answer: {why}",
            at.as_secs_f64()
        ));
    }

    fn finish(&mut self) {
        for bar in self.parts.values().chain([&self.awaiting]) {
            bar.abandon();
        }
    }
}
