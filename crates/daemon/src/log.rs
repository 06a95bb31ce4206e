//! What the daemon logs, and where to.
//!
//! Where systemd's journal listens, each message goes there with fields: `EVENKEEL_NODE` (this node, and others that the
//! message is about), `EVENKEEL_OPERATION`, `EVENKEEL_TASK` and whatever else a message says of itself, beside the journal's
//! own `PRIORITY`, `CODE_FILE` and `CODE_LINE`. What people or their tools look for has a `MESSAGE_ID` too. Elsewhere it
//! is lines on the error output.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use evenkeel_agent::logged;
use evenkeel_model::NodeName;
use tracing::Metadata;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Target of what is logged once the daemon has started.
pub(crate) const READY: &str = "evenkeel::ready";
/// The daemon was told to end.
pub(crate) const STOPPING: &str = "evenkeel::stopping";
/// A loop hangs: the watchdog is no longer fed.
pub(crate) const HANGS: &str = "evenkeel::hangs";

/// Message ids, by target. They are documented in `docs/operations.md`, and never change.
const MESSAGE_IDS: [(&str, &str); 7] = [
    (READY, "5e2a9c1f7d3b4b0e9a6c41d0f2b7e801"),
    (STOPPING, "5e2a9c1f7d3b4b0e9a6c41d0f2b7e802"),
    (HANGS, "5e2a9c1f7d3b4b0e9a6c41d0f2b7e803"),
    (logged::TASK_BEGINS, "5e2a9c1f7d3b4b0e9a6c41d0f2b7e804"),
    (logged::TASK_FAILED, "5e2a9c1f7d3b4b0e9a6c41d0f2b7e805"),
    (logged::TASK_ENDED, "5e2a9c1f7d3b4b0e9a6c41d0f2b7e806"),
    (logged::SERVES_ALONE, "5e2a9c1f7d3b4b0e9a6c41d0f2b7e807"),
];

/// Begins to log, as `node`. `EVENKEEL_LOG` says how much.
pub(crate) fn begin(node: &NodeName) {
    let filter = EnvFilter::try_from_env("EVENKEEL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    match is_journal() {
        true => match to_journal(node) {
            Ok(layers) => tracing_subscriber::registry()
                .with(layers.with_filter(filter))
                .init(),
            Err(error) => {
                to_stderr(filter, true);
                tracing::warn!(%error, "the journal takes no fields: lines only");
            }
        },
        false => to_stderr(filter, std::env::var_os("JOURNAL_STREAM").is_some()),
    }
}

/// Whether the error output is the journal's: it may have been inherited from a unit, and lead elsewhere by now.
fn is_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    let own = io::stderr().as_fd().try_clone_to_owned();
    let own = own.and_then(|fd: OwnedFd| File::from(fd).metadata());
    own.is_ok_and(|own| stream == format!("{}:{}", own.dev(), own.ino()))
}

/// One layer for each message id, and one for the rest.
fn to_journal<S>(node: &NodeName) -> io::Result<Vec<Box<dyn Layer<S> + Send + Sync>>>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let mut layers: Vec<Box<dyn Layer<S> + Send + Sync>> = Vec::new();
    for (target, id) in MESSAGE_IDS {
        let own = filter_fn(move |it: &Metadata<'_>| it.target() == target);
        layers.push(Box::new(layer(node, Some(id))?.with_filter(own)));
    }
    let rest =
        filter_fn(|it: &Metadata<'_>| MESSAGE_IDS.iter().all(|(own, _)| it.target() != *own));
    layers.push(Box::new(layer(node, None)?.with_filter(rest)));
    Ok(layers)
}

fn layer(node: &NodeName, message_id: Option<&str>) -> io::Result<tracing_journald::Layer> {
    let mut fields = vec![("EVENKEEL_NODE", node.as_str())];
    fields.extend(message_id.map(|id| ("MESSAGE_ID", id)));
    let priorities = PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    };
    let layer = tracing_journald::layer()?
        .with_field_prefix(Some("EVENKEEL".to_owned()))
        .with_syslog_identifier("evenkeeld".to_owned())
        .with_priority_mappings(priorities)
        .with_custom_fields(fields);
    Ok(layer)
}

/// No colours, and no times of our own where the journal adds them.
fn to_stderr(filter: EnvFilter, has_times: bool) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false);
    let log = log.with_writer(std::io::stderr);
    match has_times {
        true => log.without_time().init(),
        false => log.init(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn message_ids_are_what_the_journal_takes_and_are_documented() {
        let documented = include_str!("../../../docs/operations.md");
        let ids: BTreeSet<&str> = MESSAGE_IDS.iter().map(|(_, id)| *id).collect();
        let targets: BTreeSet<&str> = MESSAGE_IDS.iter().map(|(target, _)| *target).collect();
        assert_eq!(
            (ids.len(), targets.len()),
            (MESSAGE_IDS.len(), MESSAGE_IDS.len())
        );
        for (target, id) in MESSAGE_IDS {
            assert!(
                id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
                "{id}"
            );
            assert!(
                documented.contains(id),
                "{target} is not in docs/operations.md"
            );
        }
    }
}
