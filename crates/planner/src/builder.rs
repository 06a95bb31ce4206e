//! Puts the tasks of a plan together and numbers them.

use std::collections::BTreeMap;

use evenkeel_model::{
    Action, CatalogueEntry, Digest, Executor, Gates, Lane, Milestone, NodeName, Plan, PlanMode,
    Refusal, Step, Task, TaskId, Version, code,
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
    gates: Gates,
    /// A takeover came before: the next one waits for the gates.
    is_gated: bool,
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
            gates: input.control.gates.clone(),
            is_gated: input
                .operation
                .tasks
                .values()
                .any(|progress| takes_down(&progress.task)),
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
            same && slot.health.is_bootable()
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
        self.push(lanes);
    }

    fn partner(&self, node: &NodeName) -> Result<NodeName, Refusal> {
        let text =
            || format!("Node \"{node}\" has no HA partner: it cannot be updated while it serves.");
        let partner = self.input.topology.partner_of(node).cloned();
        partner.ok_or_else(|| Refusal::new(code::NOT_SUPPORTED, text()))
    }

    /// The whole way of some nodes, side by side.
    pub(crate) fn roll(&mut self, nodes: &[NodeName]) -> Result<(), Refusal> {
        let lanes = nodes.iter().map(|node| self.whole_way(node));
        let lanes = lanes.collect::<Result<_, _>>()?;
        self.push(lanes);
        self.is_gated = true;
        Ok(())
    }

    fn whole_way(&mut self, node: &NodeName) -> Result<Lane, Refusal> {
        let package = self.package;
        let mut tasks = self.gate(node);
        tasks.push(self.here(node, Action::Activate { package }));
        let mut restore = Vec::new();
        if self.input.topology.nodes.len() == 1 {
            tasks.extend(self.reboot(node));
        } else {
            let partner = self.partner(node)?;
            tasks.push(self.task(node, Executor::Agent(partner.clone()), Action::Takeover));
            tasks.extend(self.homeward(node, &partner));
            restore = self.restore(node, &partner);
        }
        Ok(Lane {
            node: node.clone(),
            tasks,
            restore,
            undo: vec![self.here(node, Action::Deactivate)],
        })
    }

    /// What comes before the turn of a node that is not the first.
    fn gate(&mut self, node: &NodeName) -> Vec<Task> {
        let mut tasks = Vec::new();
        if !self.is_gated {
            return tasks;
        }
        if self.gates.is_watched() {
            let gates = self.gates.clone();
            tasks.push(self.watched(node, Action::Gate { gates }));
        }
        if self.gates.has_script() {
            let longest_minutes = self.gates.longest_minutes;
            tasks.push(self.here(node, Action::GateScript { longest_minutes }));
        }
        tasks
    }

    /// The way of a node that nobody can take over, after its new slot is the default.
    fn reboot(&mut self, node: &NodeName) -> Vec<Task> {
        let version = self.target.clone();
        let awaited = Action::AwaitBoot {
            version: version.clone(),
        };
        let home = Action::VerifyHome {
            version: Some(version),
        };
        vec![
            self.here(node, Action::Reboot),
            self.watched(node, awaited),
            self.watched(node, home),
            self.here(node, Action::MarkGood),
        ]
    }

    /// The way home of nodes that we took over in an earlier revision, side by side.
    pub(crate) fn come_home(
        &mut self,
        nodes: &[(NodeName, Option<Version>)],
    ) -> Result<(), Refusal> {
        let lanes = nodes.iter().map(|(node, version)| {
            let partner = self.partner(node)?;
            let fell_back = version.as_ref().is_some_and(|v| *v != self.target);
            let (tasks, restore) = match fell_back {
                // Back on its old slot: this lane is nothing but a restore.
                true => (self.restore(node, &partner), Vec::new()),
                false => (self.homeward(node, &partner), self.restore(node, &partner)),
            };
            Ok(Lane {
                node: node.clone(),
                tasks,
                restore,
                undo: Vec::new(),
            })
        });
        let lanes = lanes.collect::<Result<_, _>>()?;
        self.push(lanes);
        Ok(())
    }

    /// The rest of the way of nodes that have their pools again, while nobody has seen that their giveback came
    /// to its end: it is asked for once more, which finds what is done and does what is left.
    pub(crate) fn finish_giveback(&mut self, nodes: &[(NodeName, Version)]) -> Result<(), Refusal> {
        let lanes = nodes.iter().map(|(node, version)| {
            let partner = self.partner(node)?;
            let (tasks, restore) = match *version == self.target {
                true => (
                    self.given_back(node, &partner),
                    self.restore(node, &partner),
                ),
                false => (self.restore(node, &partner), Vec::new()),
            };
            Ok(Lane {
                node: node.clone(),
                tasks,
                restore,
                undo: Vec::new(),
            })
        });
        let lanes = lanes.collect::<Result<_, _>>()?;
        self.push(lanes);
        Ok(())
    }

    /// From takeover to the end: up on the new version, steady, home, steady, good.
    fn homeward(&mut self, node: &NodeName, partner: &NodeName) -> Vec<Task> {
        let (version, minutes) = (self.target.clone(), self.stabilize_minutes);
        let after = Milestone::Takeover;
        let mut tasks = vec![
            self.watched(node, Action::AwaitBoot { version }),
            self.watched(node, Action::Stabilize { minutes, after }),
        ];
        tasks.extend(self.given_back(node, partner));
        tasks
    }

    /// From giveback to the end: home, steady, good.
    fn given_back(&mut self, node: &NodeName, partner: &NodeName) -> Vec<Task> {
        let (version, minutes) = (self.target.clone(), self.stabilize_minutes);
        vec![
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

    /// A step, unless it is empty.
    fn push(&mut self, lanes: Vec<Lane>) {
        if !lanes.is_empty() {
            self.steps.push(Step { lanes });
        }
    }

    /// Nodes that run the version without us: see that they are well, and say that their slots are good. One
    /// that only just came home is given its time before anything is taken from it again.
    pub(crate) fn confirm(&mut self, nodes: &[NodeName], just_home: bool) {
        let minutes = self.stabilize_minutes;
        let lane = |node: &NodeName| {
            let version = Some(self.target.clone());
            let mut tasks = vec![self.watched(node, Action::VerifyHome { version })];
            if just_home {
                let after = Milestone::Giveback;
                tasks.push(self.watched(node, Action::Stabilize { minutes, after }));
            }
            tasks.push(self.here(node, Action::MarkGood));
            Lane {
                node: node.clone(),
                tasks,
                restore: Vec::new(),
                undo: Vec::new(),
            }
        };
        let lanes = nodes.iter().map(lane).collect();
        self.push(lanes);
    }

    pub(crate) fn finish(
        self,
        revision: u32,
        from: BTreeMap<NodeName, Version>,
        mode: PlanMode,
        remark: Option<String>,
    ) -> Plan {
        Plan {
            revision,
            mode,
            target: self.target,
            package: self.package,
            gates: self.input.control.gates.clone(),
            remark,
            from,
            steps: self.steps,
        }
    }
}

/// Whether the task takes its node out of service.
pub(crate) fn takes_down(task: &Task) -> bool {
    matches!(task.action, Action::Takeover | Action::Reboot)
}
