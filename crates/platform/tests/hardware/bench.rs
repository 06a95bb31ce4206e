//! A four-node hardware, and hands to move it.

use evenkeel_model::{
    BootId, ClusterId, Digest, LifConfig, LifName, MemberHa, NodeConfig, NodeId, NodeName,
    PairState, PlatformName, PoolName, Slot, SlotImage, SlotsState, Topology, TransitionId,
    Version,
};
use evenkeel_platform::sim::{Effect, Fault, Hardware, HardwareSettings, PowerState};
use evenkeel_platform::wire::{Command, Reply};
use evenkeel_platform::{GivebackRequest, PlatformError, TakeoverRequest};
use evenkeel_seam::{Ids, SeededIds};

pub fn name(node: &str) -> NodeName {
    NodeName::new(node).unwrap()
}

pub fn image(version: &str) -> SlotImage {
    let mut digest = [0; 32];
    digest[..version.len()].copy_from_slice(version.as_bytes());
    SlotImage {
        digest: Digest(digest),
        version: Version::new(version).unwrap(),
    }
}

pub fn transition(n: u64) -> TransitionId {
    TransitionId(SeededIds::new(n).uuid())
}

/// Two pairs: `a` and `b`, `c` and `d`, a LIF `lif_X` each.
pub fn topology() -> Topology {
    let ids = SeededIds::new(7);
    let node = |node: &str, partner: &str, port: u16| NodeConfig {
        id: NodeId(ids.uuid()),
        name: name(node),
        partner: Some(name(partner)),
        interconnect: format!("127.0.0.1:{port}"),
        rest: format!("127.0.0.1:{}", port + 1),
        variant: None,
        features: Vec::new(),
        site: None,
        platform: PlatformName::new("lab-x86_64").unwrap(),
        lifs: vec![LifConfig {
            name: LifName::new(format!("lif_{node}")).unwrap(),
            address: format!("127.0.0.1:{}", port + 2),
        }],
    };
    let nodes = vec![
        node("a", "b", 1000),
        node("b", "a", 2000),
        node("c", "d", 3000),
        node("d", "c", 4000),
    ];
    Topology::new(ClusterId(ids.uuid()), "lab".to_owned(), nodes).unwrap()
}

/// Hardware under test, with its time.
pub struct Bench {
    pub hardware: Hardware,
    pub now: u64,
    pub effects: Vec<Effect>,
}

impl Bench {
    /// All nodes up on version 1.
    pub fn new() -> Self {
        let settings = HardwareSettings {
            minute_ms: 1_000,
            seed: 9,
            ..HardwareSettings::default()
        };
        let mut hardware = Hardware::new(&topology(), settings);
        for node in ["a", "b", "c", "d"] {
            let slot = hardware.set_image(&name(node), Slot::A, Some(image("1")));
            slot.unwrap();
        }
        hardware.cold_start(0);
        let effects = hardware.advance(0);
        let now = 0;
        Self {
            hardware,
            now,
            effects,
        }
    }

    pub fn call(&mut self, node: &str, command: Command) -> Result<Reply, PlatformError> {
        self.hardware.handle(&name(node), &command, self.now)
    }

    pub fn pass(&mut self, ms: u64) {
        self.now += ms;
        let effects = self.hardware.advance(self.now);
        self.effects.extend(effects);
    }

    pub fn fault(&mut self, node: &str, fault: Fault, on: bool) {
        let set = self.hardware.set_fault(&name(node), fault, on, self.now);
        set.unwrap();
    }

    pub fn boot(&self, node: &str) -> BootId {
        self.hardware.boot_of(&name(node)).unwrap()
    }

    pub fn pair(&self, node: &str) -> PairState {
        self.hardware.pair_state(&name(node)).unwrap()
    }

    pub fn ha(&self, node: &str) -> MemberHa {
        self.pair(node).local.ha
    }

    pub fn power(&self, node: &str) -> PowerState {
        self.hardware.power(&name(node)).unwrap().clone()
    }

    pub fn slots(&mut self, node: &str) -> SlotsState {
        match self.call(node, Command::Slots).unwrap() {
            Reply::Slots(slots) => slots,
            other => panic!("{other:?}"),
        }
    }

    pub fn takeover_request(&self, by: &str, taken: &str, id: u64) -> TakeoverRequest {
        TakeoverRequest {
            id: transition(id),
            partner_boot: self.boot(taken),
            local_boot: self.boot(by),
        }
    }

    pub fn take_over(&mut self, by: &str, taken: &str, id: u64) -> Result<Reply, PlatformError> {
        let request = self.takeover_request(by, taken, id);
        self.call(by, Command::TakeOver(request))
    }

    pub fn give_back(&mut self, by: &str, pool: &str, id: u64) -> Result<Reply, PlatformError> {
        let request = GivebackRequest {
            id: transition(id),
            pool: Some(PoolName::new(pool).unwrap()),
        };
        self.call(by, Command::GiveBack(request))
    }

    /// Ends a takeover that holds no pool.
    pub fn give_nothing_back(&mut self, by: &str, id: u64) -> Result<Reply, PlatformError> {
        let request = GivebackRequest {
            id: transition(id),
            pool: None,
        };
        self.call(by, Command::GiveBack(request))
    }

    /// All that a node has is its partner's from the beginning.
    pub fn without_pools(&mut self, node: &str) {
        let mut hardware = serde_json::to_value(&self.hardware).unwrap();
        let pools = hardware["pools"].as_array_mut().unwrap();
        pools.retain(|pool| pool["home"] != node);
        self.hardware = serde_json::from_value(hardware).unwrap();
    }

    pub fn send_home(&mut self, by: &str, lif: &str) -> Result<Reply, PlatformError> {
        let lif = LifName::new(lif).unwrap();
        self.call(by, Command::SendHome { lif })
    }

    /// Installs version 2 in slot `b` of a node and makes it the default.
    pub fn install(&mut self, node: &str, tries: u8) {
        let slot = Slot::B;
        self.call(node, Command::MarkUnbootable { slot }).unwrap();
        let set = self.hardware.set_image(&name(node), slot, Some(image("2")));
        set.unwrap();
        self.call(node, Command::SetDefault { slot, tries })
            .unwrap();
    }

    pub fn hosting(&self, node: &str) -> Vec<String> {
        let lifs = self.hardware.hosting(&name(node));
        lifs.iter().map(|lif| lif.to_string()).collect()
    }

    pub fn healthy(&self) {
        assert_eq!(self.hardware.check(), Vec::<String>::new());
    }
}
