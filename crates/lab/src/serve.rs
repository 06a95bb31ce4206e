//! The supervisor's sockets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use evenkeel_model::{NodeName, Space};
use evenkeel_platform::PlatformError;
use evenkeel_platform::sim::{Fault, Hardware, Request, Response};
use evenkeel_platform::wire::{Command, Reply};
use nix::sys::statvfs::statvfs;
use tokio::net::UnixListener;

use crate::control::{ControlRequest, ControlResponse};
use crate::lines;
use crate::process::{Order, Runner};
use crate::status::{LabStatus, NodeStatus};
use crate::supervisor::Lab;

/// Answers the platform of one node.
pub(crate) async fn hardware(lab: Arc<Lab>, node: NodeName, listener: UnixListener) {
    let reply = move |request| {
        let (lab, node) = (Arc::clone(&lab), node.clone());
        async move { hardware_reply(&lab, &node, request) }
    };
    lines::answer(listener, reply).await;
}

fn hardware_reply(lab: &Lab, node: &NodeName, request: Request) -> Response {
    match request {
        Request::Hello => Response::Hello {
            node: node.clone(),
            slots: lab.layout.node(node).slots(),
        },
        Request::Call { command } => match call(lab, node, &command) {
            Ok(reply) => Response::Reply { reply },
            Err(error) => Response::Failed { error },
        },
    }
}

fn call(lab: &Lab, node: &NodeName, command: &Command) -> Result<Reply, PlatformError> {
    let unavailable = |error: anyhow::Error| PlatformError::Unavailable(format!("{error:#}"));
    match command {
        Command::Slots | Command::SetDefault { .. } => {
            lab.refresh_images(node).map_err(unavailable)?;
        }
        Command::Space => {
            let space = free_space(lab, node).map_err(unavailable)?;
            let set = lab
                .machine
                .with(|hardware, _| hardware.set_space(node, space))?;
            set.map_err(|error| unavailable(error.into()))?;
        }
        Command::Pair
        | Command::TakeOver(_)
        | Command::GiveBack(_)
        | Command::ServeAlone
        | Command::MarkUnbootable { .. }
        | Command::MarkGood { .. }
        | Command::BootId
        | Command::Reboot(_)
        | Command::Sp
        | Command::Lifs
        | Command::SendHome { .. }
        | Command::Pools
        | Command::Disks
        | Command::Load
        | Command::TimeSync
        | Command::ExclusiveJobs
        | Command::Alerts
        | Command::ClientHazards
        | Command::Witness
        | Command::Fencing
        | Command::BootSettings
        | Command::PartnerSp
        | Command::Ports
        | Command::UnownedDisks
        | Command::Shelves
        | Command::ClientRisks
        | Command::Machine
        | Command::Device(_) => {}
    }
    lab.machine.call(node, None, command)
}

/// Packages, slots and databases of a lab node lie on one filesystem.
fn free_space(lab: &Lab, node: &NodeName) -> Result<Space> {
    let dir = lab.layout.node(node);
    let stat = statvfs(dir.dir()).context("the lab's disk")?;
    let free = stat.blocks_available() * stat.fragment_size();
    Ok(Space {
        store_free: free,
        slot_free: free,
        root_free: free,
    })
}

/// Answers `evenkeel lab …`.
pub(crate) async fn control(lab: Arc<Lab>, listener: UnixListener) {
    let reply = move |request| {
        let lab = Arc::clone(&lab);
        async move {
            control_reply(&lab, request).unwrap_or_else(|error| ControlResponse::Failed {
                why: format!("{error:#}"),
            })
        }
    };
    lines::answer(listener, reply).await;
}

fn control_reply(lab: &Lab, request: ControlRequest) -> Result<ControlResponse> {
    match request {
        ControlRequest::Status => {
            let status = Box::new(status(lab)?);
            return Ok(ControlResponse::Status { status });
        }
        ControlRequest::Events { after } => {
            let newer = |hardware: &mut Hardware, _| {
                let entries = hardware.log().filter(|entry| entry.seq > after);
                entries.cloned().collect()
            };
            let events = lab.machine.with(newer)?;
            return Ok(ControlResponse::Events { events });
        }
        ControlRequest::Down => lab.stopping.notify_one(),
        ControlRequest::Fault { node, fault, on } => set_fault(lab, &node, fault, on)?,
        ControlRequest::TakeOver { node } => lab
            .machine
            .with(|hardware, now| hardware.take_over_by_hand(&node, now))???,
        ControlRequest::GiveBack { node } => lab
            .machine
            .with(|hardware, now| hardware.give_back_by_hand(&node, now))???,
        ControlRequest::Kill { node } => runner(lab, &node)?.tell(Order::Crash),
        ControlRequest::Reset { node } => lab
            .machine
            .with(|hardware, now| hardware.reset(&node, "by hand", now))??,
    }
    Ok(ControlResponse::Done)
}

fn set_fault(lab: &Lab, node: &NodeName, fault: Fault, on: bool) -> Result<()> {
    lab.machine
        .with(|hardware, now| hardware.set_fault(node, fault, on, now))??;
    if matches!(fault, Fault::Cut | Fault::Slow) {
        lab.write_link(node)?;
    }
    Ok(())
}

fn runner<'a>(lab: &'a Lab, node: &NodeName) -> Result<&'a Runner> {
    let runner = lab.runners.get(node);
    runner.with_context(|| format!("there is no node {node}"))
}

fn status(lab: &Lab) -> Result<LabStatus> {
    for node in lab.settings.topology.names() {
        lab.refresh_images(node)?;
    }
    let look = |hardware: &mut Hardware, now_ms| {
        let names = lab.settings.topology.names();
        let nodes = names.filter_map(|node| node_status(lab, hardware, node));
        LabStatus {
            dir: lab.layout.dir().to_owned(),
            url: format!("https://{}", lab.settings.address),
            ready: lab.ready.load(Ordering::SeqCst),
            minute_ms: lab.settings.minute_ms,
            now_ms,
            nodes: nodes.collect(),
            windows: hardware.windows().cloned().collect(),
            incidents: hardware.incidents().cloned().collect(),
            broken: hardware.check(),
        }
    };
    Ok(lab.machine.with(look)?)
}

fn node_status(lab: &Lab, hardware: &Hardware, node: &NodeName) -> Option<NodeStatus> {
    let pair = hardware.pair_state(node);
    let transition = pair.as_ref().and_then(|pair| pair.transition.as_ref());
    Some(NodeStatus {
        name: node.clone(),
        partner: lab.settings.topology.partner_of(node).cloned(),
        power: hardware.power(node)?.clone(),
        ha: hardware.ha(node)?,
        boot_id: hardware.boot_of(node),
        slots: hardware.slots_state(node),
        transition: transition.and_then(|transition| transition.id),
        lifs: hardware
            .hosting(node)
            .iter()
            .map(|lif| lif.to_string())
            .collect(),
        pid: lab.runners.get(node).and_then(Runner::pid),
        faults: hardware.faults(node),
    })
}
