//! Puts the tasks of a plan together and numbers them.

use std::collections::BTreeMap;

use evenkeel_model::{
    Action, CatalogueEntry, Digest, Executor, Lane, Milestone, NodeName, Plan, PlanMode, Refusal,
    SlotHealth, Step, Task, TaskId, Version,
};

use crate::input::Input;

/// Adds steps and numbers tasks.
pub(crate) struct Builder<'a> {
    input: &'a Input<'a>,
    target: Version,
    package: Digest,
    stabilize_minutes: u32,
    next_id: u32,
    steps: Vec<Step>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(
        input: &'a Input<'a>,
        entry: &CatalogueEntry,
        stabilize_minutes: u32,
        first_id: u32,
    ) -> Self {
        Self {
            input,
            target: entry.package.summary.version.clone(),
            package: entry.package.digest,
            stabilize_minutes,
            next_id: first_id,
            steps: Vec::new(),
        }
    }

    /// Whether the alternate slot of `node` holds the image, fit to boot.
    pub(crate) fn holds_image(&self, node: &NodeName) -> bool {
        let slots = self.input.seen(node).and_then(|seen| seen.slots.known());
        slots.is_some_and(|slots| {
            let slot = slots.slot(slots.alternate());
            let same = slot
                .image
                .as_ref()
                .is_some_and(|image| image.digest == self.package);
            let fit = match slot.health {
                SlotHealth::Good => true,
                SlotHealth::Untried { tries } => tries > 0,
                SlotHealth::Unbootable => false,
            };
            same && fit
        })
    }

    fn task(&mut self, node: &NodeName, executor: Executor, action: Action) -> Task {
        let id = TaskId(self.next_id);
        self.next_id += 1;
        let estimate_s = self.input.learned.expected(&action).median_s;
        Task {
            id,
            node: node.clone(),
            executor,
            action,
            estimate_s,
        }
    }

    fn here(&mut self, node: &NodeName, action: Action) -> Task {
        self.task(node, Executor::Agent(node.clone()), action)
    }

    fn watched(&mut self, node: &NodeName, action: Action) -> Task {
        self.task(node, Executor::Coordinator, action)
    }

    /// The image goes into the alternate slots of all nodes at once.
    pub(crate) fn install(&mut self, nodes: &[NodeName]) {
        let package = self.package;
        let lanes: Vec<Lane> = nodes
            .iter()
            .map(|node| {
                let task = self.here(node, Action::Install { package });
                Lane {
                    node: node.clone(),
                    tasks: vec![task],
                    restore: Vec::new(),
                    undo: Vec::new(),
                }
            })
            .collect();
        if !lanes.is_empty() {
            self.steps.push(Step { lanes });
        }
    }

    fn partner(&self, node: &NodeName) -> Result<NodeName, Refusal> {
        let text =
            || format!("Node \"{node}\" has no HA partner: it cannot be updated while it serves.");
        let partner = self.input.topology.partner_of(node).cloned();
        // 10551558: the configuration is not supported.
        partner.ok_or_else(|| Refusal::new(10_551_558, text()))
    }

    /// The whole way of one node.
    pub(crate) fn roll(&mut self, node: &NodeName) -> Result<(), Refusal> {
        let partner = self.partner(node)?;
        let package = self.package;
        let mut tasks = vec![
            self.here(node, Action::Activate { package }),
            self.task(node, Executor::Agent(partner.clone()), Action::Takeover),
        ];
        tasks.extend(self.homeward(node, &partner));
        let restore = self.restore(node, &partner);
        let undo = vec![self.here(node, Action::Deactivate)];
        self.push(node, tasks, restore, undo);
        Ok(())
    }

    /// The way home of a node that we took over in an earlier revision.
    pub(crate) fn come_home(
        &mut self,
        node: &NodeName,
        version: Option<&Version>,
    ) -> Result<(), Refusal> {
        let partner = self.partner(node)?;
        if version.is_some_and(|version| *version != self.target) {
            // It fell back to its old slot: this lane is nothing but a restore.
            let tasks = self.restore(node, &partner);
            self.push(node, tasks, Vec::new(), Vec::new());
        } else {
            let tasks = self.homeward(node, &partner);
            let restore = self.restore(node, &partner);
            self.push(node, tasks, restore, Vec::new());
        }
        Ok(())
    }

    /// From takeover to the end: up on the new version, steady, home, steady, good.
    fn homeward(&mut self, node: &NodeName, partner: &NodeName) -> Vec<Task> {
        let (version, minutes) = (self.target.clone(), self.stabilize_minutes);
        vec![
            self.watched(
                node,
                Action::AwaitBoot {
                    version: version.clone(),
                },
            ),
            self.watched(
                node,
                Action::Stabilize {
                    minutes,
                    after: Milestone::Takeover,
                },
            ),
            self.task(node, Executor::Agent(partner.clone()), Action::Giveback),
            self.watched(
                node,
                Action::VerifyHome {
                    version: Some(version),
                },
            ),
            self.watched(
                node,
                Action::Stabilize {
                    minutes,
                    after: Milestone::Giveback,
                },
            ),
            self.here(node, Action::MarkGood),
        ]
    }

    /// Home again, on whatever version.
    fn restore(&mut self, node: &NodeName, partner: &NodeName) -> Vec<Task> {
        vec![
            self.task(node, Executor::Agent(partner.clone()), Action::Giveback),
            self.watched(node, Action::VerifyHome { version: None }),
        ]
    }

    /// A step of one lane.
    fn push(&mut self, node: &NodeName, tasks: Vec<Task>, restore: Vec<Task>, undo: Vec<Task>) {
        let node = node.clone();
        let lane = Lane {
            node,
            tasks,
            restore,
            undo,
        };
        self.steps.push(Step { lanes: vec![lane] });
    }

    /// A node that came home without us: see that it is well, and say that its slot is good.
    pub(crate) fn confirm(&mut self, node: &NodeName) {
        let version = Some(self.target.clone());
        let tasks = vec![
            self.watched(node, Action::VerifyHome { version }),
            self.here(node, Action::MarkGood),
        ];
        self.push(node, tasks, Vec::new(), Vec::new());
    }

    pub(crate) fn finish(self, revision: u32, from: BTreeMap<NodeName, Version>) -> Plan {
        let (target, package, steps) = (self.target, self.package, self.steps);
        Plan {
            revision,
            mode: PlanMode::Rolling,
            target,
            package,
            from,
            steps,
        }
    }
}
