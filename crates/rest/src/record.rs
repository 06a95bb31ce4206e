//! The cluster as the record shows it, through the view that every node keeps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_api::{
    Acknowledgement, Code, Download, EstimateRecord, EventLine, Explain, Firmware, FirmwareHistory,
    OpenOperation,
};
use evenkeel_api::{GateSettings, History, Job, Key, Node, Package, Retention, Software, User};
use evenkeel_model::{
    Account, Awaiting, FirmwareStatus, JobId, NodeName, Position, Refusal, UserName, WallTime,
};
use evenkeel_orchestrator::FrontDoor;
use evenkeel_record::projections::{self as rows, At, OperationRow};
use evenkeel_record::{Entry, Follower, Record, Unavailable, View};
use evenkeel_seam::Clock;
use evenkeel_seam::watch;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{Cluster, EventStream, Picture};
use crate::devices::DeviceWatch;
use crate::live::LiveDownload;
use crate::{firmware, plan, project};

/// Events read at once for a client.
const PAGE: usize = 256;

/// Pause before the record is asked again when it did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// A node that has not reached the record for this long has no events to tell: who follows them goes on
/// elsewhere, and who wants them up to now learns that they cannot be had. Above a short outage, below anybody's
/// patience.
const CUT_OFF: Duration = Duration::from_secs(10);

/// Times that run are shown as of the last such step of the clock: for its length what is shown is the same for
/// all who ask. Far below the second that they are rounded to.
const STEP: Duration = Duration::from_millis(100);

/// Age of a picture whose record was never reached since the start: HTTP's "older than can be said".
const UNKNOWN_AGE: Duration = Duration::from_secs(1 << 31);

/// Shows what a node's view of the record holds.
pub struct RecordCluster {
    follower: Arc<Follower>,
    record: Arc<dyn Record>,
    clock: Arc<dyn Clock>,
    minute: Duration,
    live: LiveDownload,
    devices: Option<DeviceWatch>,
}

impl RecordCluster {
    /// `minute` is how long a minute of plans takes here: 60 s but in a lab.
    pub fn new(
        follower: Arc<Follower>,
        record: Arc<dyn Record>,
        clock: Arc<dyn Clock>,
        minute: Duration,
    ) -> Self {
        Self {
            follower,
            record,
            clock,
            minute,
            live: LiveDownload::default(),
            devices: None,
        }
    }

    /// Shows how far the download is that this node makes.
    #[must_use]
    pub fn with_live(mut self, live: LiveDownload) -> Self {
        self.live = live;
        self
    }

    /// Shows what nodes say of their devices' firmware.
    #[must_use]
    pub fn with_devices(mut self, admission: FrontDoor) -> Self {
        self.devices = Some(DeviceWatch::new(admission));
        self
    }

    fn view(&self) -> Arc<View> {
        self.follower.view()
    }

    fn time(&self) -> WallTime {
        self.clock.wall().floor(STEP)
    }

    fn at(&self) -> At {
        At::new(self.time()).with_minute(self.minute)
    }

    /// Says why an open operation is not further along; never nothing.
    fn explain_operation(
        &self,
        row: OperationRow,
        coordinator: Option<&str>,
        awaiting: &Result<Vec<Awaiting>, Refusal>,
    ) -> OpenOperation {
        let mut waiting = Vec::new();
        if let Some(why) = &row.quarantine {
            waiting.push(self.quarantined(&row, why));
        }
        if let Ok(awaiting) = awaiting {
            waiting.extend(
                awaiting
                    .iter()
                    .filter(|a| a.operation == Some(row.id))
                    .cloned(),
            );
        }
        if waiting.is_empty() {
            waiting.push(unsaid(&row, coordinator, awaiting.as_ref().err()));
        }
        let now = self.clock.wall();
        let waiting = waiting
            .into_iter()
            .map(|a| project::awaiting(a, now))
            .collect();
        project::open_operation(row, coordinator, waiting)
    }

    fn quarantined(&self, row: &OperationRow, why: &str) -> Awaiting {
        Awaiting {
            operation: Some(row.id),
            node: None,
            what: "a release that can read the operation's events".to_owned(),
            since: row.since,
            seen: Some(why.to_owned()),
            remaining: None,
            unblock: "bring every node to the newest version that runs in the cluster".to_owned(),
        }
    }
}

/// What is awaited when the coordinator does not say it.
fn unsaid(row: &OperationRow, coordinator: Option<&str>, refusal: Option<&Refusal>) -> Awaiting {
    let (what, unblock) = match coordinator {
        None => (
            "a coordinator",
            "the record is reachable and a node takes the lease",
        ),
        Some(_) if refusal.is_some() => (
            "the coordinator's answer",
            "it is reachable, or another node takes over",
        ),
        Some(_) => ("the coordinator's next step", "it comes by itself"),
    };
    Awaiting {
        operation: Some(row.id),
        node: None,
        what: what.to_owned(),
        since: row.since,
        seen: refusal.map(|refusal| refusal.message.clone()),
        remaining: None,
        unblock: unblock.to_owned(),
    }
}

fn unavailable(error: Unavailable) -> Refusal {
    let message = format!("The cluster's record is temporarily locked: {error}.");
    Refusal::new(Code::TemporarilyUnavailable.number(), message)
}

fn not_yet() -> Refusal {
    let message = "There is no cluster yet: no topology has been recorded.";
    Refusal::new(Code::TemporarilyUnavailable.number(), message)
}

#[async_trait]
impl Cluster for RecordCluster {
    async fn cluster(&self) -> Result<evenkeel_api::Cluster, Refusal> {
        rows::cluster(&self.view())
            .map(project::cluster)
            .ok_or_else(not_yet)
    }

    async fn nodes(&self) -> Result<Vec<Node>, Refusal> {
        Ok(rows::nodes(&self.view())
            .into_iter()
            .map(project::node)
            .collect())
    }

    async fn software(&self) -> Result<Software, Refusal> {
        let view = self.view();
        let mut software = project::software(rows::software(&view, self.at()));
        let devices = self.devices().await;
        firmware::add_to(&mut software, rows::firmware(&view), &devices);
        Ok(software)
    }

    async fn devices(&self) -> BTreeMap<NodeName, FirmwareStatus> {
        match &self.devices {
            Some(devices) => {
                let rows = rows::firmware(&self.view());
                let over = rows.iter().filter(|row| row.state.is_over()).count();
                BTreeMap::clone(&*devices.seen(over).await)
            }
            None => BTreeMap::new(),
        }
    }

    async fn packages(&self) -> Result<Vec<Package>, Refusal> {
        Ok(rows::packages(&self.view())
            .into_iter()
            .map(project::package)
            .collect())
    }

    async fn history(&self) -> Result<Vec<History>, Refusal> {
        Ok(rows::history(&self.view())
            .into_iter()
            .map(project::history)
            .collect())
    }

    async fn firmware_history(&self) -> Result<Vec<FirmwareHistory>, Refusal> {
        Ok(rows::firmware(&self.view())
            .into_iter()
            .map(firmware::history)
            .collect())
    }

    async fn firmware(&self) -> Result<Firmware, Refusal> {
        let view = self.view();
        let waiting = view.catalogue().firmware_queue().into_iter();
        let packages = view.catalogue().packages.values();
        Ok(Firmware {
            background: !view.control().firmware_spares_only,
            waiting: waiting.map(firmware::waiting).collect(),
            begun: firmware::begun(rows::firmware(&view)),
            refused: packages.flat_map(firmware::refused).collect(),
        })
    }

    async fn download(&self) -> Result<Download, Refusal> {
        let row = rows::download(&self.view());
        let live = row
            .as_ref()
            .and_then(|row| self.live.describe(row.operation));
        Ok(project::download(row, live))
    }

    async fn jobs(&self) -> Result<Vec<Job>, Refusal> {
        Ok(rows::jobs(&self.view())
            .into_iter()
            .map(project::job)
            .collect())
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, Refusal> {
        Ok(rows::job(&self.view(), id).map(project::job))
    }

    async fn wait_job(&self, id: JobId, limit: Duration) -> Result<Option<Job>, Refusal> {
        let mut views = self.follower.views();
        let is_over = |view: &Arc<View>| rows::job(view, id).is_some_and(|job| job.state.is_over());
        // Neither running out of time nor the end of the follower is an answer about the job.
        drop(timeout(limit, views.wait_for(is_over)).await);
        self.job(id).await
    }

    async fn account(&self, user: &UserName) -> Result<Option<Account>, Refusal> {
        let view = self.view();
        if view.control().topology.is_none() {
            // Knowing no users yet is no reason to call someone a stranger: clients give up on that.
            return Err(not_yet());
        }
        Ok(view.control().users.get(user).cloned())
    }

    async fn users(&self) -> Result<Vec<User>, Refusal> {
        let view = self.view();
        Ok(view.control().users.iter().map(project::user).collect())
    }

    async fn keys(&self) -> Result<Vec<Key>, Refusal> {
        let view = self.view();
        let keys = view.control().trusted_keys.iter();
        Ok(keys.map(project::key).collect())
    }

    async fn acknowledgements(&self) -> Result<Vec<Acknowledgement>, Refusal> {
        let view = self.view();
        let known = view.control().acknowledged.iter();
        Ok(known.map(project::acknowledgement).collect())
    }

    async fn retention(&self) -> Result<Retention, Refusal> {
        let keep = self.view().control().retention;
        Ok(Retention { keep })
    }

    async fn gates(&self) -> Result<GateSettings, Refusal> {
        let view = self.view();
        let gates = &view.control().gates;
        Ok(GateSettings {
            conditions: gates.conditions.iter().map(ToString::to_string).collect(),
            hold_minutes: gates.hold_minutes,
            longest_minutes: gates.longest_minutes,
        })
    }

    async fn estimates(&self) -> Result<Vec<EstimateRecord>, Refusal> {
        let rows = rows::estimates(&self.view()).into_iter();
        Ok(rows.map(|row| plan::record(row, self.minute)).collect())
    }

    async fn explain(&self, awaiting: Result<Vec<Awaiting>, Refusal>) -> Result<Explain, Refusal> {
        let view = self.view();
        let coordinator = view
            .control()
            .coordinator
            .as_ref()
            .map(|by| by.node.as_str());
        let explain = |row| self.explain_operation(row, coordinator, &awaiting);
        let operations = rows::open_operations(&view)
            .into_iter()
            .map(explain)
            .collect();
        let now = self.clock.wall();
        let of_cluster = awaiting.iter().flatten().filter(|a| a.operation.is_none());
        let waiting = of_cluster
            .cloned()
            .map(|a| project::awaiting(a, now))
            .collect();
        let age_seconds = self.age().map(|age| age.as_secs());
        Ok(Explain {
            left: rows::left_behind(&view).map(project::left),
            operations,
            waiting,
            age_seconds,
        })
    }

    async fn events(&self, since: u64, follow: bool) -> Result<EventStream, Refusal> {
        if !follow {
            // An end must not be taken for the end of what there is.
            self.refresh().await?;
        }
        let reader = Reader {
            record: Arc::clone(&self.record),
            views: self.follower.views(),
            position: Position(since),
            follow,
            follower: Arc::clone(&self.follower),
            clock: Arc::clone(&self.clock),
        };
        let pages = stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match reader.next_page().await? {
                Ok(page) => Some((page.into_iter().map(line).map(Ok).collect(), Some(reader))),
                Err(refusal) => Some((vec![Err(refusal)], None)),
            }
        });
        Ok(pages.flat_map(stream::iter).boxed())
    }

    async fn refresh(&self) -> Result<(), Refusal> {
        self.follower.refresh().await.map(drop).map_err(unavailable)
    }

    fn picture(&self) -> Option<Picture> {
        Some(Picture::new(self.view(), self.time()))
    }

    fn age(&self) -> Option<Duration> {
        let contact = self.follower.contact();
        if contact.is_reachable() {
            return None;
        }
        Some(contact.age(self.clock.monotonic()).unwrap_or(UNKNOWN_AGE))
    }
}

/// Reads events for one client.
struct Reader {
    record: Arc<dyn Record>,
    views: watch::Receiver<Arc<View>>,
    position: Position,
    follow: bool,
    follower: Arc<Follower>,
    clock: Arc<dyn Clock>,
}

impl Reader {
    /// Whether events happen that this node does not learn of.
    fn is_cut_off(&self) -> bool {
        let contact = self.follower.contact();
        let age = contact.age(self.clock.monotonic());
        !contact.is_reachable() && age.is_none_or(|age| age >= CUT_OFF)
    }

    /// The next events; waits for them if the client follows. `None` at the end, which for a client that
    /// follows means: not here any more. One that does not follow has an error then, since to it an end is the end
    /// of what there is.
    async fn next_page(&mut self) -> Option<Result<Vec<Entry>, Refusal>> {
        let begun = Instant::now();
        loop {
            self.views.mark_unchanged();
            match self.record.read_since(self.position, PAGE).await {
                Ok(page) => {
                    if let Some(last) = page.last() {
                        self.position = last.position;
                        return Some(Ok(page));
                    }
                    if !self.follow {
                        return None;
                    }
                    tokio::select! {
                        changed = self.views.changed() => changed.ok()?,
                        () = sleep(CUT_OFF) => {}
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "events have to wait");
                    if !self.follow && begun.elapsed() >= CUT_OFF {
                        return Some(Err(unavailable(error)));
                    }
                    sleep(RETRY).await;
                }
            }
            if self.follow && self.is_cut_off() {
                return None;
            }
        }
    }
}

fn line(entry: Entry) -> EventLine {
    let mut event: Value =
        serde_json::from_str(&entry.body).unwrap_or_else(|_| Value::String(entry.body.clone()));
    hide_passwords(&mut event);
    EventLine {
        seq: entry.position.0,
        time: event.get("at").and_then(Value::as_str).map(str::to_owned),
        stream: entry.stream.to_string(),
        event,
    }
}

/// Hashes are nobody's business, wherever in an event they are.
fn hide_passwords(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                match name.as_str() {
                    "password_hash" => *inner = Value::String("(hidden)".to_owned()),
                    _ => hide_passwords(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_passwords),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
