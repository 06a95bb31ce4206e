//! Marks: what our takeovers leave in the attributes of the node that was taken over, for both nodes to read.

use std::fmt;
use std::str::FromStr;

use evenkeel_model::{BootId, NodeName, TransitionId, WallTime};

use super::cib::Cib;

/// Permanent attribute of the taken node: the newest takeover of ours.
pub(super) const TRANSITION: &str = "evenkeel-transition";
/// Permanent attribute of the taken node: the takeover for which it shut down cleanly.
pub(super) const CLEAN: &str = "evenkeel-clean";
/// Permanent attribute of the taken node: the takeover that it has taken back by itself, and why.
pub(super) const UNDONE: &str = "evenkeel-undone";
/// Permanent attribute of each node: its newest boot, and the newest fencing that was over when it began.
pub(super) const LIFE: &str = "evenkeel-life";
/// Attribute of each node that ends with its membership: the boot that it runs in.
pub(super) const BOOT: &str = "evenkeel-boot";
/// Pacemaker's own: a permanent one keeps everything away until it is taken back.
pub(super) const STANDBY: &str = "standby";

/// A takeover of ours: `id=… seq=… by=… boot=… stage=…`. A word that is not known is a later release's and left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) id: TransitionId,
    /// Counts the pair's takeovers: the higher one is the newer one.
    pub(super) seq: u64,
    pub(super) by: NodeName,
    /// The boot that was to end.
    pub(super) boot: BootId,
    pub(super) stage: MarkStage,
}

/// How far it was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkStage {
    /// Standby was set by us.
    Standing,
    /// Standby was lifted by us, in this boot of the node.
    GivingBack(BootId),
    /// It is over.
    GivenBack,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            seq,
            by,
            boot,
            stage,
        } = self;
        write!(f, "id={id} seq={seq} by={by} boot={boot} stage=")?;
        match stage {
            MarkStage::Standing => f.write_str("standing"),
            MarkStage::GivingBack(boot) => write!(f, "giving-back back={boot}"),
            MarkStage::GivenBack => f.write_str("given-back"),
        }
    }
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |what: &str| format!("the takeover {text:?} has no {what} that can be read");
        fn get<T: FromStr>(text: &str, name: &str) -> Option<T> {
            let mut words = text
                .split_ascii_whitespace()
                .filter_map(|w| w.split_once('='));
            words.find(|(key, _)| *key == name)?.1.parse().ok()
        }
        let stage: String = get(text, "stage").ok_or_else(|| bad("stage"))?;
        let stage = match stage.as_str() {
            "standing" => MarkStage::Standing,
            "giving-back" => MarkStage::GivingBack(get(text, "back").ok_or_else(|| bad("back"))?),
            "given-back" => MarkStage::GivenBack,
            _ => return Err(bad("stage")),
        };
        Ok(Self {
            id: get(text, "id").ok_or_else(|| bad("id"))?,
            seq: get(text, "seq").ok_or_else(|| bad("seq"))?,
            by: get(text, "by").ok_or_else(|| bad("by"))?,
            boot: get(text, "boot").ok_or_else(|| bad("boot"))?,
            stage,
        })
    }
}

/// The newest takeover of `node` that is ours.
pub(super) fn of(cib: &Cib, node: &NodeName) -> Result<Option<Mark>, String> {
    let text = cib.attribute(node.as_str(), TRANSITION);
    let mark = text.map(str::parse).transpose();
    mark.map_err(|why| format!("attribute {TRANSITION} of {node}: {why}"))
}

/// What is noted of a takeover that the taken node takes back: `ID why`. The text is what XML can hold, and bounded.
pub(super) fn undone(id: TransitionId, why: &str) -> String {
    let why: String = why.chars().filter(|c| !c.is_control()).collect();
    let why: String = why.chars().take(400).collect();
    format!("{id} {why}")
}

/// Why `node` has taken its takeover `id` back, if it has.
pub(super) fn why_undone(cib: &Cib, node: &NodeName, id: TransitionId) -> Option<String> {
    let (undone, why) = cib.attribute(node.as_str(), UNDONE)?.split_once(' ')?;
    (undone == id.to_string()).then(|| why.to_owned())
}

/// What was noted of a node when its newest boot joined the cluster: `boot=… fenced=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) boot: BootId,
    /// When the newest fencing of the node was over that its boot is later than; none if there had been none. A
    /// newer one is proof that this very boot has ended.
    pub(super) fenced: Option<String>,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fenced = self.fenced.as_deref().unwrap_or("never");
        write!(f, "boot={} fenced={fenced}", self.boot)
    }
}

/// That of `node`. One that cannot be read is none: it proves nothing.
pub(super) fn life(cib: &Cib, node: &NodeName) -> Option<Life> {
    let text = cib.attribute(node.as_str(), LIFE)?;
    let words: Vec<_> = text
        .split_ascii_whitespace()
        .filter_map(|word| word.split_once('='))
        .collect();
    let get = |name| {
        words
            .iter()
            .find(|(key, _)| *key == name)
            .map(|word| word.1)
    };
    let fenced = match get("fenced")? {
        "never" => None,
        text => Some(stamp(text)?),
    };
    Some(Life {
        boot: get("boot")?.parse().ok()?,
        fenced,
    })
}

/// When a fencing was over, in the one form that both nodes compare whatever their zone is and their release of Pacemaker
/// prints: UTC, in whole seconds (`2026-11-30T21:36:02Z`). Nothing where the text tells no point in time, as a local time
/// without its offset.
pub(super) fn stamp(text: &str) -> Option<String> {
    let (date, time) = (text.get(..10)?, text.get(11..)?);
    // Between time and offset there may be what is between date and time.
    let time: String = time.chars().filter(|c| !" T".contains(*c)).collect();
    let text = serde_json::Value::String(format!("{date}T{time}"));
    let time: WallTime = serde_json::from_value(text).ok()?;
    Some(time.to_api().replace("+00:00", "Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_has_one_stamp() {
        let forms = [
            "2026-11-30 21:36:02Z",
            "2026-11-30T21:36:02Z",
            "2026-11-30 21:36:02.271828Z",
            "2026-11-30 22:36:02 +01:00",
            "2026-11-30T22:36:02T+01:00",
            "2026-11-30 16:06:02.5 -05:30",
        ];
        for form in forms {
            assert_eq!(
                stamp(form).as_deref(),
                Some("2026-11-30T21:36:02Z"),
                "{form}"
            );
        }
        for form in [
            "",
            "2026-11-30 21:36:02",
            "Mon Nov 30 21:36:02 2026",
            "never",
        ] {
            assert_eq!(stamp(form), None, "{form}");
        }
    }
}
