//! What may be said of the gates between nodes.

use evenkeel_model::{GateCondition, Gates, Refusal, code};

/// The longest that conditions must hold: more is a pause, which a person ends.
const MAX_HOLD_MINUTES: u32 = 120;
/// The longest wait: a day.
const MAX_LONGEST_MINUTES: u32 = 24 * 60;
/// What applies when conditions are named for the first time, and nothing else.
const HOLD_MINUTES: u32 = 2;
/// So does this.
const LONGEST_MINUTES: u32 = 60;

/// What to change; what is none stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatesChange {
    /// All that must hold; none of them: no gates.
    pub conditions: Option<Vec<GateCondition>>,
    /// For how long without a break.
    pub hold_minutes: Option<u32>,
    /// After which the update pauses.
    pub longest_minutes: Option<u32>,
}

/// What the gates are then, or why they cannot be.
pub(crate) fn changed(present: &Gates, change: &GatesChange) -> Result<Gates, Refusal> {
    let fresh = present.longest_minutes == 0;
    let or = |present: u32, default: u32| if fresh { default } else { present };
    let mut gates = Gates {
        conditions: change
            .conditions
            .clone()
            .unwrap_or_else(|| present.conditions.clone()),
        hold_minutes: change
            .hold_minutes
            .unwrap_or_else(|| or(present.hold_minutes, HOLD_MINUTES)),
        longest_minutes: change
            .longest_minutes
            .unwrap_or_else(|| or(present.longest_minutes, LONGEST_MINUTES)),
    };
    gates.conditions.sort_unstable();
    gates.conditions.dedup();
    check(&gates)?;
    Ok(gates)
}

fn check(gates: &Gates) -> Result<(), Refusal> {
    let refuse =
        |about: &str, text: String| Err(Refusal::new(code::INVALID_VALUE, text).about(about));
    let (hold, longest) = (gates.hold_minutes, gates.longest_minutes);
    let loads = gates.conditions.iter();
    let loads = loads.filter(|c| matches!(c, GateCondition::LoadBelow { .. }));
    if loads.count() > 1 {
        return refuse(
            "conditions",
            "There are two bounds on the load; say one.".to_owned(),
        );
    }
    if hold > MAX_HOLD_MINUTES {
        let text = format!("Conditions hold for at most {MAX_HOLD_MINUTES} minutes, not {hold}.");
        return refuse("hold_minutes", text);
    }
    if longest == 0 || longest > MAX_LONGEST_MINUTES {
        let text =
            format!("The longest wait is from 1 to {MAX_LONGEST_MINUTES} minutes, not {longest}.");
        return refuse("longest_minutes", text);
    }
    if hold >= longest {
        let text = format!(
            "Conditions that must hold for {hold} minutes cannot come to do so within {longest}."
        );
        return refuse("longest_minutes", text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(hold: Option<u32>, longest: Option<u32>) -> GatesChange {
        GatesChange {
            conditions: Some(vec![GateCondition::LifsHome, GateCondition::LifsHome]),
            hold_minutes: hold,
            longest_minutes: longest,
        }
    }

    #[test]
    fn what_is_not_said_stays_or_has_its_default() {
        let first = changed(&Gates::default(), &change(None, None)).unwrap();
        assert_eq!(first.conditions, [GateCondition::LifsHome]);
        assert_eq!((first.hold_minutes, first.longest_minutes), (2, 60));
        let second = changed(&first, &change(Some(5), None)).unwrap();
        let only_longest = GatesChange {
            longest_minutes: Some(30),
            ..GatesChange::default()
        };
        let third = changed(&second, &only_longest).unwrap();
        assert_eq!((third.hold_minutes, third.longest_minutes), (5, 30));
        assert_eq!(third.conditions, [GateCondition::LifsHome]);
    }

    #[test]
    fn what_could_never_hold_is_refused_by_name() {
        let no = |change: &GatesChange| changed(&Gates::default(), change).unwrap_err();
        assert!(
            no(&change(Some(10), Some(10)))
                .message
                .contains("within 10")
        );
        assert!(
            no(&change(None, Some(0)))
                .message
                .contains("from 1 to 1440")
        );
        assert!(no(&change(Some(500), None)).message.contains("at most 120"));
        let two = [10, 20].map(|percent| GateCondition::LoadBelow { percent });
        let two = GatesChange {
            conditions: Some(two.to_vec()),
            ..GatesChange::default()
        };
        assert!(no(&two).message.contains("two bounds"));
    }
}
