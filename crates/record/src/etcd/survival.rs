//! Would a majority of etcd's voting members remain?

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_model::NodeName;
use tokio::time::Instant;

use crate::record::Survival;

/// A look that is older says nothing about now. Ample for a few looks that fail.
const STALE: Duration = Duration::from_secs(20);

/// etcd's members, as they were last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) voters: Vec<Voter>,
    /// Nodes that host a member by the settings, of which it is not known which.
    pub(super) unmatched: BTreeSet<NodeName>,
    /// What keeps etcd from taking writes, with what to do.
    pub(super) alarm: Option<String>,
}

/// A member that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Voter {
    pub(super) name: String,
    /// The node that hosts it; none for one that stands outside the cluster.
    pub(super) node: Option<NodeName>,
    /// Why it does not count as healthy.
    pub(super) trouble: Option<String>,
}

/// What was last learned: the members, and why not more recently.
#[derive(Debug, Clone, Default)]
pub(super) struct Knowledge {
    pub(super) seen: Option<Seen>,
    pub(super) trouble: Option<String>,
}

impl Knowledge {
    pub(super) fn survives_without(&self, down: &[NodeName], now: Instant) -> Survival {
        match self.judge(down, now) {
            Ok(()) => Survival::Survives,
            Err(why) => Survival::Lost { why },
        }
    }

    fn judge(&self, down: &[NodeName], now: Instant) -> Result<(), String> {
        let why = self.trouble.as_deref().unwrap_or("they were not asked yet");
        let unknown = || format!("the health of etcd's members is not known: {why}");
        let seen = self.seen.as_ref().ok_or_else(unknown)?;
        if now.duration_since(seen.at) > STALE {
            return Err(unknown());
        }
        if let Some(alarm) = &seen.alarm {
            return Err(alarm.clone());
        }
        if let Some(node) = down.iter().find(|node| seen.unmatched.contains(*node)) {
            return Err(format!(
                "{node} hosts a member of etcd (record.members), but it is not known which: no member answers at its endpoint or advertises it"
            ));
        }
        seen.judge(down)
    }
}

impl Seen {
    fn judge(&self, down: &[NodeName]) -> Result<(), String> {
        let all = self.voters.len();
        let mut missing = Vec::new();
        for voter in &self.voters {
            let is_down = voter.node.as_ref().filter(|node| down.contains(node));
            if let Some(node) = is_down {
                missing.push(format!("{} is on {node}", voter.name));
            } else if let Some(trouble) = &voter.trouble {
                missing.push(format!("{} {trouble}", voter.name));
            }
        }
        let up = all - missing.len();
        if up * 2 > all {
            return Ok(());
        }
        Err(format!(
            "only {up} of etcd's {all} voting members would be up, and {} are needed: {}",
            all / 2 + 1,
            missing.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    fn knowledge(voters: &[(&str, Option<&str>, Option<&str>)]) -> Knowledge {
        let voter = |(name, on, trouble): &(&str, Option<&str>, Option<&str>)| Voter {
            name: (*name).to_owned(),
            node: on.map(node),
            trouble: trouble.map(str::to_owned),
        };
        Knowledge {
            seen: Some(Seen {
                at: Instant::now(),
                voters: voters.iter().map(voter).collect(),
                unmatched: BTreeSet::new(),
                alarm: None,
            }),
            trouble: None,
        }
    }

    fn why(knowledge: &Knowledge, down: &[&str]) -> Option<String> {
        let down: Vec<_> = down.iter().map(|name| node(name)).collect();
        match knowledge.survives_without(&down, Instant::now()) {
            Survival::Survives => None,
            Survival::Lost { why } => Some(why),
        }
    }

    #[test]
    fn a_majority_must_remain_of_all_voters_and_not_of_the_healthy() {
        let healthy = [
            ("m1", Some("a"), None),
            ("m2", Some("b"), None),
            ("m3", Some("c"), None),
        ];
        let three = knowledge(&healthy);
        assert_eq!(why(&three, &[]), None);
        assert_eq!(why(&three, &["a"]), None);
        let lost = why(&three, &["a", "c"]).unwrap();
        assert!(
            lost.contains("only 1 of etcd's 3") && lost.contains("m1 is on a, m3 is on c"),
            "{lost}"
        );
        assert_eq!(why(&three, &["d", "e"]), None, "they host none");

        let mut ill = healthy;
        ill[1].2 = Some("does not answer");
        let ill = knowledge(&ill);
        assert_eq!(why(&ill, &["b"]), None, "not counted twice");
        let lost = why(&ill, &["a"]).unwrap();
        assert!(lost.contains("m2 does not answer"), "{lost}");
    }

    #[test]
    fn even_numbers_need_more_than_half_and_outsiders_stay() {
        let two = knowledge(&[("m1", Some("a"), None), ("m2", Some("b"), None)]);
        assert!(why(&two, &["a"]).is_some());
        let outside = knowledge(&[("m1", None, None)]);
        assert_eq!(why(&outside, &["a", "b"]), None);
        assert!(why(&knowledge(&[]), &[]).is_some());
    }

    #[test]
    fn what_is_not_known_is_lost() {
        assert!(
            why(&Knowledge::default(), &[])
                .unwrap()
                .contains("not asked")
        );
        let mut old = knowledge(&[("m1", None, None)]);
        old.trouble = Some("no answer".to_owned());
        assert_eq!(why(&old, &[]), None, "one look that failed");
        let later = Instant::now() + STALE + Duration::from_secs(1);
        assert_eq!(
            old.survives_without(&[], later),
            Survival::Lost {
                why: "the health of etcd's members is not known: no answer".to_owned()
            }
        );
        let mut unmatched = knowledge(&[("m1", None, None)]);
        let seen = unmatched.seen.as_mut().unwrap();
        seen.unmatched.insert(node("a"));
        assert!(why(&unmatched, &["a"]).unwrap().contains("which"));
        assert_eq!(why(&unmatched, &["b"]), None);
        unmatched.seen.as_mut().unwrap().alarm = Some("NOSPACE".to_owned());
        assert_eq!(why(&unmatched, &[]).unwrap(), "NOSPACE");
    }
}
