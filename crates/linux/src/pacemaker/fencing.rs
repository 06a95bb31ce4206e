//! How a member of the pair would be fenced, by the cluster's configuration.

use evenkeel_model::{FenceDevice, FencingState, NodeName};

use super::cib::Primitive;
use super::seen::Seen;

/// A fence device that can fence a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) id: String,
    agent: String,
    /// The cluster runs it and its newest look at it found nothing wrong.
    pub(super) works: bool,
    monitored_every_s: Option<u64>,
}

/// Those that can fence `target`, the working ones first.
pub(super) fn devices(seen: &Seen, target: &NodeName) -> Vec<Device> {
    let primitives = seen
        .cib
        .resources
        .iter()
        .flat_map(|resource| resource.primitives());
    let fences = primitives.filter(|one| one.is_fence() && can_fence(one, target.as_str()));
    let mut devices: Vec<Device> = fences.map(|one| device(seen, one)).collect();
    devices.sort_by_key(|device| !device.works);
    devices
}

fn device(seen: &Seen, primitive: &Primitive) -> Device {
    let service = seen.monitor.services.get(&primitive.id);
    Device {
        id: primitive.id.clone(),
        agent: primitive.agent.clone(),
        works: service.is_some_and(|one| one.active && !one.failed && !one.blocked),
        monitored_every_s: primitive.monitored_every_s,
    }
}

/// By its list or map of hosts. One without either asks its device when it is needed, or fences whomever it is told to:
/// either way the cluster counts on it.
fn can_fence(primitive: &Primitive, target: &str) -> bool {
    let parameter = |name: &str| primitive.parameters.get(name);
    let list = parameter("pcmk_host_list").map(|list| {
        list.split(|c: char| c.is_whitespace() || c == ',' || c == ';')
            .any(|host| host == target)
    });
    let map = parameter("pcmk_host_map").map(|map| {
        map.split(|c: char| c.is_whitespace() || c == ';')
            .any(|pair| pair.split([':', '=']).next() == Some(target))
    });
    match (list, map) {
        (None, None) => true,
        (list, map) => list.unwrap_or(false) || map.unwrap_or(false),
    }
}

/// How this node would fence its partner.
pub(super) fn state(seen: &Seen) -> Option<FencingState> {
    let device = devices(seen, &seen.members.partner).into_iter().next()?;
    // Each look of the cluster at the device is a test. While it works, the newest one is at most that old.
    let tested = device.monitored_every_s.filter(|_| device.works);
    Some(FencingState {
        enabled: seen.monitor.fencing,
        device: match is_service_processor(&device.agent) {
            true => FenceDevice::ServiceProcessor,
            false => FenceDevice::Other {
                name: device.id,
                answers: device.works,
            },
        },
        tested_s_ago: tested,
    })
}

/// The agents of the package fence-agents that speak to a server's own management processor.
fn is_service_processor(agent: &str) -> bool {
    const KINDS: [&str; 12] = [
        "fence_ipmilan",
        "fence_ipmilanplus",
        "fence_redfish",
        "fence_idrac",
        "fence_drac",
        "fence_drac5",
        "fence_ilo",
        "fence_imm",
        "fence_rsa",
        "fence_cisco_ucs",
        "fence_supermicro",
        "external/ipmi",
    ];
    KINDS.contains(&agent) || agent.starts_with("fence_ilo")
}
