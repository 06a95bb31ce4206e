//! Where LIFs live.

use evenkeel_model::{LifName, NodeName};

use crate::sim::boot::refuse;
use crate::sim::command::Effect;
use crate::sim::fault::Fault;
use crate::sim::hardware::{Hardware, Node};
use crate::traits::PlatformError;

impl Hardware {
    pub(in crate::sim) fn send_home(
        &mut self,
        node: &NodeName,
        name: &LifName,
    ) -> Result<(), PlatformError> {
        let partner = self.at(node).partner.clone();
        let lif = self.lifs.iter().find(|lif| lif.name == *name);
        let ours = lif.filter(|lif| lif.home == *node || Some(&lif.home) == partner.as_ref());
        let Some(lif) = ours else {
            return refuse(format!("{name} is not a LIF of {node} or its partner"));
        };
        let home = lif.home.clone();
        if lif.current.as_ref() != Some(&home) {
            if !self.member_ha(&home).serves() {
                return refuse(format!("{home} does not serve, so {name} cannot go home"));
            }
            if self.lif_down(name) {
                return refuse(format!("the port of {name} on {home} is down"));
            }
            self.place_lif(name, Some(home.clone()));
        }
        self.close_giveback(&home);
        Ok(())
    }

    /// Moves a LIF if it can be there; else it is down.
    pub(super) fn place_lif(&mut self, name: &LifName, to: Option<NodeName>) {
        let to = to.filter(|to| self.can_host(to, name));
        let Some(lif) = self.lifs.iter_mut().find(|lif| lif.name == *name) else {
            return;
        };
        if lif.current == to {
            return;
        }
        let home = lif.home.clone();
        let from = std::mem::replace(&mut lif.current, to.clone());
        match &to {
            Some(host) => self.note(host, format!("hosts {name}")),
            None => self.note(&home, format!("{name} is down")),
        }
        for node in from.into_iter().chain(to) {
            if self.at(&node).up().is_some() {
                let hosting = self.hosting(&node);
                self.effects.push(Effect::Lifs { node, hosting });
            }
        }
        self.changed();
    }

    fn can_host(&self, node: &NodeName, name: &LifName) -> bool {
        let lif = self.lifs.iter().find(|lif| lif.name == *name);
        let Some(lif) = lif else { return false };
        if self.lif_down(name) {
            return false;
        }
        lif.home == *node || !self.without_target(name)
    }

    /// LIF faults of a node concern its first LIF.
    fn first_lif(&self, node: &NodeName) -> Option<&LifName> {
        let lif = self.lifs.iter().find(|lif| lif.home == *node)?;
        Some(&lif.name)
    }

    fn lif_has(&self, name: &LifName, fault: Fault) -> bool {
        let faulty = |(node, state): (&NodeName, &Node)| {
            state.has(fault) && self.first_lif(node) == Some(name)
        };
        self.nodes.iter().any(faulty)
    }

    pub(super) fn lif_down(&self, name: &LifName) -> bool {
        self.lif_has(name, Fault::LifDown)
    }

    pub(in crate::sim) fn without_target(&self, name: &LifName) -> bool {
        self.lif_has(name, Fault::NoFailoverTarget)
    }

    /// After a LIF fault of `node` was set or cleared.
    pub(in crate::sim) fn move_faulty_lif(&mut self, node: &NodeName) {
        let Some(name) = self.first_lif(node).cloned() else {
            return;
        };
        let partner = self.at(node).partner.clone();
        let serves = |node: &NodeName| self.member_ha(node).serves();
        let partner = partner.filter(serves);
        let home = Some(node.clone()).filter(serves);
        let away = self.at(node).has(Fault::LifAway);
        let to = if away {
            partner.or(home)
        } else {
            home.or(partner)
        };
        self.place_lif(&name, to);
    }
}
