//! Moves in words, for the story of what went wrong.

use std::fmt;

use evenkeel_platform::sim::Due;

use super::moves::Move;
use super::state::name;

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Round(node, round) => {
                let how = match (round.misses, round.impatient) {
                    (Some(missed), _) => format!(", without an answer of {}", name(missed)),
                    (None, true) => ", after all its bounds have passed".to_owned(),
                    (None, false) => String::new(),
                };
                write!(f, "{} coordinates: it looks and decides{how}", name(*node))
            }
            Self::Append(node) => write!(f, "the decision of {} reaches the record", name(*node)),
            Self::StopWaiting(node) => write!(f, "{} stops waiting for the record", name(*node)),
            Self::LateAppend { again, .. } => {
                let again = if *again {
                    ", not for the last time"
                } else {
                    ""
                };
                write!(f, "a late append arrives at the record{again}")
            }
            Self::Elect(node) => write!(f, "{} is elected", name(*node)),
            Self::Deliver { again, .. } => {
                let again = if *again {
                    ", not for the last time"
                } else {
                    ""
                };
                write!(f, "an order arrives{again}")
            }
            Self::LoseOrder(_) => write!(f, "an order is lost"),
            Self::Work(node) => write!(f, "{} works on its order", name(*node)),
            Self::Act(node, fate) => write!(f, "{} acts on its machine: {fate:?}", name(*node)),
            Self::Call(node, fate) => write!(f, "{} asks its partner: {fate:?}", name(*node)),
            Self::Write(node, fate) => write!(f, "{} writes its slot: {fate:?}", name(*node)),
            Self::Wake { node, impatient } => match impatient {
                true => write!(f, "{} has waited for too long", name(*node)),
                false => write!(f, "{} looks again", name(*node)),
            },
            Self::Due(Due::Takeover(node)) => write!(f, "{node} is taken over"),
            Self::Due(Due::Loss(node)) => write!(f, "the partner of {node} has proof of its loss"),
            Self::Due(Due::Boot(node)) => write!(f, "{node} comes to the end of its boot"),
            Self::Guard(node) => write!(f, "the guard of {} looks", name(*node)),
            Self::Start(node) => write!(f, "the daemon of {} starts", name(*node)),
            Self::Kill(node) => write!(f, "the daemon of {} is killed", name(*node)),
            Self::PowerOff(node) => write!(f, "{} loses its power", name(*node)),
            Self::PowerOn(node) => write!(f, "{} gets its power back", name(*node)),
            Self::BadImage(node) => write!(f, "the new image of {} is bad", name(*node)),
            Self::TakeOverByHand(node) => write!(f, "an admin has {} taken over", name(*node)),
            Self::GiveBackByHand(node) => write!(f, "an admin has {} given back", name(*node)),
            Self::LoseVoter => write!(f, "the record's third voter goes away"),
            Self::VoterBack => write!(f, "the record's third voter is back"),
            Self::Pause => write!(f, "an operator asks for a pause"),
            Self::Resume => write!(f, "an operator resumes"),
            Self::Cancel => write!(f, "an operator cancels"),
        }
    }
}
