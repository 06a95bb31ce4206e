//! Tells what happened, from the events of the record and what the hardware lived through.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_model::{
    CatalogueEvent, ControlEvent, Event, Finding, How, Lane, NodeName, OperationEnd,
    OperationEvent, OperationId, PauseCause, PausePoint, Plan, PlanEstimate, Severity, Step,
    StreamId, TaskEnd, TaskErrorKind, TaskId,
};
use evenkeel_record::Entry;
use evenkeel_simulation::Cluster;

/// Knows what was told already.
pub(crate) struct Narrator {
    told: usize,
    outages_begun: usize,
    outages_ended: usize,
    /// When tasks began, and what they are: `TaskEnded` names only their numbers.
    tasks: BTreeMap<(OperationId, TaskId), (String, Duration)>,
    plans: BTreeMap<OperationId, Vec<Lane>>,
    /// Steps of a plan that was too long for one event, until the rest is there.
    parts: Vec<Step>,
    /// In how many events they came.
    part_count: usize,
}

impl Narrator {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self {
            told: cluster.entries().len(),
            outages_begun: 0,
            outages_ended: 0,
            tasks: BTreeMap::new(),
            plans: BTreeMap::new(),
            parts: Vec::new(),
            part_count: 0,
        }
    }

    /// What happened since the last call, each line with the time since the story's begin.
    pub(crate) fn news(&mut self, cluster: &Cluster, now: Duration) -> Vec<String> {
        let mut lines = self.outages(cluster);
        if cluster.head().0 as usize > self.told {
            let entries = cluster.entries();
            let new: Vec<Entry> = entries[self.told..].to_vec();
            self.told = entries.len();
            for entry in &new {
                lines.extend(self.tell(entry, now));
            }
        }
        let time = clock(now);
        // Continuation lines are indented under the first one.
        let stamp = |line: String| match line.strip_prefix("  ") {
            Some(_) => format!("{:8} {line}", ""),
            None => format!("{time:>8} {line}"),
        };
        lines.into_iter().map(stamp).collect()
    }

    fn outages(&mut self, cluster: &Cluster) -> Vec<String> {
        let mut lines = Vec::new();
        cluster.hardware(|hardware, _| {
            let all: Vec<_> = hardware.incidents().cloned().collect();
            for outage in all.iter().skip(self.outages_begun) {
                let [one, other] = &outage.members;
                lines.push(format!("OUTAGE: neither {one} nor {other} serves"));
            }
            self.outages_begun = all.len();
            let ended: Vec<_> = all.iter().filter_map(|o| Some((o, o.until_ms?))).collect();
            for (outage, until) in ended.iter().skip(self.outages_ended) {
                let [one, other] = &outage.members;
                let seconds = (until - outage.from_ms) as f64 / 1000.0;
                lines.push(format!(
                    "one of {one} and {other} serves again, after {seconds:.1} s"
                ));
            }
            self.outages_ended = ended.len();
        });
        lines
    }

    fn tell(&mut self, entry: &Entry, now: Duration) -> Vec<String> {
        match Event::decode(entry.stream, &entry.body) {
            Ok(Event::Control(event)) => self.control(&event),
            Ok(Event::Catalogue(event)) => vec![catalogue(&event)],
            Ok(Event::Operation(event)) => match entry.stream {
                StreamId::Operation(id) => self.operation(id, &event, now),
                StreamId::Control | StreamId::Catalogue => Vec::new(),
            },
            Ok(_) => Vec::new(),
            Err(error) => vec![format!("an event that cannot be read: {error}")],
        }
    }

    fn control(&mut self, event: &ControlEvent) -> Vec<String> {
        match event {
            ControlEvent::CoordinatorElected { node, .. } => {
                vec![format!("{node} coordinates")]
            }
            ControlEvent::HandedOver { to, .. } => vec![format!("coordination goes to {to}")],
            ControlEvent::NodeBooted { node, version, .. } => {
                let version = version.as_ref().map_or("nothing readable", |v| v.as_str());
                vec![format!("{node} is up and runs {version}")]
            }
            _ => Vec::new(),
        }
    }

    fn operation(&mut self, id: OperationId, event: &OperationEvent, now: Duration) -> Vec<String> {
        match event {
            OperationEvent::Validated { findings, .. } => found("validated", findings),
            OperationEvent::PlanPart {
                steps, continues, ..
            } => {
                self.part(steps, *continues);
                Vec::new()
            }
            OperationEvent::Planned { plan, .. } => self.planned(id, plan),
            OperationEvent::Estimated { estimate, .. } => estimated(estimate),
            OperationEvent::TaskStarted { task, attempt, .. } => {
                let name = self.name_of(id, *task);
                let begun = || (name.clone(), now);
                let known = self.tasks.entry((id, *task)).or_insert_with(begun);
                match attempt {
                    1 => Vec::new(),
                    attempt => vec![format!("{}: attempt {attempt}", known.0)],
                }
            }
            OperationEvent::TaskEnded { task, end, .. } => self.ended(id, *task, end, now),
            OperationEvent::Restoring { node, .. } => {
                vec![format!("{node} is brought home")]
            }
            OperationEvent::PauseRequested { .. } => vec!["pause is pending".to_owned()],
            OperationEvent::Paused { cause, .. } => paused(cause),
            OperationEvent::Resumed { .. } => vec!["resumed".to_owned()],
            OperationEvent::CancelRequested { .. } => vec!["cancel is pending".to_owned()],
            OperationEvent::NodeUpdated { node, from, to, .. } => {
                vec![format!("{node} is updated from {from} to {to}")]
            }
            OperationEvent::PostChecked { findings, .. } => found("post-update checks", findings),
            OperationEvent::Ended { end, left, .. } => {
                let end = match end {
                    OperationEnd::Completed => "COMPLETED".to_owned(),
                    OperationEnd::Canceled => "CANCELED".to_owned(),
                    OperationEnd::Failed { code, message } => format!("FAILED, {code}: {message}"),
                };
                let left = left.iter().map(|left| format!("  {left}"));
                [end].into_iter().chain(left).collect()
            }
            _ => Vec::new(),
        }
    }

    fn part(&mut self, steps: &[Step], continues: bool) {
        let mut steps = steps.to_vec();
        if continues && let Some(last) = self.parts.last_mut() {
            last.lanes.extend(steps.remove(0).lanes);
        }
        self.parts.extend(steps);
        self.part_count += 1;
    }

    fn planned(&mut self, id: OperationId, plan: &Plan) -> Vec<String> {
        let mut steps = std::mem::take(&mut self.parts);
        steps.extend(plan.steps.clone());
        let lanes = self.plans.entry(id).or_default();
        lanes.extend(steps.iter().flat_map(|step| step.lanes.clone()));
        let parts = match std::mem::take(&mut self.part_count) {
            0 => String::new(),
            parts => format!(", in {} events", parts + 1),
        };
        let mut lines = vec![format!("planned, revision {}{parts}:", plan.revision)];
        for (number, step) in steps.iter_mut().enumerate() {
            let nodes: Vec<String> = step.lanes.iter().map(|l| l.node.to_string()).collect();
            let first = step.lanes.first().and_then(|lane| lane.tasks.first());
            let first = first.map_or("nothing", |task| task.action.name());
            let last = step.lanes.first().and_then(|lane| lane.tasks.last());
            let last = last.map_or("nothing", |task| task.action.name());
            let what = match first == last {
                true => first.to_owned(),
                false => format!("{first} ... {last}"),
            };
            lines.push(format!("  {}. {}: {what}", number + 1, nodes.join(", ")));
        }
        lines
    }

    fn name_of(&self, id: OperationId, task: TaskId) -> String {
        let lanes = self.plans.get(&id).into_iter().flatten();
        let mut tasks = lanes.flat_map(|l| l.tasks.iter().chain(&l.restore).chain(&l.undo));
        let found = tasks.find(|known| known.id == task);
        found.map_or(format!("task {task}"), |task| {
            format!("{} {}", task.node, task.action.name())
        })
    }

    fn ended(
        &mut self,
        id: OperationId,
        task: TaskId,
        end: &TaskEnd,
        now: Duration,
    ) -> Vec<String> {
        let unknown = || (format!("task {task}"), now);
        let (name, begun) = self.tasks.remove(&(id, task)).unwrap_or_else(unknown);
        let took = clock(now.saturating_sub(begun));
        match end {
            TaskEnd::Done { how } => {
                let how = match how {
                    How::Completed => "done",
                    How::AlreadyDone => "was done before",
                    How::Resumed => "done, taken up again",
                };
                vec![format!("{name} {how}, in {took}")]
            }
            TaskEnd::Failed { error } => {
                // A gate that is left is looked at anew.
                let is_left = error.kind == TaskErrorKind::Transient && name.contains("do-gate");
                let how = if is_left { "left" } else { "failed" };
                vec![
                    format!("{name} {how}, after {took}"),
                    format!("  {}", error.message),
                ]
            }
        }
    }
}

fn catalogue(event: &CatalogueEvent) -> String {
    match event {
        CatalogueEvent::PackageAdded { package, node, .. } => {
            format!("package {} came in on {node}", package.summary.version)
        }
        CatalogueEvent::PackageRemoved { .. } => "a package is to go from every node".to_owned(),
        CatalogueEvent::CopyDamaged { node, why, .. } => {
            format!("{node} put its copy of a package aside: {why}")
        }
        CatalogueEvent::CopyRestored { node, .. } => {
            format!("{node} has a whole copy of the package again")
        }
        CatalogueEvent::FirmwareAdded { firmware, node, .. } => {
            format!("{} came in on {node}", firmware.summary.name)
        }
        CatalogueEvent::FirmwareAsked { file, .. } => {
            format!("the firmware of {file} is asked for")
        }
        CatalogueEvent::FirmwareBegun { .. } => "the firmware update begins".to_owned(),
        CatalogueEvent::FirmwareWithdrawn { by, .. } => {
            format!("{by} withdraws a firmware update that waits")
        }
        CatalogueEvent::FirmwareUnpacked { node, .. } => {
            format!("{node} took the firmware out of a package")
        }
        CatalogueEvent::FirmwareRemoved { .. } => "firmware is to go from every node".to_owned(),
    }
}

fn estimated(estimate: &PlanEstimate) -> Vec<String> {
    let time = |seconds: u32| clock(Duration::from_secs(seconds.into()));
    let mut lines = vec![format!(
        "estimated: {}, nine of ten times at most {}",
        time(estimate.updates_s),
        time(estimate.updates_p90_s)
    )];
    lines.extend(estimate.moments.iter().map(|moment| {
        let nodes: Vec<&str> = moment.nodes.iter().map(NodeName::as_str).collect();
        let (from, what) = (time(moment.start_s), &moment.what);
        format!("  {from} {what}: {}", nodes.join(", "))
    }));
    lines
}

/// `h:mm:ss`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours}:{minutes:02}:{:02}", seconds % 60)
}

pub(crate) fn found(what: &str, findings: &[Finding]) -> Vec<String> {
    let mut lines = vec![match findings.len() {
        0 => format!("{what}: nothing found"),
        1 => format!("{what}: 1 finding"),
        n => format!("{what}: {n} findings"),
    }];
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        lines.push(format!(
            "  {severity}: {}: {}",
            finding.check, finding.issue
        ));
        lines.push(format!("    {}", finding.action));
    }
    lines
}

pub(crate) fn paused(cause: &PauseCause) -> Vec<String> {
    match cause {
        PauseCause::User { point } => {
            let point = match point {
                PausePoint::Validation => "validation",
                PausePoint::Install => "the image install",
                PausePoint::Takeover => "a takeover",
                PausePoint::Giveback => "a giveback",
            };
            vec![format!("PAUSED BY USER after {point}")]
        }
        PauseCause::Error { problem } => {
            let node = problem.node.as_ref().map(NodeName::as_str);
            vec![
                "PAUSED ON ERROR".to_owned(),
                format!("  node:   {}", node.unwrap_or("-")),
                format!("  error:  {}", problem.error),
                format!("  action: {}", problem.action),
            ]
        }
    }
}
