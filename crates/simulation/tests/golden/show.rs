//! What `show` shows: what an operator sees when he asks.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::{NodeName, Operation, OperationKind, PoolHealth, SlotHealth};
use evenkeel_platform::devices::DeviceId;
use evenkeel_record::View;
use evenkeel_record::projections::{
    At, UpdateState, firmware, history, jobs, phases, software, tasks,
};
use evenkeel_simulation::Cluster;
use tokio::time::Instant;

use crate::narrate::{clock, found};
use crate::script::Shown;

pub(crate) fn show(cluster: &Cluster, shown: Shown, begun: Instant) -> Vec<String> {
    let view = cluster.view();
    match shown {
        Shown::Software => shown_software(cluster, &view),
        Shown::Tasks => shown_tasks(&view),
        Shown::Phases => shown_phases(cluster, &view),
        Shown::History => shown_history(&view),
        Shown::Jobs => shown_jobs(&view),
        Shown::Nodes => shown_nodes(cluster),
        Shown::Explain => shown_explain(cluster),
        Shown::Hardware => shown_hardware(cluster, begun),
        Shown::Settings => shown_settings(&view),
        Shown::Packages => shown_packages(cluster, &view),
        Shown::Firmware => shown_firmware(cluster, &view),
    }
}

fn at(cluster: &Cluster) -> At {
    At::new(cluster.now())
}

fn state(state: UpdateState) -> &'static str {
    match state {
        UpdateState::InProgress => "in_progress",
        UpdateState::Waiting => "waiting",
        UpdateState::PausedByUser => "paused_by_user",
        UpdateState::PausedOnError => "paused_on_error",
        UpdateState::Completed => "completed",
        UpdateState::Canceled => "canceled",
        UpdateState::Failed => "failed",
        UpdateState::PausePending => "pause_pending",
        UpdateState::CancelPending => "cancel_pending",
    }
}

fn shown_software(cluster: &Cluster, view: &View) -> Vec<String> {
    let software = software(view, at(cluster));
    let text = |version: Option<evenkeel_model::Version>| {
        version.map_or("-".to_owned(), |version| version.to_string())
    };
    let mut lines = vec![format!(
        "version {}, pending {}, state {}",
        text(software.version),
        text(software.pending_version),
        software.state.map_or("-", state)
    )];
    if let (Some(elapsed), Some(estimated)) = (software.elapsed, software.estimated) {
        lines.push(format!(
            "elapsed {}, estimated {}",
            clock(elapsed),
            clock(estimated)
        ));
    }
    let nodes = software.nodes.iter();
    let nodes: Vec<String> = nodes
        .map(|node| format!("{} {}", node.name, text(node.version.clone())))
        .collect();
    lines.push(format!("nodes: {}", nodes.join(", ")));
    if let Some(findings) = &software.validation_results {
        lines.extend(found("validation_results", findings));
    }
    if let Some(findings) = &software.post_update_checks {
        lines.extend(found("post_update_checks", findings));
    }
    lines
}

fn newest(view: &View) -> Option<&Operation> {
    let kinds = [OperationKind::Update, OperationKind::Validation];
    view.operation(view.control().newest_of(&kinds)?)
}

fn shown_tasks(view: &View) -> Vec<String> {
    let Some(operation) = newest(view) else {
        return vec!["none".to_owned()];
    };
    let rows = tasks(view, operation);
    let line = |row: evenkeel_record::projections::TaskRow| {
        let code = match row.issue.code {
            0 => String::new(),
            code => format!(" ({code})"),
        };
        let state = state(row.state);
        let mut lines = vec![format!(
            "{} {:<31} {state:<15} {}{code}",
            row.node, row.name, row.issue.message
        )];
        lines.extend(row.action.map(|action| format!("       {action}")));
        lines
    };
    rows.into_iter().flat_map(line).collect()
}

fn shown_phases(cluster: &Cluster, view: &View) -> Vec<String> {
    let Some(operation) = newest(view) else {
        return vec!["none".to_owned()];
    };
    let text = |time: Option<Duration>| time.map_or("-".to_owned(), clock);
    let rows = phases(view, operation, at(cluster)).into_iter();
    rows.map(|row| {
        let (estimated, elapsed) = (text(row.estimated), text(row.elapsed));
        let state = state(row.state);
        format!(
            "{} {:<18} {state:<15} estimated {estimated}, elapsed {elapsed}",
            row.node, row.phase
        )
    })
    .collect()
}

fn shown_history(view: &View) -> Vec<String> {
    let rows = history(view);
    if rows.is_empty() {
        return vec!["nothing".to_owned()];
    }
    let line = |row: &evenkeel_record::projections::HistoryRow| {
        let took = clock(row.end.shown_since(row.start));
        let state = format!("{:?}", row.state).to_lowercase();
        format!(
            "{} from {} to {}: {state}, {took}",
            row.node, row.from, row.to
        )
    };
    rows.iter().map(line).collect()
}

fn shown_jobs(view: &View) -> Vec<String> {
    let line = |job: &evenkeel_record::projections::JobRow| {
        let state = format!("{:?}", job.state).to_lowercase();
        let code = match job.code {
            0 => String::new(),
            code => format!(" ({code})"),
        };
        format!("{}: {state}, {}{code}", job.description, job.message)
    };
    jobs(view).iter().map(line).collect()
}

fn shown_nodes(cluster: &Cluster) -> Vec<String> {
    cluster
        .names()
        .iter()
        .map(|name| format!("{name}: {}", node(cluster, name)))
        .collect()
}

fn node(cluster: &Cluster, name: &NodeName) -> String {
    cluster.hardware(|hardware, _| {
        let ha = hardware.pair_state(name).map(|pair| pair.local.ha.text());
        let mut parts: Vec<String> = ha.into_iter().map(str::to_owned).collect();
        if let Some(slots) = hardware.slots_state(name) {
            let booted = slots.slot(slots.booted);
            let version = booted.image.as_ref().map(|image| image.version.to_string());
            let version = version.unwrap_or_else(|| "nothing readable".to_owned());
            let health = health(booted.health);
            let next = match slots.default == slots.booted {
                true => "boots it again",
                false => "boots the other slot next",
            };
            parts.push(format!("runs {version} ({health}), {next}"));
        }
        let pools = hardware.pool_states(name).into_iter();
        let serves = pools.filter(|p| p.owner.as_ref() == Some(name));
        let serves = serves.filter(|p| p.health != PoolHealth::Offline).count();
        let lifs = hardware.lif_states(name).into_iter();
        let hosts = lifs
            .filter(|lif| lif.current.as_ref() == Some(name))
            .count();
        parts.push(format!("serves {serves} pools, hosts {hosts} LIFs"));
        parts.join("; ")
    })
}

fn health(health: SlotHealth) -> String {
    match health {
        SlotHealth::Good => "good".to_owned(),
        SlotHealth::Untried { tries } => format!("not proven, {tries} tries left"),
        SlotHealth::Unbootable => "unbootable".to_owned(),
    }
}

/// What the coordinator says, or else the first node that answers.
fn shown_explain(cluster: &Cluster) -> Vec<String> {
    let asked = cluster.coordinator().into_iter().chain(cluster.names());
    let Some(door) = asked.filter_map(|name| cluster.door(&name)).next() else {
        return vec!["nobody answers".to_owned()];
    };
    let mut lines = Vec::new();
    for wait in door.explain() {
        lines.push(format!("awaited: {}", wait.what));
        if let Some(seen) = wait.seen {
            lines.push(format!("  seen:      {seen}"));
        }
        if let Some(remaining) = wait.remaining {
            lines.push(format!("  remaining: {}", clock(remaining)));
        }
        lines.push(format!("  unblock:   {}", wait.unblock));
    }
    if lines.is_empty() {
        lines.push("nothing is awaited".to_owned());
    }
    lines
}

/// The hardware's own log, for stories about what the machine does by itself.
fn shown_hardware(cluster: &Cluster, begun: Instant) -> Vec<String> {
    cluster.hardware(|hardware, now| {
        let start = now.saturating_sub(begun.elapsed().as_millis() as u64);
        let since = hardware.log().filter(|entry| entry.at_ms >= start);
        since
            .map(|entry| {
                let time = clock(Duration::from_millis(entry.at_ms - start));
                format!("{time:>8} {}: {}", entry.node, entry.text)
            })
            .collect()
    })
}

/// What is set for the whole cluster, and who may use it.
fn shown_settings(view: &View) -> Vec<String> {
    let control = view.control();
    let users = control.users.iter().map(|(name, account)| {
        let with = [
            account.password_hash.as_ref().map(|_| "a password"),
            account.certificate.then_some("a certificate"),
        ];
        let with: Vec<&str> = with.into_iter().flatten().collect();
        let with = if with.is_empty() {
            "nothing that lets it in".to_owned()
        } else {
            with.join(" and ")
        };
        format!("user {name}: {}, with {with}", account.role)
    });
    let keys = control.trusted_keys.iter().map(|key| {
        let name = key.name.as_deref().unwrap_or("without a name");
        let state = match key.revoked {
            Some(_) => "revoked",
            None => "trusted",
        };
        format!("key {} ({name}): {state}", key.key_id)
    });
    let known = control.acknowledged.iter();
    let known = known.map(|(check, said)| format!("acknowledged {check}: {}", said.reason));
    let kept = control
        .retention
        .map(|kept| format!("packages kept: {kept}"));
    let gates = control.gates.conditions.iter();
    let gates = gates.map(|condition| format!("gate: {condition}"));
    let mut lines: Vec<String> = users
        .chain(keys)
        .chain(known)
        .chain(kept)
        .chain(gates)
        .collect();
    if lines.is_empty() {
        lines.push("nothing is set".to_owned());
    }
    lines
}

/// How every firmware update went, and what devices run, by kind and revision.
fn shown_firmware(cluster: &Cluster, view: &View) -> Vec<String> {
    let mut lines = Vec::new();
    for row in firmware(view) {
        lines.push(format!("{}: {:?}", row.file, row.state));
        for worker in row.workers {
            let code = match worker.code {
                0 => String::new(),
                code => format!(" ({code})"),
            };
            let (node, state, said) = (worker.node, worker.state, worker.message);
            lines.push(format!("  {node} {state:?}: {said}{code}"));
        }
    }
    lines.extend(cluster.hardware(|hardware, _| {
        let mut runs: BTreeMap<(&str, String), usize> = BTreeMap::new();
        for device in hardware.devices() {
            let kind = match device {
                DeviceId::Drive(_) => "disk",
                DeviceId::Module { .. } => "module",
                DeviceId::Processor(_) => "service processor",
            };
            let running = hardware.firmware_of(&device);
            let running = running.map_or("-".to_owned(), |it| it.to_string());
            *runs.entry((kind, running)).or_default() += 1;
        }
        let line = |((kind, revision), count)| format!("{count} x {kind}: {revision}");
        runs.into_iter().map(line).collect::<Vec<String>>()
    }));
    lines
}

fn shown_packages(cluster: &Cluster, view: &View) -> Vec<String> {
    let mut packages: Vec<_> = view.catalogue().packages.values().collect();
    packages.sort_by_key(|entry| entry.order);
    let line = |entry: &evenkeel_model::CatalogueEntry| {
        let version = &entry.package.summary.version;
        let holders = cluster.holders(version.as_str());
        let holders: Vec<&str> = holders.iter().map(NodeName::as_str).collect();
        format!(
            "{version}: from {}, on {}",
            entry.origin,
            holders.join(", ")
        )
    };
    packages.into_iter().map(line).collect()
}
