//! Time without a clock, for exploring every order: what is due comes when it is called.

use evenkeel_model::NodeName;

use super::check::{Cause, History};
use super::hardware::{Hardware, PowerState};
use crate::traits::PlatformError;
use crate::wire::{Command, Reply};

/// Something that happens by itself some time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// The accepted takeover of this node moves pools and LIFs.
    Takeover(NodeName),
    /// The partner of this node gets proof that it is lost.
    Loss(NodeName),
    /// This node comes to the end of its boot.
    Boot(NodeName),
}

impl Hardware {
    /// All that happens by itself next, in whatever order it may come.
    pub fn pending(&self) -> Vec<Due> {
        let takeovers = self.pairs.iter().filter_map(|pair| {
            pair.takes_over_at?;
            Some(Due::Takeover(pair.transition.as_ref()?.taken.clone()))
        });
        let losses = self.nodes.iter().filter_map(|(name, node)| {
            node.detect_at?;
            Some(Due::Loss(name.clone()))
        });
        let boots = self
            .nodes
            .iter()
            .filter_map(|(name, node)| match node.power {
                PowerState::Booting { until: Some(_), .. } => Some(Due::Boot(name.clone())),
                PowerState::Booting { until: None, .. }
                | PowerState::Off
                | PowerState::Up { .. }
                | PowerState::Halted => None,
            });
        takeovers.chain(losses).chain(boots).collect()
    }

    /// Lets one of the [pending](Self::pending) things happen now, whatever its time.
    pub fn bring(&mut self, due: &Due) {
        self.cause = Cause::default();
        match due {
            Due::Takeover(taken) => {
                let of = |t: &evenkeel_model::Transition| t.taken == *taken;
                let mut pairs = self.pairs.iter();
                let pair = pairs.position(|pair| pair.transition.as_ref().is_some_and(of));
                if let Some(pair) = pair {
                    self.complete_takeover(pair);
                }
            }
            Due::Loss(node) => self.detect_loss(node),
            Due::Boot(node) => self.end_boot(node),
        }
        self.watch_service();
        self.changed();
    }

    /// What a node that is up sees, without any time passing. Acts are refused: they go through
    /// [`Hardware::handle`].
    pub fn look(&self, node: &NodeName, command: &Command) -> Result<Reply, PlatformError> {
        if self.boot_of(node).is_none() {
            let why = format!("node {node} is not up");
            return Err(PlatformError::Unavailable(why));
        }
        match command.acts() {
            true => Err(PlatformError::Refused("this only looks".to_owned())),
            false => self.observe(node, command),
        }
    }

    /// Forgets the past and how far the clock is, so that states which differ in nothing else are equal.
    /// Look at [`Hardware::check`] and fetch what [`Hardware::advance`] hands out before.
    pub fn forget_past(&mut self) {
        self.history = History::default();
        (self.now, self.revision) = (0, 0);
        self.cause = Cause::default();
        self.passed = None;
        for pair in &mut self.pairs {
            pair.takes_over_at = pair.takes_over_at.map(|_| 1);
        }
        for node in self.nodes.values_mut() {
            node.detect_at = node.detect_at.map(|_| 1);
            node.resets_at = node.resets_at.map(|_| 1);
            if let PowerState::Booting { until, .. } = &mut node.power {
                *until = until.map(|_| 1);
            }
        }
    }
}
