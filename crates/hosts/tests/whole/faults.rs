//! What goes wrong outside.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use evenkeel_hosts::tell;
use serde_json::Value;

use crate::etcd::{Credentials, Etcd};
use crate::silence::Watch;
use crate::site::{A, B, NEW, Record, Site, until};

/// How long Pacemaker and the daemons may take to bring about what they are waited for.
const PATIENCE: Duration = Duration::from_secs(120);

impl Site {
    /// Whether Pacemaker keeps a host in standby, as its partner's side of the configuration says.
    fn is_standby(&self, index: usize) -> bool {
        let words = ["--query", "--scope", "nodes"];
        let nodes = self.host(index ^ 1).output("cibadmin", words);
        let nodes = nodes.unwrap_or_default();
        let Ok(document) = roxmltree::Document::parse(&nodes) else {
            return false;
        };
        let name = self.host(index).name();
        let node = document
            .descendants()
            .find(|it| it.attribute("uname") == Some(name));
        node.is_some_and(|node| {
            node.descendants().any(|it| {
                it.attribute("name") == Some("standby") && it.attribute("value") == Some("on")
            })
        })
    }

    /// All that an operator can learn of the update that is open.
    pub(crate) fn explained(&self) -> String {
        let shown = ["image", "show-update-progress"];
        let progress = self.ask(&shown, PATIENCE).unwrap();
        let why = self.ask(&["explain"], PATIENCE).unwrap();
        format!("{}{}{}", progress.output, why.output, why.errors)
    }

    /// Waits until a host of the first pair has the addresses of both, and Pacemaker has all services on it.
    fn serves_both(&self, index: usize) {
        let host = self.host(index);
        until("one host to serve both addresses", PATIENCE, || {
            let words = ["-j", "address", "show", "dev", "eth0"];
            let shown = host.output("ip", words).ok()?;
            let both = [A, B].map(|index| shown.contains(&self.cluster.address(index)));
            let pools = host.output("ls", ["/run/pools/a_data", "/run/pools/b_data"]);
            let mounted = pools.is_ok_and(|shown| shown.matches("lost+found").count() == 2);
            (both == [true, true] && mounted).then_some(())
        })
        .unwrap();
    }

    /// Everything is served by whoever it belongs to, and the coordinator has seen that.
    fn is_home(&self) {
        self.cluster.wait_served().unwrap();
        for (index, host) in self.cluster.hosts().iter().enumerate() {
            let address = self.cluster.address(index);
            until(&format!("{address} on {}", host.name()), PATIENCE, || {
                let words = ["-j", "address", "show", "dev", "eth0"];
                let shown = host.output("ip", words).ok()?;
                shown.contains(&address).then_some(())
            })
            .unwrap();
        }
        until("the coordinator to see all at home", PATIENCE, || {
            let said = self.ask(&["explain"], PATIENCE).ok()?;
            let away = [
                "serves for node",
                "does not serve everything",
                "undoes the takeover",
            ];
            let is_away = away.iter().any(|words| said.output.contains(words));
            (said.code == Some(0) && !is_away).then_some(())
        })
        .unwrap();
    }
}

/// A pool does not start on the partner, and it is that of the record: the node that is taken over takes that back. At the next try
/// the node that takes over loses power while the other one, in standby already, is on its way down. The other one serves for both
/// then, whatever it is told by nobody; with the power back and a word from the operator the update ends.
#[test]
#[ignore = "needs root and Pacemaker"]
fn a_pool_that_does_not_start_and_a_partner_that_dies_pause_the_update_and_resuming_ends_it() {
    let site = Site::start(2, &Record::Pool).unwrap();
    site.begin_update();
    site.lose_sight_of_the_record();
    site.resume();
    until("the takeover of a node", PATIENCE, || {
        [A, B].into_iter().find(|index| site.is_standby(*index))
    })
    .map(|taken| site.lose_partner_of(taken))
    .unwrap();
    site.is_home();
    site.resume();
    site.wait_completed();
    site.is_updated();
}

/// A standby that an administrator made is not ours: it is reported, and nothing touches it.
#[test]
#[ignore = "needs root and Pacemaker"]
fn a_standby_by_hand_a_fenced_node_and_a_slow_link_are_told_and_left_to_the_operator() {
    let site = Site::start(2, &Record::Pool).unwrap();
    let standby = |words: &[&str]| site.host(A).output("crm_standby", words).unwrap();
    standby(&["-N", "ctl-b", "-v", "on"]);
    site.serves_both(A);
    assert!(site.is_standby(B));
    // While Pacemaker still moves things there are more findings.
    let told = until("the standby to be told", PATIENCE, || {
        let findings = site.findings();
        findings
            .contains("crm_standby -N ctl-b -D")
            .then_some(findings)
    });
    let told = told.unwrap_or_else(|error| panic!("{error}: {}", site.findings()));
    println!("{told}");
    assert!(told.contains("not by Evenkeel"), "{told}");
    let refused = site.ask(&["image", "update", NEW, "--skip-warnings"], PATIENCE);
    let refused = refused.unwrap();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(site.is_standby(B), "somebody ended what was not ours");
    standby(&["-N", "ctl-b", "-D"]);
    site.is_home();

    // A node without power is fenced, and comes back when it is switched on.
    site.host(B).kill().unwrap();
    until("the fencing", PATIENCE, || {
        let history = site
            .host(A)
            .output("stonith_admin", ["--history", "ctl-b", "--output-as=xml"])
            .ok()?;
        history.contains("status=\"success\"").then_some(())
    })
    .unwrap();
    let findings = site.findings();
    println!("{findings}");
    assert!(findings.contains("ctl-b"), "{findings}");
    site.host(B).start().unwrap();
    site.is_home();

    site.fetch_over_a_slow_link();
    site.must(&[
        "image",
        "update",
        NEW,
        "--skip-warnings",
        "--stabilize-minutes",
        "1",
    ])
    .unwrap();
    site.wait_completed();
    site.is_updated();
}

impl Site {
    /// Cuts the power of a node's partner, and gives it back when the update has paused and the node serves for both.
    /// Once the first host is updated, it does not see the disk with the record, which is to come to it next.
    fn lose_sight_of_the_record(&self) {
        let blind = self.host(B);
        until("the first host's new image", PATIENCE, || {
            let current = fs::read_link(blind.dir().join("slots/current")).ok()?;
            let is_new = current.to_str() == Some("b") && blind.is_running().ok()?;
            is_new.then_some(())
        })
        .unwrap();
        let pool = ["-n", "-o", "SOURCE", "/run/pools/a_root"];
        let device = self.host(A).output("findmnt", pool).unwrap();
        let device = device.trim();
        let hide = ["--bind", "/dev/null", device];
        blind.output("mount", hide).unwrap();
        let boot = self.host(A).boot_id().unwrap();
        let address = self.cluster.address(A);
        let probe = self.cluster.probe(&address, Duration::from_millis(20));
        let probe = probe.unwrap();
        let paused = self.wait_state("paused_on_error").to_string();
        println!("{}", self.explained());
        let why = "the HA engine has undone the takeover of ctl-a: pool a_root is not served by ctl-b: the action \
                   a_root_disk_start_0 failed on ctl-b";
        assert!(paused.contains(why), "{paused}");
        self.is_home();
        assert_eq!(self.host(A).boot_id().unwrap(), boot);
        tell(&format!(
            "a pool that does not start on the partner comes back: silent for {:?}",
            probe.longest_gap().unwrap().length
        ));
        blind.output("umount", [device]).unwrap();
        blind.output("crm_resource", ["--cleanup"]).unwrap();
    }

    fn lose_partner_of(&self, taken: usize) {
        let (survivor, lost) = (self.host(taken), self.host(taken ^ 1));
        println!(
            "{} is being taken over; {} dies",
            survivor.name(),
            lost.name()
        );
        lost.kill().unwrap();
        self.serves_both(taken);
        println!("{} serves both addresses", survivor.name());
        let paused = self.wait_state("paused_on_error").to_string();
        println!("{}", self.explained());
        assert!(paused.contains(lost.name()), "{paused}");
        lost.start().unwrap();
    }

    /// Deletes the new package and has the cluster fetch it from a server that dribbles, and breaks off once.
    fn fetch_over_a_slow_link(&self) {
        self.must(&["image", "package", "delete", NEW]).unwrap();
        let package = self.package(NEW);
        let size = fs::metadata(&package).unwrap().len();
        let script = self.desk().join("dribble.py");
        fs::write(&script, include_str!("dribble.py")).unwrap();
        let mut server = self.cluster.client("python3");
        server.arg(&script).arg(&package);
        server
            .arg((size / 8).max(5).to_string())
            .arg((size / 2).to_string());
        let said = self.desk().join("dribbled");
        server.stdin(Stdio::null());
        server.stdout(fs::File::create(&said).unwrap());
        let _server = Killed(server.spawn().unwrap());
        let told = |what: &str| fs::read_to_string(&said).is_ok_and(|text| text.contains(what));
        until("the server", PATIENCE, || told("ready").then_some(())).unwrap();
        let words = [
            "image",
            "package",
            "get",
            "http://10.99.0.254:8080/package.tgz",
        ];
        println!("{}", self.must(&words).unwrap());
        println!("{}", fs::read_to_string(&said).unwrap());
        assert!(told("broke at") && told("goes on from"), "it did not go on");
    }

    /// The operator's word that a paused update goes on.
    pub(crate) fn resume(&self) {
        self.must(&["image", "resume-update"]).unwrap();
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// What cuts a daemon off: nobody reaches it, and it reaches neither etcd nor its peers. What it drops is told by nobody, as on a
/// cable that is cut. Corosync has its own ports and goes on, or else the host would be fenced.
const CUT: &str = "table inet cut {
    chain in { type filter hook input priority 0; tcp dport { 443, 4430 } drop; tcp sport { 2379, 4430 } drop; }
    chain out { type filter hook output priority 0; tcp dport { 2379, 4430 } drop; tcp sport { 443, 4430 } drop; }
}";

/// Two pairs on one etcd: its leader dies, and the daemon that coordinates is cut off for a while.
#[test]
#[ignore = "needs root, Pacemaker and etcd"]
fn two_pairs_are_updated_while_etcds_leader_dies_and_the_coordinator_is_cut_off() {
    let credentials = Credentials::make().unwrap();
    let site = Site::install(4, &Record::Etcd(credentials.settings())).unwrap();
    let mut members = Etcd::start(&site.cluster, credentials).unwrap();
    site.make_cluster(4)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", members.logs()));
    let watch = Watch::begin(&site.cluster).unwrap();
    site.begin_update();
    until("the first takeover", PATIENCE, || {
        (0..4).find(|index| site.is_standby(*index))
    })
    .unwrap();
    println!("etcd's leader, m{}, dies", members.kill_leader().unwrap());
    // For a moment nobody does: the lease is etcd's too.
    let coordinator = until("a coordinator", PATIENCE, || site.coordinator()).unwrap();
    let host = site.host(coordinator);
    println!("{}, whose daemon coordinates, is cut off", host.name());
    host.output("nft", [CUT]).unwrap();
    until("another coordinator", PATIENCE, || {
        site.coordinator().filter(|index| *index != coordinator)
    })
    .unwrap();
    host.output("nft", ["delete", "table", "inet", "cut"])
        .unwrap();
    let mut state = site.wait_over();
    println!("{}", state["state"]);
    if state["state"] == "paused_on_error" {
        println!("{}", site.explained());
        site.is_home();
        site.resume();
        state = site.wait_over();
    }
    assert_eq!(state["state"], Value::from("completed"), "{state:#}");
    site.is_updated();
    tell(&format!("longest silence of four: {:?}", watch.tell()));
}

impl Site {
    /// The host whose daemon coordinates the update that is open, as `explain` says it.
    fn coordinator(&self) -> Option<usize> {
        let said = self.ask(&["explain", "--json"], PATIENCE).ok()?;
        let said: Value = serde_json::from_str(&said.output).ok()?;
        let name = said["operations"][0]["coordinator"].as_str()?;
        let hosts = self.cluster.hosts();
        hosts.iter().position(|host| host.name() == name)
    }
}
