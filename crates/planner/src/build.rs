//! Builds plans: which node when, by which tasks.

use std::collections::BTreeMap;

use evenkeel_model::{
    Action, CatalogueEntry, Digest, Executor, Lane, MemberHa, Milestone, NodeName, PairState, Plan,
    Problem, Refusal, SlotHealth, Step, Task, TaskId, TransitionStage, UpdateRequest, Version,
    code,
};

use crate::input::Input;
use crate::judge::{foreign, ha_text};

/// The first revision of an update's plan, or why there can be none. Rolling: one pair after the
/// other, one node at a time; the coordinator's pair last, and the coordinator last in it.
pub fn plan(input: &Input<'_>, request: &UpdateRequest) -> Result<Plan, Refusal> {
    let entry = input
        .catalogue
        .by_version(&request.version)
        .ok_or_else(|| {
            let text = format!("Package {} is not in the repository.", request.version);
            Refusal::new(code::NO_PACKAGE, text).about("version")
        })?;
    let from = versions(input)?;
    if from.values().all(|version| *version == request.version) {
        let text = format!("All nodes run {} already.", request.version);
        return Err(Refusal::new(code::ALREADY_AT_VERSION, text).about("version"));
    }
    let mut builder = Builder::new(input, entry, request.stabilize_minutes, 1);
    let due: Vec<NodeName> = order(input)
        .into_iter()
        .filter(|node| from.get(node) != Some(&request.version))
        .collect();
    builder.install(&due);
    for node in &due {
        builder.roll(node)?;
    }
    Ok(builder.finish(1, from))
}

fn versions(input: &Input<'_>) -> Result<BTreeMap<NodeName, Version>, Refusal> {
    let of = |name: &NodeName| {
        let version = input.seen(name).and_then(|seen| seen.version.known());
        let unknown = || {
            let text = format!("The version of node \"{name}\" is not known.");
            Refusal::new(code::VALIDATION_FAILED, text)
        };
        Ok((name.clone(), version.ok_or_else(unknown)?.clone()))
    };
    input.topology.names().map(of).collect()
}

/// Nodes in the order of their takeovers.
fn order(input: &Input<'_>) -> Vec<NodeName> {
    let mut pairs = input.topology.pairs();
    pairs.sort_by_key(|(a, b)| *a == input.me || *b == input.me);
    let pair_order = |(a, b)| if a == input.me { [b, a] } else { [a, b] };
    pairs.into_iter().flat_map(pair_order).cloned().collect()
}

/// The next revision, from what is observed now: after trouble a person may have acted by hand. What
/// cannot be told apart from someone else's doing is trouble again; what is unknown is waited for.
pub fn replan(input: &Input<'_>, request: &UpdateRequest) -> Result<Plan, NoPlan> {
    let entry = input
        .catalogue
        .by_version(&request.version)
        .ok_or_else(|| {
            NoPlan::Trouble(Problem {
                node: None,
                error: format!("package {} is no longer in the repository", request.version),
                action: "Get the package again, or cancel the update.".to_owned(),
            })
        })?;
    let previous = input.operation.plan.as_ref();
    let from = previous.map(|plan| plan.from.clone()).unwrap_or_default();
    let first_id = input
        .operation
        .tasks
        .keys()
        .chain(previous.iter().flat_map(|p| p.tasks().map(|task| &task.id)));
    let first_id = first_id.max().map_or(1, |id| id.0 + 1);
    let mut builder = Builder::new(input, entry, request.stabilize_minutes, first_id);
    let mut standing = Vec::new();
    for node in order(input) {
        standing.push((stand(input, &node)?, node));
    }
    // Whoever is with its partner comes home before anything new begins.
    standing.sort_by_key(|(stand, _)| !matches!(stand, Stand::TakenByUs { .. }));
    let due = |stand: &Stand| match stand {
        Stand::Serving { version }
        | Stand::TakenByUs {
            version: Some(version),
        } => *version != request.version,
        Stand::TakenByUs { version: None, .. } => false,
    };
    let all_due = standing
        .iter()
        .filter(|(stand, _)| due(stand))
        .map(|(_, node)| node.clone());
    let to_install: Vec<NodeName> = all_due.filter(|node| !builder.holds_image(node)).collect();
    for (stand, node) in &standing {
        if let Stand::TakenByUs { version, .. } = stand {
            builder
                .come_home(node, version.as_ref())
                .map_err(as_problem)?;
        }
    }
    builder.install(&to_install);
    for (stand, node) in &standing {
        match stand {
            _ if due(stand) => builder.roll(node).map_err(as_problem)?,
            Stand::Serving { .. } if !input.operation.updated.contains_key(node) => {
                if from.get(node) != Some(&request.version) {
                    builder.confirm(node);
                }
            }
            Stand::Serving { .. } | Stand::TakenByUs { .. } => {}
        }
    }
    let revision = previous.map_or(1, |plan| plan.revision + 1);
    Ok(builder.finish(revision, from))
}

/// Why there is no next revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// Not yet: something is unknown, or on its way.
    Unknown(Problem),
    /// Not until a person acts.
    Trouble(Problem),
}

fn as_problem(refusal: Refusal) -> NoPlan {
    let action = "Cancel the update.".to_owned();
    NoPlan::Trouble(Problem {
        node: None,
        error: refusal.message,
        action,
    })
}

/// Where a node stands when a plan is made anew.
enum Stand {
    Serving { version: Version },
    TakenByUs { version: Option<Version> },
}

fn stand(input: &Input<'_>, node: &NodeName) -> Result<Stand, NoPlan> {
    if let Some(error) = foreign(input, node) {
        let (error, action) = (error.message, error.action);
        return Err(NoPlan::Trouble(Problem {
            node: Some(node.clone()),
            error,
            action,
        }));
    }
    let unknown = |error: String, action: &str| {
        let action = action.to_owned();
        NoPlan::Unknown(Problem {
            node: Some(node.clone()),
            error,
            action,
        })
    };
    let back = "Bring the node's evenkeeld back, then resume.";
    let pair = pair_of(input, node).ok_or_else(|| {
        let why = input.why_silent(node);
        unknown(
            format!("the state of its HA pair is not known: {why}"),
            back,
        )
    })?;
    let version = booted_version(input, node);
    let standing = pair
        .transition
        .as_ref()
        .filter(|t| t.stage != TransitionStage::GivenBack);
    if standing.is_some_and(|t| t.taken == *node) {
        return Ok(Stand::TakenByUs { version });
    }
    match member(pair, node).ha {
        MemberHa::Serving => version
            .map(|version| Stand::Serving { version })
            .ok_or_else(|| {
                let why = input.why_silent(node);
                unknown(format!("the version it runs is not known: {why}"), back)
            }),
        ha => {
            let error = format!("it does not serve its own storage: {}", ha_text(ha));
            Err(unknown(
                error,
                "Bring the node back into service, then resume.",
            ))
        }
    }
}

/// The pair of `node` as it, or its partner, sees it.
pub(crate) fn pair_of<'a>(input: &Input<'a>, node: &NodeName) -> Option<&'a PairState> {
    let by = |name: &NodeName| {
        let seen = input.observations.get(name)?.known()?;
        seen.pair.known()?.as_ref()
    };
    by(node).or_else(|| by(input.topology.partner_of(node)?))
}

pub(crate) fn member<'a>(pair: &'a PairState, node: &NodeName) -> &'a evenkeel_model::MemberState {
    if pair.local.node == *node {
        &pair.local
    } else {
        &pair.partner
    }
}

fn booted_version(input: &Input<'_>, node: &NodeName) -> Option<Version> {
    input.seen(node)?.version.known().cloned()
}

/// Adds steps and numbers tasks.
struct Builder<'a> {
    input: &'a Input<'a>,
    target: Version,
    package: Digest,
    stabilize_minutes: u32,
    next_id: u32,
    steps: Vec<Step>,
}

impl<'a> Builder<'a> {
    fn new(
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
    fn holds_image(&self, node: &NodeName) -> bool {
        let slots = self.input.seen(node).and_then(|seen| seen.slots.known());
        slots.is_some_and(|slots| {
            let slot = slots.slot(slots.alternate());
            let same = slot
                .image
                .as_ref()
                .is_some_and(|image| image.digest == self.package);
            same && slot.health != SlotHealth::Unbootable
        })
    }

    fn task(&mut self, node: &NodeName, executor: Executor, action: Action) -> Task {
        let id = TaskId(self.next_id);
        self.next_id += 1;
        let estimate_s = crate::estimate::task_seconds(&action);
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
    fn install(&mut self, nodes: &[NodeName]) {
        let package = self.package;
        let lanes: Vec<Lane> = nodes
            .iter()
            .map(|node| {
                let task = self.here(node, Action::Install { package });
                Lane {
                    node: node.clone(),
                    tasks: vec![task],
                    restore: Vec::new(),
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
    fn roll(&mut self, node: &NodeName) -> Result<(), Refusal> {
        let partner = self.partner(node)?;
        let package = self.package;
        let mut tasks = vec![
            self.here(node, Action::Activate { package }),
            self.task(node, Executor::Agent(partner.clone()), Action::Takeover),
        ];
        tasks.extend(self.homeward(node, &partner));
        self.lane(node, &partner, tasks);
        Ok(())
    }

    /// The way home of a node that we took over in an earlier revision.
    fn come_home(&mut self, node: &NodeName, version: Option<&Version>) -> Result<(), Refusal> {
        let partner = self.partner(node)?;
        let tasks = match version {
            Some(version) if *version != self.target => self.restore(node, &partner),
            Some(_) | None => self.homeward(node, &partner),
        };
        self.lane(node, &partner, tasks);
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

    fn restore(&mut self, node: &NodeName, partner: &NodeName) -> Vec<Task> {
        vec![
            self.task(node, Executor::Agent(partner.clone()), Action::Giveback),
            self.watched(node, Action::VerifyHome { version: None }),
        ]
    }

    fn lane(&mut self, node: &NodeName, partner: &NodeName, tasks: Vec<Task>) {
        let restore = self.restore(node, partner);
        self.steps.push(Step {
            lanes: vec![Lane {
                node: node.clone(),
                tasks,
                restore,
            }],
        });
    }

    /// A node that came home without us: see that it is well, and say that its slot is good.
    fn confirm(&mut self, node: &NodeName) {
        let version = Some(self.target.clone());
        let tasks = vec![
            self.watched(node, Action::VerifyHome { version }),
            self.here(node, Action::MarkGood),
        ];
        self.steps.push(Step {
            lanes: vec![Lane {
                node: node.clone(),
                tasks,
                restore: Vec::new(),
            }],
        });
    }

    fn finish(self, revision: u32, from: BTreeMap<NodeName, Version>) -> Plan {
        let (target, package, steps) = (self.target, self.package, self.steps);
        Plan {
            revision,
            target,
            package,
            from,
            steps,
        }
    }
}
