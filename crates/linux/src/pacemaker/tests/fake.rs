//! A pair whose cluster does at once what it is told, and which can be told wrong things.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use evenkeel_model::BootId;
use roxmltree::Document;
use uuid::Uuid;

use super::super::cib::Cib;
use super::super::xml;
use crate::{Call, Finished, Programs};
use evenkeel_platform::PlatformError;

/// Homes of all pools, unless a test says otherwise.
pub(super) const POOLS: [(&str, &str); 4] = [
    ("a_root", "ctl-a"),
    ("a_data1", "ctl-a"),
    ("a_data2", "ctl-a"),
    ("b_root", "ctl-b"),
];

/// Of the LIF of ctl-a.
const ADDRESS: &str = "192.0.2.9";
/// Of that of ctl-b.
const OWN_ADDRESS: &str = "192.0.2.8";

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) epoch: u64,
    pub(super) num_updates: u64,
    /// Permanent attributes by node.
    pub(super) attributes: BTreeMap<String, BTreeMap<String, String>>,
    /// The boot that a node has told; none of one that is down.
    pub(super) boots: BTreeMap<String, Option<BootId>>,
    pub(super) up: BTreeSet<String>,
    pub(super) fenced: Option<String>,
    /// Pools with their homes.
    pub(super) pools: Vec<(&'static str, &'static str)>,
    /// Resource and node, by constraint.
    pub(super) holds: BTreeMap<String, (String, String)>,
    /// A node that is in standby until it boots: nothing of the configuration says so.
    pub(super) passing_standby: Option<&'static str>,
    pub(super) maintenance: bool,
    /// Something else changes each time before a change is made.
    pub(super) outrun: bool,
    /// Changes that were to be made.
    pub(super) tries: u32,
    /// Changes that were made.
    pub(super) changes: usize,
    /// Runs until the process is killed, and whether the last one happens.
    pub(super) kill_after: Option<(usize, bool)>,
    /// What only the scheduler knows: a constraint that keeps a resource from a node.
    pub(super) hidden_ban: Option<(String, (String, String))>,
    /// Who answers when the address of ctl-a is asked.
    pub(super) answering: Answering,
    /// Pools whose disk does not start on ctl-b.
    pub(super) broken: Vec<&'static str>,
    /// Whether that is told as a failure, or nothing happens.
    pub(super) fails: bool,
    /// A node whose Pacemaker was ended in order, while its Corosync goes on.
    pub(super) pending: Option<&'static str>,
    /// A service without a home that is being started.
    pub(super) starting: Option<&'static str>,
    /// What happens by itself after the next look.
    pub(super) meanwhile: Option<fn(&mut State)>,
}

/// By what it shows that an address answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answering {
    Ping,
    /// A firewall drops pings.
    Neighbours,
    Nobody,
    /// Nor does any other address: whoever asks hears nothing.
    NobodyAtAll,
    /// The address is on the node that asks, too.
    Here,
}

#[derive(Clone)]
pub(super) struct Fake(Arc<Mutex<State>>);

pub(super) fn boot(number: u128) -> BootId {
    BootId(Uuid::from_u128(number))
}

impl Fake {
    pub(super) fn new() -> Self {
        let nodes = ["ctl-a", "ctl-b"].map(str::to_owned);
        let lives = [("ctl-a", boot(0xa1)), ("ctl-b", boot(0xb1))].map(|(node, boot)| {
            let life = (
                "evenkeel-life".to_owned(),
                format!("boot={boot} fenced=never"),
            );
            (node.to_owned(), BTreeMap::from([life]))
        });
        Self(Arc::new(Mutex::new(State {
            epoch: 5,
            num_updates: 0,
            attributes: lives.into(),
            boots: [
                ("ctl-a".to_owned(), Some(boot(0xa1))),
                ("ctl-b".to_owned(), Some(boot(0xb1))),
            ]
            .into(),
            up: nodes.into(),
            fenced: None,
            pools: POOLS.to_vec(),
            holds: BTreeMap::new(),
            passing_standby: None,
            maintenance: false,
            outrun: false,
            tries: 0,
            changes: 0,
            kill_after: None,
            hidden_ban: None,
            answering: Answering::Ping,
            broken: Vec::new(),
            fails: true,
            pending: None,
            starting: None,
            meanwhile: None,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has(&self, node: &str, name: &str) -> Option<&str> {
        self.attributes.get(node)?.get(name).map(String::as_str)
    }

    pub(super) fn standby(&self, node: &str) -> bool {
        self.has(node, "standby") == Some("on") || self.passing_standby == Some(node)
    }

    /// Where a pool runs: at home if it may, else at the other one if it may.
    pub(super) fn runs(&self, pool: &str, home: &str) -> Option<&'static str> {
        let held = |node: &str| self.holds.values().any(|(r, n)| r == pool && n == node);
        let breaks = |node: &str| node == "ctl-b" && self.broken.contains(&pool);
        let may = |node: &&str| {
            let is_member = self.up.contains(*node) && self.pending != Some(*node);
            is_member && !self.standby(node) && !held(node) && !breaks(node)
        };
        let other = if home == "ctl-a" { "ctl-b" } else { "ctl-a" };
        let home = if home == "ctl-a" { "ctl-a" } else { "ctl-b" };
        [home, other].into_iter().find(may)
    }

    /// A node dies and is proven dead.
    pub(super) fn fence(&mut self, node: &str) {
        self.up.remove(node);
        self.boots.insert(node.to_owned(), None);
        self.fenced = Some(node.to_owned());
        self.num_updates += 1;
    }

    /// A node comes up anew and tells its boot.
    pub(super) fn boot(&mut self, node: &str, boot: BootId) {
        self.up.insert(node.to_owned());
        self.boots.insert(node.to_owned(), Some(boot));
        let fenced = match &self.fenced {
            Some(fenced) if fenced == node => "2026-01-01T00:00:00Z",
            Some(_) | None => "never",
        };
        let life = format!("boot={boot} fenced={fenced}");
        let attributes = self.attributes.entry(node.to_owned()).or_default();
        attributes.insert("evenkeel-life".to_owned(), life);
        self.num_updates += 1;
    }

    fn cib(&self) -> String {
        let mut nodes = String::new();
        let mut status = String::new();
        for (id, node) in [("1", "ctl-a"), ("2", "ctl-b")] {
            let pairs = self.attributes.get(node).into_iter().flatten();
            let pairs: String = pairs
                .map(|(name, value)| {
                    format!("<nvpair id=\"nodes-{id}-{name}\" name=\"{name}\" value=\"{value}\"/>")
                })
                .collect();
            let _ok = write!(
                nodes,
                "<node id=\"{id}\" uname=\"{node}\"><instance_attributes id=\"nodes-{id}\">{pairs}</instance_attributes></node>"
            );
            if let Some(boot) = self.boots[node] {
                let _ok = write!(
                    status,
                    "<node_state uname=\"{node}\"><transient_attributes id=\"{id}\"><instance_attributes id=\"status-{id}\"><nvpair id=\"s-{id}\" name=\"evenkeel-boot\" value=\"{boot}\"/></instance_attributes></transient_attributes></node_state>"
                );
            }
        }
        let fences = ["ctl-a", "ctl-b"].map(|node| format!("<primitive id=\"fence-{node}\" class=\"stonith\" type=\"fence_x\"><instance_attributes id=\"f-{node}\"><nvpair id=\"fl-{node}\" name=\"pcmk_host_list\" value=\"{node}\"/></instance_attributes></primitive>"));
        let (mut resources, mut constraints) = (fences.concat(), String::new());
        for (pool, home) in &self.pools {
            let root = pool.ends_with("root");
            let _ok = write!(
                resources,
                "<group id=\"{pool}\"><meta_attributes id=\"m-{pool}\"><nvpair id=\"r-{pool}\" name=\"evenkeel-root\" value=\"{root}\"/></meta_attributes><primitive id=\"{pool}_disk\" class=\"ocf\" type=\"Dummy\"/></group>"
            );
            let _ok = write!(
                constraints,
                "<rsc_location id=\"home-{pool}\" rsc=\"{pool}\" node=\"{home}\" score=\"100\"/>"
            );
        }
        let _ok = write!(
            resources,
            "<primitive id=\"lif_a\" class=\"ocf\" type=\"IPaddr2\"><instance_attributes id=\"i-lif_a\"><nvpair id=\"ip-lif_a\" name=\"ip\" value=\"{ADDRESS}\"/></instance_attributes></primitive>"
        );
        let _ok = write!(
            constraints,
            "<rsc_location id=\"home-lif\" rsc=\"lif_a\" node=\"ctl-a\" score=\"100\"/>"
        );
        let _ok = write!(
            resources,
            "<primitive id=\"lif_b\" class=\"ocf\" type=\"IPaddr2\"><instance_attributes id=\"i-lif_b\"><nvpair id=\"ip-lif_b\" name=\"ip\" value=\"{OWN_ADDRESS}\"/></instance_attributes></primitive>"
        );
        let _ok = write!(
            constraints,
            "<rsc_location id=\"home-lif_b\" rsc=\"lif_b\" node=\"ctl-b\" score=\"100\"/>"
        );
        for (id, (resource, node)) in &self.holds {
            let _ok = write!(
                constraints,
                "<rsc_location id=\"{id}\" rsc=\"{resource}\" node=\"{node}\" score=\"-INFINITY\"/>"
            );
        }
        format!(
            "<cib crm_feature_set=\"3.16.1\" epoch=\"{}\" num_updates=\"{}\" admin_epoch=\"0\"><configuration><crm_config/><nodes>{nodes}</nodes><resources>{resources}</resources><constraints>{constraints}</constraints></configuration><status>{status}</status></cib>",
            self.epoch, self.num_updates
        )
    }

    fn monitor(&self) -> String {
        let mut resources = String::new();
        let mut running: BTreeMap<&str, usize> = BTreeMap::new();
        let services = self.pools.iter();
        let services = services.map(|(pool, home)| (format!("{pool}_disk"), self.runs(pool, home)));
        let lifs = [("lif_a", "ctl-a"), ("lif_b", "ctl-b")]
            .map(|(lif, home)| (lif.to_owned(), self.runs(lif, home)));
        let starting = self.starting.map(|id| (id.to_owned(), None));
        let fences = ["ctl-a", "ctl-b"].map(|node| {
            let by = if node == "ctl-a" { "ctl-b" } else { "ctl-a" };
            (
                format!("fence-{node}"),
                Some(by).filter(|by| self.up.contains(*by)),
            )
        });
        for (id, node) in services.chain(lifs).chain(fences).chain(starting) {
            let role = match node {
                Some(_) => "Started",
                None if self.starting == Some(id.as_str()) => "Starting",
                None => "Stopped",
            };
            let on = node
                .map(|node| format!("<node name=\"{node}\"/>"))
                .unwrap_or_default();
            if let Some(node) = node.filter(|_| !id.starts_with("fence")) {
                *running.entry(node).or_default() += 1;
            }
            let _ok = write!(
                resources,
                "<resource id=\"{id}\" role=\"{role}\" active=\"{}\" blocked=\"false\" managed=\"true\" failed=\"false\">{on}</resource>",
                node.is_some()
            );
        }
        let nodes = ["ctl-a", "ctl-b"].map(|node| {
            format!(
                "<node name=\"{node}\" online=\"{}\" standby=\"{}\" maintenance=\"false\" pending=\"{}\" unclean=\"false\" resources_running=\"{}\"/>",
                self.up.contains(node),
                self.standby(node),
                self.pending == Some(node),
                running.get(node).copied().unwrap_or(0)
            )
        });
        // Found out only where it was to run there.
        let away = self.broken.iter();
        let away = away.filter(|_| self.fails && self.standby("ctl-a"));
        let failures: Vec<String> = away
            .map(|pool| format!("<failure op_key=\"{pool}_disk_start_0\" node=\"ctl-b\" exitstatus=\"not installed\" exitreason=\"no &amp;apos;disk&amp;apos;\"/>"))
            .collect();
        let fences = self.fenced.as_ref().map(|node| format!("<fence_history><fence_event action=\"off\" target=\"{node}\" status=\"success\" completed=\"2026-01-01 00:00:00Z\"/></fence_history>"));
        format!(
            "<pacemaker-result><summary><current_dc present=\"true\" with_quorum=\"true\"/><cluster_options stonith-enabled=\"true\" maintenance-mode=\"{}\" stop-all-resources=\"false\"/></summary><nodes>{}</nodes><resources>{resources}</resources><failures>{}</failures>{}</pacemaker-result>",
            self.maintenance,
            nodes.concat(),
            failures.concat(),
            fences.unwrap_or_default()
        )
    }

    /// `ip`: as iproute2 prints what was asked for, and an empty object for each link that was not.
    fn shown(&self, args: &[String]) -> String {
        assert_eq!(args[2..4], ["show", "to"]);
        let (address, neighbour) = match self.answering {
            _ if args[4] != ADDRESS => ("[{},{}]", "[{},{}]"),
            Answering::Here => (
                r#"[{},{"ifname":"eth0","addr_info":[{"local":"192.0.2.9"}]}]"#,
                "[]",
            ),
            Answering::Neighbours => (
                "[{},{}]",
                r#"[{"dst":"192.0.2.9","dev":"eth0","lladdr":"02:00:00:00:00:02","state":["REACHABLE"]}]"#,
            ),
            Answering::Ping | Answering::Nobody | Answering::NobodyAtAll => (
                "[{},{}]",
                r#"[{"dst":"192.0.2.9","dev":"eth0","state":["FAILED"]}]"#,
            ),
        };
        let shown = match args[1].as_str() {
            "address" => address,
            "neighbour" => neighbour,
            other => panic!("{other}"),
        };
        shown.to_owned()
    }

    /// `crm_simulate`: what would be if the configuration were that.
    fn foreseen(&self, cib: &[u8]) -> String {
        let cib = xml::parse("the test", cib, Cib::read).unwrap();
        let mut later = self.clone();
        if !self.standby("ctl-a") {
            // What will fail is not foreseen.
            later.broken.clear();
        }
        for (name, node) in &cib.nodes {
            let attributes = node.attributes.iter();
            let attributes = attributes.map(|(name, one)| (name.clone(), one.value.clone()));
            later.attributes.insert(name.clone(), attributes.collect());
        }
        let holds = cib.locations.iter().filter(|one| one.score < 0);
        let holds = holds.map(|one| (one.id.clone(), (one.resource.clone(), one.node.clone())));
        later.holds = holds.collect();
        later.holds.extend(self.hidden_ban.clone());
        let text = later.monitor();
        let from = text.find("<nodes>").unwrap();
        let to = text.find("</resources>").unwrap();
        format!(
            "<pacemaker-result><revised_cluster_status>{}</resources></revised_cluster_status></pacemaker-result>",
            &text[from..to]
        )
    }

    /// `cibadmin --patch`: the exit code.
    fn patch(&mut self, input: &[u8]) -> i32 {
        let text = std::str::from_utf8(input).unwrap();
        let document = Document::parse(text).unwrap();
        self.tries += 1;
        assert!(self.tries < 1_000, "it is written without a pause");
        if self.outrun {
            return 103;
        }
        let source = document
            .descendants()
            .find(|n| n.has_tag_name("source"))
            .unwrap();
        let is = |name: &str, value: u64| source.attribute(name) == Some(&value.to_string());
        if !is("epoch", self.epoch) || !is("num_updates", self.num_updates) {
            return 103;
        }
        for change in document
            .root_element()
            .children()
            .filter(|n| n.has_tag_name("change"))
        {
            let path = change.attribute("path").unwrap();
            let last = path.rsplit("[@id='").next().unwrap().trim_end_matches("']");
            let node = if path.contains("node[@id='1']") {
                "ctl-a"
            } else {
                "ctl-b"
            };
            match change.attribute("operation").unwrap() {
                "modify" if path == "/cib" => {
                    let root = change
                        .descendants()
                        .find(|n| n.has_tag_name("cib"))
                        .unwrap();
                    assert!(
                        root.has_attribute("crm_feature_set"),
                        "the root lost an attribute"
                    );
                }
                "delete" if path.contains("rsc_location") => {
                    self.holds.remove(last).expect("it must be there");
                }
                "delete" => {
                    let name = last
                        .strip_prefix("nodes-")
                        .unwrap()
                        .split_once('-')
                        .unwrap()
                        .1;
                    let attributes = self.attributes.get_mut(node).unwrap();
                    attributes.remove(name).expect("it must be there");
                }
                "create" | "modify" => self.set(node, change),
                other => panic!("{other}"),
            }
        }
        (self.epoch, self.num_updates) = (self.epoch + 1, 0);
        self.changes += 1;
        0
    }

    fn set(&mut self, node: &str, change: roxmltree::Node<'_, '_>) {
        for element in change.descendants() {
            let get = |name: &str| element.attribute(name).unwrap().to_owned();
            if element.has_tag_name("nvpair") {
                let attributes = self.attributes.entry(node.to_owned()).or_default();
                attributes.insert(get("name"), get("value"));
            }
            if element.has_tag_name("rsc_location") {
                self.holds.insert(get("id"), (get("rsc"), get("node")));
            }
        }
    }
}

#[async_trait]
impl Programs for Fake {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        let mut state = self.state();
        let killed = || PlatformError::Unavailable("killed".to_owned());
        let mut last = false;
        if let Some((left, is_run)) = &mut state.kill_after {
            *left -= 1;
            last = *left == 0;
            if last && !*is_run {
                return Err(killed());
            }
        }
        let answer = |code, output: String| Finished {
            code: Some(code),
            output: output.into_bytes(),
            errors: String::new(),
        };
        let finished = match (call.program, call.args[0].as_str()) {
            ("cibadmin", "--query") => answer(0, state.cib()),
            ("cibadmin", "--patch") => answer(state.patch(&call.input), String::new()),
            ("crm_mon", _) => {
                let output = state.monitor();
                if let Some(meanwhile) = state.meanwhile.take() {
                    meanwhile(&mut state);
                }
                answer(0, output)
            }
            ("crm_simulate", _) => answer(0, state.foreseen(&call.input)),
            ("attrd_updater", _) => {
                let boot = call.args[3].parse().unwrap();
                state.boots.insert("ctl-a".to_owned(), Some(boot));
                answer(0, String::new())
            }
            ("ip", _) => answer(0, state.shown(&call.args)),
            ("ping", _) => {
                let is_own = call.args.last().is_some_and(|it| it == OWN_ADDRESS);
                let answers = match state.answering {
                    Answering::Ping => true,
                    Answering::NobodyAtAll => false,
                    Answering::Neighbours | Answering::Nobody | Answering::Here => is_own,
                };
                answer(i32::from(!answers), String::new())
            }
            other => panic!("{other:?}"),
        };
        if last {
            return Err(killed());
        }
        Ok(finished)
    }
}
