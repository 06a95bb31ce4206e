//! Marks: what our takeovers leave in the attributes of the node that was taken over, for both nodes to read.

use std::fmt;
use std::str::FromStr;

use evenkeel_model::{BootId, NodeName, TransitionId};

use super::cib::Cib;

/// Permanent attribute of the taken node: the newest takeover of ours.
pub(super) const TRANSITION: &str = "evenkeel-transition";
/// Permanent attribute of the taken node: the takeover for which it shut down cleanly.
pub(super) const CLEAN: &str = "evenkeel-clean";
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
        write!(f, "boot={} fenced={}", self.boot, fenced.replace(' ', "T"))
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
    let fenced = get("fenced")?;
    Some(Life {
        boot: get("boot")?.parse().ok()?,
        fenced: (fenced != "never").then(|| fenced.to_owned()),
    })
}

/// When a fencing was over, in the form that [`Life`] keeps.
pub(super) fn stamp(completed: &str) -> String {
    completed.replace(' ', "T")
}
