//! What may go wrong with a call, and what follows from it.

use std::fmt;

use super::wire::Alarm;
use crate::record::Unavailable;

/// Why one try at one endpoint brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// Nothing was sent.
    #[error("{endpoint} cannot be reached: {why}")]
    NotReached { endpoint: String, why: String },
    /// It was sent, and no whole answer came.
    #[error("{endpoint} does not answer: {why}")]
    NoAnswer { endpoint: String, why: String },
    /// etcd answered that it does not do it.
    #[error("{endpoint} refuses {path}: {message} ({})", told(*.code, .path))]
    Refused {
        endpoint: String,
        /// Of the call.
        path: String,
        code: Code,
        message: String,
    },
    /// An answer that is none of etcd's.
    #[error("{endpoint} answers what is not etcd's: {why}")]
    NotEtcd { endpoint: String, why: String },
    /// The endpoints lead to different clusters, or etcd was restored from a backup meanwhile.
    #[error(
        "{endpoint} belongs to another etcd cluster ({is:x}) than the one this daemon began with ({was:x}): \
         correct record.endpoints or, if etcd was restored from a backup, restart evenkeeld"
    )]
    OtherCluster {
        endpoint: String,
        is: i128,
        was: i128,
    },
    /// A file of this node's cannot be used.
    #[error("{0}")]
    Own(String),
    /// etcd takes no writes until someone sees to it.
    #[error("{why}")]
    Alarmed {
        why: String,
        /// Of the refusal that the alarm explains.
        may_have_happened: bool,
    },
}

/// Codes of gRPC, as the gateway passes them on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    OutOfRange,
    Unimplemented,
    DataLoss,
    Unauthenticated,
    /// It says nothing about whether the request was carried out: no leader, a timeout, and whatever is not known here.
    Unsettled(u32),
}

impl Code {
    pub(super) fn of(number: u32) -> Self {
        match number {
            3 => Self::InvalidArgument,
            5 => Self::NotFound,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            15 => Self::DataLoss,
            16 => Self::Unauthenticated,
            other => Self::Unsettled(other),
        }
    }

    fn may_have_happened(self) -> bool {
        match self {
            // etcd carries a write that crosses its quota out, and refuses it then.
            Self::Unsettled(_) | Self::ResourceExhausted => true,
            // etcd gives these before it changes anything.
            Self::InvalidArgument
            | Self::NotFound
            | Self::PermissionDenied
            | Self::FailedPrecondition
            | Self::OutOfRange
            | Self::Unimplemented
            | Self::DataLoss
            | Self::Unauthenticated => false,
        }
    }

    fn is_settled(self) -> bool {
        !matches!(self, Self::Unsettled(_))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidArgument => f.write_str("invalid argument"),
            Self::NotFound => f.write_str("not found"),
            Self::PermissionDenied => f.write_str("permission denied"),
            Self::ResourceExhausted => f.write_str("resource exhausted"),
            Self::FailedPrecondition => f.write_str("failed precondition"),
            Self::OutOfRange => f.write_str("out of range"),
            Self::Unimplemented => f.write_str("unimplemented"),
            Self::DataLoss => f.write_str("data loss"),
            Self::Unauthenticated => f.write_str("unauthenticated"),
            Self::Unsettled(number) => write!(f, "gRPC code {number}"),
        }
    }
}

/// What a refusal means for whoever set etcd up. What the daemon cannot do without is allowed by its prefix; the rest is root's in some
/// releases of etcd.
fn told(code: Code, path: &str) -> String {
    let is_of_record = path != "kv/compaction"
        && ["kv/", "lease/", "watch"]
            .iter()
            .any(|of_record| path.starts_with(of_record));
    match code {
        Code::PermissionDenied if is_of_record => {
            "record.user needs a role with `readwrite` on record.prefix".to_owned()
        }
        Code::PermissionDenied => "this etcd wants the role root for it".to_owned(),
        other => other.to_string(),
    }
}

impl Trouble {
    /// Whether the request may have been carried out, or may be yet.
    pub(super) fn may_have_happened(&self) -> bool {
        match self {
            Self::NotReached { .. } | Self::Own(_) => false,
            // It is noticed by an answer.
            Self::NoAnswer { .. } | Self::NotEtcd { .. } | Self::OtherCluster { .. } => true,
            Self::Refused { code, .. } => code.may_have_happened(),
            Self::Alarmed {
                may_have_happened, ..
            } => *may_have_happened,
        }
    }

    /// Whether it may still be carried out. If not, a read tells whether it was.
    pub(super) fn may_happen_yet(&self) -> bool {
        match self {
            Self::NoAnswer { .. } | Self::NotEtcd { .. } => true,
            Self::Refused { code, .. } => !code.is_settled(),
            Self::NotReached { .. }
            | Self::OtherCluster { .. }
            | Self::Own(_)
            | Self::Alarmed { .. } => false,
        }
    }

    /// Whether another endpoint, or the same one later, may do better.
    pub(super) fn is_worth_another(&self) -> bool {
        match self {
            Self::NotReached { .. } | Self::NoAnswer { .. } | Self::NotEtcd { .. } => true,
            Self::OtherCluster { .. } => true,
            Self::Own(_) | Self::Alarmed { .. } => false,
            Self::Refused { code, .. } => !code.is_settled(),
        }
    }

    pub(super) fn code(&self) -> Option<Code> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::NotReached { .. }
            | Self::NoAnswer { .. }
            | Self::NotEtcd { .. }
            | Self::OtherCluster { .. }
            | Self::Own(_)
            | Self::Alarmed { .. } => None,
        }
    }
}

/// Why a call over all endpoints brought no answer: what each of them said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    troubles: Vec<(usize, Trouble)>,
    /// Whether one of the tries may have been carried out.
    pub(super) may_have_happened: bool,
    /// Whether one of them may be yet.
    pub(super) may_happen_yet: bool,
}

impl Failed {
    /// Nothing went wrong yet.
    pub(super) fn none() -> Self {
        Self {
            troubles: Vec::new(),
            may_have_happened: false,
            may_happen_yet: false,
        }
    }

    /// Endpoint number `index` had this trouble.
    pub(super) fn note(&mut self, index: usize, trouble: Trouble) {
        self.may_have_happened |= trouble.may_have_happened();
        self.may_happen_yet |= trouble.may_happen_yet();
        self.troubles.retain(|(of, _)| *of != index);
        self.troubles.push((index, trouble));
    }

    /// The same, where what may have happened is nothing that counts.
    #[must_use]
    pub(super) fn without_doubt(mut self) -> Self {
        self.may_have_happened = false;
        self.may_happen_yet = false;
        self
    }

    /// Whether the answer would have been too long for the gateway.
    pub(super) fn is_too_much(&self) -> bool {
        self.code() == Some(Code::ResourceExhausted)
    }

    /// The code of the newest refusal.
    pub(super) fn code(&self) -> Option<Code> {
        self.troubles.last().and_then(|(_, trouble)| trouble.code())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.troubles.is_empty() {
            return f.write_str("etcd: there was no time to ask");
        }
        f.write_str("etcd: ")?;
        for (number, (_, trouble)) in self.troubles.iter().enumerate() {
            let comma = if number == 0 { "" } else { "; " };
            write!(f, "{comma}{trouble}")?;
        }
        Ok(())
    }
}

impl From<Failed> for Unavailable {
    fn from(failed: Failed) -> Self {
        Self::new(failed.to_string())
    }
}

/// What to do about alarms; none without any.
pub(super) fn advice(alarms: &[Alarm]) -> Option<String> {
    let first = alarms.first()?;
    let what = match first.alarm.as_str() {
        "NOSPACE" => {
            "its database has reached its quota, and no writes are taken. Compact and defragment it (`etcdctl compact`, \
             `etcdctl defrag`), raise --quota-backend-bytes if that is not enough, then `etcdctl alarm disarm`"
        }
        "CORRUPT" => {
            "its data differs from the other members'. Remove that member, delete its data and add it anew, then \
             `etcdctl alarm disarm`"
        }
        _other => "see etcd's documentation, then `etcdctl alarm disarm`",
    };
    let (alarm, member) = (&first.alarm, first.member_id.0);
    Some(format!(
        "etcd has raised the alarm {alarm} (`etcdctl alarm list`) for its member {member:x}: {what}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_is_told_of_once_with_its_newest_trouble() {
        let mut failed = Failed::none();
        let trouble = |endpoint: &str, why: &str| Trouble::NotReached {
            endpoint: endpoint.to_owned(),
            why: why.to_owned(),
        };
        failed.note(0, trouble("a", "refused"));
        failed.note(1, trouble("b", "refused"));
        assert!(!failed.may_have_happened);
        failed.note(
            0,
            Trouble::NoAnswer {
                endpoint: "a".to_owned(),
                why: "silence".to_owned(),
            },
        );
        assert!(failed.may_have_happened, "once in doubt, always in doubt");
        failed.note(0, trouble("a", "reset"));
        assert!(failed.may_have_happened);
        let text = failed.to_string();
        assert_eq!(
            text,
            "etcd: b cannot be reached: refused; a cannot be reached: reset"
        );
    }

    #[test]
    fn only_what_etcd_says_before_it_acts_is_a_no() {
        // Number, whether it may have happened, whether it may happen yet.
        for (number, happened, yet) in [
            (3, false, false),
            (16, false, false),
            (8, true, false),
            (2, true, true),
            (14, true, true),
        ] {
            let refused = Trouble::Refused {
                endpoint: "a".to_owned(),
                path: "kv/txn".to_owned(),
                code: Code::of(number),
                message: String::new(),
            };
            let said = (refused.may_have_happened(), refused.may_happen_yet());
            assert_eq!(said, (happened, yet), "{number}");
            assert_eq!(refused.is_worth_another(), yet, "{number}");
        }
        let elsewhere = Trouble::OtherCluster {
            endpoint: "a".to_owned(),
            is: 1,
            was: 2,
        };
        assert!(
            elsewhere.may_have_happened(),
            "another cluster has answered"
        );
        let mut failed = Failed::none();
        failed.note(
            0,
            Trouble::Alarmed {
                why: "NOSPACE".to_owned(),
                may_have_happened: true,
            },
        );
        assert!(failed.may_have_happened && !failed.may_happen_yet);
    }

    #[test]
    fn a_refusal_names_the_permission_that_is_missing() {
        let told = |path: &str| told(Code::PermissionDenied, path);
        for path in ["kv/range", "kv/txn", "lease/grant", "watch"] {
            assert!(told(path).contains("record.prefix"), "{path}");
        }
        for path in ["kv/compaction", "maintenance/alarm", "cluster/member/list"] {
            assert!(told(path).contains("role root"), "{path}");
        }
    }

    #[test]
    fn alarms_come_with_what_to_do() {
        assert_eq!(advice(&[]), None);
        let alarm = Alarm {
            alarm: "NOSPACE".to_owned(),
            ..Alarm::default()
        };
        assert!(advice(&[alarm]).unwrap().contains("etcdctl defrag"));
    }
}
