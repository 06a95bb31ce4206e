//! A node's links: one fault cuts it from its peers and from the record.

use evenkeel_model::{Link, NodeName};
use evenkeel_record::MemoryFaults;

use crate::world::World;

impl World {
    /// Cuts a node from the record and from its peers, or heals that.
    pub(crate) fn cut(&self, node: &NodeName, cut: bool) {
        self.network.set_link(node, Link { cut, delay_ms: 0 });
        self.cut_record(node, cut);
    }

    /// Cuts a node from the record alone.
    pub(crate) fn cut_record(&self, node: &NodeName, partitioned: bool) {
        let faults = MemoryFaults {
            partitioned,
            ..self.settings.record_faults
        };
        self.record_of(node).set_faults(faults);
    }
}
