//! What a node sees of the things that only a takeover needs: witness, fencing, service processors,
//! boot settings, shelves, ports.

use evenkeel_model::{
    BootSettings, ClientRisk, ClientRiskKind, DiskSerial, FenceDevice, FencingState, NodeName,
    PartnerSp, PortState, ShelfModule, ShelfState, WitnessState,
};

use super::devices::{MODULES, shelf_of};
use super::fault::Fault;
use super::hardware::{Hardware, Node, short};

const DAY_S: u64 = 24 * 60 * 60;

/// The simulated cluster's data ports: the second carries the pair's LIFs too.
const PORTS: [(&str, &str); 2] = [("e0c", "data"), ("e0d", "data")];

impl Hardware {
    /// Clusters with pairs have a third party.
    pub(super) fn witness(&self, name: &NodeName) -> Option<WitnessState> {
        let node = self.at(name);
        node.partner.as_ref().map(|_| WitnessState {
            name: "witness".to_owned(),
            votes: !node.has(Fault::WitnessLost),
        })
    }

    /// The partner's power is cut at a switched outlet, whatever its service processor does.
    pub(super) fn fencing(&self, name: &NodeName) -> Option<FencingState> {
        let node = self.at(name);
        node.partner.as_ref()?;
        let days = match node.has(Fault::FencingUntested) {
            true => 90,
            false => 1,
        };
        (!node.has(Fault::NoFencing)).then_some(FencingState {
            enabled: true,
            device: FenceDevice::Other {
                name: "outlet".to_owned(),
                answers: true,
            },
            tested_s_ago: Some(days * DAY_S),
        })
    }

    pub(super) fn partner_sp(&self, name: &NodeName) -> Option<PartnerSp> {
        let partner = self.at(name).partner.as_ref()?;
        let at = self.at(partner);
        Some(PartnerSp {
            reachable: !at.has(Fault::SpDead)
                && !at.has(Fault::SpCut)
                && self.processor_answers(partner),
            absent: false,
        })
    }

    /// Each node has a shelf, with a module for each of two paths; its partner sees it too.
    pub(super) fn shelves(&self, name: &NodeName) -> Vec<ShelfState> {
        let partner = self.at(name).partner.as_ref();
        let homes = std::iter::once(name).chain(partner);
        homes.map(|home| self.shelf(name, home)).collect()
    }

    fn shelf(&self, name: &NodeName, home: &NodeName) -> ShelfState {
        let module = |module: &&str| ShelfModule {
            name: (*module).to_owned(),
            ok: self.module_answers(name, home, module),
        };
        let still = home == name && self.at(name).has(Fault::ShelfSensor);
        ShelfState {
            name: shelf_of(home),
            modules: MODULES.iter().map(module).collect(),
            sensors: Vec::from_iter(still.then(|| "fan 2 stands still".to_owned())),
        }
    }
}

pub(super) fn boot_settings(node: &Node) -> BootSettings {
    BootSettings {
        autoboot: !node.has(Fault::NoAutoboot),
        stops_in_menu: node.has(Fault::BootMenu),
    }
}

pub(super) fn unowned(name: &NodeName, node: &Node) -> Vec<DiskSerial> {
    let serial = || DiskSerial::new(format!("{}-D9", short(name)));
    let found = node.has(Fault::UnownedDisk).then(serial);
    Vec::from_iter(found.map(|serial| serial.expect("a shortened node name and a number fit")))
}

pub(super) fn ports(node: &Node) -> Vec<PortState> {
    let up = !node.has(Fault::LoseDomain);
    let port = |(name, domain): (&str, &str)| PortState {
        name: name.to_owned(),
        broadcast_domain: domain.to_owned(),
        up,
    };
    PORTS.map(port).into()
}

pub(super) fn client_risks(node: &Node) -> Vec<ClientRisk> {
    let risks = [
        (
            Fault::OldSmb,
            ClientRiskKind::OldSmb,
            "SMB 1.0 session from 10.0.0.8",
        ),
        (
            Fault::SinglePath,
            ClientRiskKind::SinglePath,
            "host iqn.2001-04.com.example:h1 logs in at one node only",
        ),
    ];
    let present = risks.into_iter().filter(|(fault, ..)| node.has(*fault));
    let risk = |(_, kind, what): (Fault, ClientRiskKind, &str)| ClientRisk {
        kind,
        what: what.to_owned(),
    };
    present.map(risk).collect()
}
