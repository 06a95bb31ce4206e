//! A cluster of one pair, told by its events.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_model::*;
use evenkeel_record::{Entry, View};
use evenkeel_seam::{Ids, SeededIds};

/// Events one after the other, a second apart, and the view of them.
pub(crate) struct Story {
    pub(crate) ids: SeededIds,
    pub(crate) entries: Vec<Entry>,
    pub(crate) view: View,
    pub(crate) now: WallTime,
}

pub(crate) fn wall(seconds: i64) -> WallTime {
    WallTime::new(jiff::Timestamp::from_second(1_700_000_000 + seconds).unwrap())
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

pub(crate) fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

pub(crate) fn user() -> UserName {
    UserName::new("admin").unwrap()
}

pub(crate) fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

pub(crate) fn topology() -> Topology {
    let config = |name: &str, partner: &str, n: u128| NodeConfig {
        id: NodeId(uuid::Uuid::from_u128(n)),
        name: node(name),
        partner: Some(node(partner)),
        interconnect: "127.0.0.1:1".to_owned(),
        rest: "127.0.0.1:2".to_owned(),
        variant: None,
        features: Vec::new(),
        site: None,
        platform: PlatformName::new("lab-x86_64").unwrap(),
        lifs: vec![],
    };
    let nodes = vec![config("n1", "n2", 1), config("n2", "n1", 2)];
    Topology::new(ClusterId(uuid::Uuid::from_u128(9)), "lab".to_owned(), nodes).unwrap()
}

pub(crate) fn finding(check: &str, severity: Severity) -> Finding {
    let (issue, action) = ("something is wrong".to_owned(), "mend it".to_owned());
    Finding {
        check: check.to_owned(),
        severity,
        issue,
        action,
        about: BTreeSet::new(),
        acknowledged: None,
    }
}

pub(crate) fn problem(node: Option<NodeName>, error: &str) -> Problem {
    Problem {
        node,
        error: error.to_owned(),
        action: "mend it".to_owned(),
    }
}

/// Install on both at once, then n2, then n1: three tasks each for brevity, and one to restore.
pub(crate) fn plan() -> Plan {
    let mut next = 0;
    let mut task = |name: &str, action, estimate_s| {
        next += 1;
        let executor = Executor::Agent(node(name));
        Task {
            id: TaskId(next),
            node: node(name),
            executor,
            action,
            estimate_s,
        }
    };
    let install = Action::Install { package: digest(2) };
    let first = ["n1", "n2"].map(|name| Lane {
        node: node(name),
        tasks: vec![task(name, install.clone(), 780)],
        restore: vec![],
        undo: Vec::new(),
    });
    let mut lane = |name: &str| Lane {
        node: node(name),
        tasks: vec![
            task(name, Action::Takeover, 300),
            task(name, Action::Giveback, 300),
            task(name, Action::MarkGood, 0),
        ],
        restore: vec![task(name, Action::Giveback, 300)],
        undo: Vec::new(),
    };
    let steps = vec![
        Step {
            lanes: first.to_vec(),
        },
        Step {
            lanes: vec![lane("n2")],
        },
        Step {
            lanes: vec![lane("n1")],
        },
    ];
    let from = BTreeMap::from(["n1", "n2"].map(|name| (node(name), version("1.0"))));
    Plan {
        revision: 1,
        target: version("2.0"),
        package: digest(2),
        mode: PlanMode::Rolling,
        gates: Gates::default(),
        remark: None,
        from,
        steps,
    }
}

impl Story {
    /// Nothing has happened.
    pub(crate) fn empty() -> Self {
        let ids = SeededIds::new(1);
        Self {
            ids,
            entries: vec![],
            view: View::default(),
            now: wall(0),
        }
    }

    /// The cluster is there, both nodes at 1.0.
    pub(crate) fn cluster() -> Self {
        let mut story = Self::empty();
        let at = story.tick();
        story.control(ControlEvent::TopologySet {
            at,
            topology: topology(),
        });
        story.boot("n1", "1.0");
        story.boot("n2", "1.0");
        let (generation, coordinator) = (Generation(1), node("n1"));
        story.control(ControlEvent::CoordinatorElected {
            at,
            generation,
            node: coordinator,
        });
        story
    }

    pub(crate) fn tick(&mut self) -> WallTime {
        self.now = self.now.plus(Duration::from_secs(1));
        self.now
    }

    pub(crate) fn raw(&mut self, stream: StreamId, body: String) {
        let position = Position(self.view.position().0 + 1);
        let seq = self.view.head(stream).next();
        let entry = Entry {
            position,
            stream,
            seq,
            id: EventId(self.ids.uuid()),
            body,
        };
        self.view.apply(&entry).unwrap();
        self.entries.push(entry);
    }

    pub(crate) fn event(&mut self, stream: StreamId, event: Event) {
        self.raw(stream, event.encode());
    }

    pub(crate) fn control(&mut self, event: ControlEvent) {
        self.event(StreamId::Control, Event::Control(event));
    }

    pub(crate) fn operation(&mut self, id: OperationId, event: OperationEvent) {
        self.event(StreamId::Operation(id), Event::Operation(event));
    }

    pub(crate) fn boot(&mut self, name: &str, runs: &str) {
        let at = self.tick();
        let boot_id = BootId(self.ids.uuid());
        let (node, version, daemon) = (node(name), Some(version(runs)), "0.1.0".to_owned());
        self.control(ControlEvent::NodeBooted {
            at,
            node,
            boot_id,
            version,
            daemon,
            machine: MachineId::default(),
        });
    }

    /// Admitted, requested, and with a job.
    pub(crate) fn start(&mut self, request: Request) -> (OperationId, JobId) {
        let (id, job) = (OperationId(self.ids.uuid()), JobId(self.ids.uuid()));
        let at = self.tick();
        let kind = request.kind();
        self.control(ControlEvent::OperationStarted {
            at,
            operation: id,
            kind,
        });
        self.operation(
            id,
            OperationEvent::Requested {
                at,
                by: user(),
                request,
            },
        );
        let description = "PATCH /api/cluster/software".to_owned();
        self.operation(
            id,
            OperationEvent::JobOpened {
                at,
                job,
                description,
            },
        );
        (id, job)
    }

    pub(crate) fn start_update(&mut self) -> (OperationId, JobId) {
        self.start(Request::Update(UpdateRequest {
            skip_warnings: true,
            ..UpdateRequest::new(version("2.0"))
        }))
    }

    pub(crate) fn start_validation(&mut self) -> (OperationId, JobId) {
        self.start(Request::Validate {
            version: version("2.0"),
        })
    }

    pub(crate) fn validated(&mut self, id: OperationId, findings: Vec<Finding>) {
        let at = self.tick();
        self.operation(id, OperationEvent::Validated { at, findings });
    }

    pub(crate) fn planned(&mut self, id: OperationId, plan: Plan) {
        let at = self.tick();
        self.operation(id, OperationEvent::Planned { at, plan });
    }

    pub(crate) fn task_started(&mut self, id: OperationId, task: u32, attempt: u32) {
        let at = self.tick();
        let boot_id = BootId(uuid::Uuid::from_u128(5));
        let since = Monotonic {
            boot_id,
            since_boot_ms: 0,
        };
        let (task, before) = (TaskId(task), Before::default());
        let transition = None;
        self.operation(
            id,
            OperationEvent::TaskStarted {
                at,
                since,
                task,
                attempt,
                transition,
                before,
            },
        );
    }

    pub(crate) fn task_done(&mut self, id: OperationId, task: u32, attempt: u32) {
        let at = self.tick();
        let end = TaskEnd::Done {
            how: How::Completed,
        };
        self.operation(
            id,
            OperationEvent::TaskEnded {
                at,
                task: TaskId(task),
                attempt,
                end,
            },
        );
    }

    pub(crate) fn task_failed(&mut self, id: OperationId, task: u32, attempt: u32, message: &str) {
        let at = self.tick();
        let (kind, action) = (TaskErrorKind::Permanent, "mend it".to_owned());
        let error = TaskError {
            kind,
            message: message.to_owned(),
            action,
            code: None,
        };
        let end = TaskEnd::Failed { error };
        self.operation(
            id,
            OperationEvent::TaskEnded {
                at,
                task: TaskId(task),
                attempt,
                end,
            },
        );
    }

    pub(crate) fn run(&mut self, id: OperationId, tasks: impl IntoIterator<Item = u32>) {
        for task in tasks {
            self.task_started(id, task, 1);
            self.task_done(id, task, 1);
        }
    }

    pub(crate) fn paused(&mut self, id: OperationId, cause: PauseCause) {
        let at = self.tick();
        self.operation(id, OperationEvent::Paused { at, cause });
    }

    pub(crate) fn node_updated(&mut self, id: OperationId, name: &str) {
        let at = self.tick();
        let (from, to) = (version("1.0"), version("2.0"));
        self.operation(
            id,
            OperationEvent::NodeUpdated {
                at,
                node: node(name),
                from,
                to,
            },
        );
    }

    pub(crate) fn close_job(&mut self, id: OperationId, job: JobId, outcome: JobOutcome) {
        let at = self.tick();
        self.operation(id, OperationEvent::JobClosed { at, job, outcome });
    }

    pub(crate) fn end(&mut self, id: OperationId, end: OperationEnd) {
        let at = self.tick();
        self.operation(id, OperationEvent::ended(at, end));
        self.control(ControlEvent::OperationEnded { at, operation: id });
    }

    /// Task numbers of the plan's lanes.
    pub(crate) const INSTALL: [u32; 2] = [1, 2];
    pub(crate) const N2: [u32; 3] = [3, 4, 5];
    pub(crate) const N1: [u32; 3] = [7, 8, 9];

    /// A whole update, from the request to its end.
    pub(crate) fn update(&mut self) -> (OperationId, JobId) {
        let (id, job) = self.start_update();
        self.validated(id, vec![]);
        self.planned(id, plan());
        self.close_job(
            id,
            job,
            JobOutcome::Success {
                message: "started".to_owned(),
            },
        );
        self.run(id, Self::INSTALL);
        for (name, tasks) in [("n2", Self::N2), ("n1", Self::N1)] {
            self.run(id, tasks);
            self.boot(name, "2.0");
            self.node_updated(id, name);
        }
        let at = self.tick();
        self.operation(
            id,
            OperationEvent::PostChecked {
                at,
                findings: vec![],
            },
        );
        self.end(id, OperationEnd::Completed);
        (id, job)
    }
}
