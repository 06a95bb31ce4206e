//! The configuration that Pacemaker starts with: each host of a pair has two pools, its root pool with an address.

use std::collections::BTreeMap;
use std::path::Path;

use crate::power;

/// What the pools of a cluster are.
pub(crate) struct Pools {
    /// The device of each pool's file system; pools that have none are dummies.
    pub(crate) devices: BTreeMap<String, String>,
    /// Whether the first root pool has the seat of a record.
    pub(crate) record: bool,
}

/// The folder that a pool is mounted on.
pub(crate) fn folder(pool: &str) -> String {
    format!("/run/pools/{pool}")
}

/// The file of the record, on the first host's root pool.
pub(crate) fn record_path() -> String {
    format!("{}/evenkeel/record.db", folder(RECORD_POOL))
}

/// The pool that the record is on.
pub(crate) const RECORD_POOL: &str = "a_root";

/// The pools of a host, the root pool first.
pub(crate) fn pools(host: &str) -> [String; 2] {
    let letter = host.rsplit('-').next().unwrap_or(host);
    [format!("{letter}_root"), format!("{letter}_data")]
}

/// The address of a host that moves.
pub(crate) fn address(index: usize) -> String {
    format!("10.99.0.{}", 101 + index)
}

/// How many services a host has.
pub(crate) fn services(host: &str, record: bool) -> usize {
    let [root, _data] = pools(host);
    match record && root == RECORD_POOL {
        true => 4,
        false => 3,
    }
}

/// The whole CIB of a pair.
pub(crate) fn seed(cluster: &Path, pair: [(&str, usize); 2], kind: &Pools) -> String {
    let (mut nodes, mut resources, mut constraints) = (String::new(), String::new(), String::new());
    for (host, index) in pair {
        let [root, data] = pools(host);
        let lif = root.replace("_root", "_lif");
        let disk = |pool: &str| disk(pool, kind.devices.get(pool));
        let record = match kind.record && root == RECORD_POOL {
            true => record(),
            false => String::new(),
        };
        nodes += &format!("<node id=\"{}\" uname=\"{host}\"/>", index + 1);
        resources += &fence(cluster, host);
        let address = primitive(
            &lif,
            "class=\"ocf\" provider=\"heartbeat\" type=\"IPaddr2\"",
            &[
                ("ip", &address(index)),
                ("cidr_netmask", "24"),
                ("nic", "eth0"),
            ],
        );
        resources += &format!(
            "<group id=\"{root}\"><meta_attributes id=\"{root}-m\"><nvpair id=\"{root}-is-root\" \
             name=\"evenkeel-root\" value=\"true\"/></meta_attributes>{}{record}{address}</group>\
             <group id=\"{data}\">{}</group>",
            disk(&root),
            disk(&data)
        );
        for pool in [&root, &data] {
            constraints += &location(&format!("home-{pool}"), pool, host, "100");
        }
        // Nobody fences itself.
        let device = format!("fence-{host}");
        constraints += &location(&format!("not-{device}"), &device, host, "-INFINITY");
    }
    format!(
        "<cib crm_feature_set=\"3.0.14\" validate-with=\"pacemaker-3.2\" admin_epoch=\"0\" epoch=\"1\" \
         num_updates=\"0\"><configuration><crm_config><cluster_property_set id=\"options\">{}</cluster_property_set>\
         </crm_config><nodes>{nodes}</nodes><resources>{resources}</resources><constraints>{constraints}</constraints>\
         <rsc_defaults><meta_attributes id=\"defaults\">{}</meta_attributes></rsc_defaults></configuration><status/></cib>",
        pairs(
            "options",
            &[
                ("stonith-enabled", "true"),
                ("stonith-action", "off"),
                ("dc-deadtime", "2s"),
                ("cluster-infrastructure", "corosync"),
            ]
        ),
        pairs("defaults", &[("resource-stickiness", "0")])
    )
}

fn pairs(set: &str, pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| {
        format!("<nvpair id=\"{set}-{name}\" name=\"{name}\" value=\"{value}\"/>")
    };
    pairs.iter().map(pair).collect()
}

fn primitive(id: &str, kind: &str, parameters: &[(&str, &str)]) -> String {
    format!(
        "<primitive id=\"{id}\" {kind}><instance_attributes id=\"{id}-p\">{}</instance_attributes><operations>\
         <op id=\"{id}-monitor\" name=\"monitor\" interval=\"10s\" timeout=\"20s\"/></operations></primitive>",
        pairs(&format!("{id}-p"), parameters)
    )
}

fn disk(pool: &str, device: Option<&String>) -> String {
    let id = format!("{pool}_disk");
    let Some(device) = device else {
        let state = format!("/run/{pool}.state");
        let kind = "class=\"ocf\" provider=\"heartbeat\" type=\"Dummy\"";
        return primitive(&id, kind, &[("state", &state)]);
    };
    primitive(
        &id,
        "class=\"ocf\" provider=\"heartbeat\" type=\"Filesystem\"",
        &[
            ("device", device),
            ("directory", &folder(pool)),
            ("fstype", "ext4"),
        ],
    )
}

/// The seat of the record, as `docs/operations.md` sets it up: directly after the pool's file system.
fn record() -> String {
    format!(
        "<primitive id=\"record\" class=\"ocf\" provider=\"evenkeel\" type=\"record\"><instance_attributes \
         id=\"record-p\">{}</instance_attributes><operations><op id=\"record-start\" name=\"start\" interval=\"0\" \
         timeout=\"20s\"/><op id=\"record-stop\" name=\"stop\" interval=\"0\" timeout=\"30s\" on-fail=\"fence\"/>\
         <op id=\"record-monitor\" name=\"monitor\" interval=\"10s\" timeout=\"10s\"/></operations></primitive>",
        pairs("record-p", &[("path", &record_path())])
    )
}

fn fence(cluster: &Path, host: &str) -> String {
    let switch = power::socket(cluster).display().to_string();
    primitive(
        &format!("fence-{host}"),
        "class=\"stonith\" type=\"fence_evenkeel\"",
        &[("switch", &switch), ("pcmk_host_list", host)],
    )
}

fn location(id: &str, resource: &str, node: &str, score: &str) -> String {
    format!("<rsc_location id=\"{id}\" rsc=\"{resource}\" node=\"{node}\" score=\"{score}\"/>")
}
