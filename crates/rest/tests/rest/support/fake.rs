//! A cluster in memory: two nodes, two packages, one job of each kind at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_api::{
    Acknowledgement, Action, CheckStatus, Cluster, Download, DownloadState, EventLine, Explain,
    Firmware, FirmwareHistory, GateSettings, Ha, History, HistoryState, Issue, Job, JobError,
    JobState, Key, KeyState, NewAcknowledgement, NewKey, Node, NodeName, NodeRef, Package,
    ReleaseVersion, Resource, Retention, Software, SoftwareImage, SoftwareNode, UpdateDetails,
    UpdateState, User, ValidationResult,
};
use evenkeel_api::{EstimateRecord, PlanPreview};
use evenkeel_download::Source;
use evenkeel_model::{
    Account, AccountChange, Awaiting, Digest, JobId, PackagesStatus, Refusal, Role, UpdateRequest,
    UserName, Version, code,
};
use evenkeel_orchestrator::{GatesChange, UserChange};
use evenkeel_rest::{EventStream, Upload, UploadError};
use evenkeel_seam::watch;
use evenkeel_seam::{Ids, SeededIds};
use futures_util::StreamExt;
use tokio::sync::Semaphore;

pub(crate) const USER: &str = "admin";
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const NODE_A: &str = "11111111-1111-4111-8111-111111111111";
pub(crate) const NODE_B: &str = "22222222-2222-4222-8222-222222222222";

static HASH: LazyLock<String> = LazyLock::new(|| evenkeel_rest::hash_password(PASSWORD).unwrap());

#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) software: Software,
    pub(crate) packages: Vec<Package>,
    pub(crate) history: Vec<History>,
    /// What nodes say of their devices.
    pub(crate) devices: BTreeMap<evenkeel_model::NodeName, evenkeel_model::FirmwareStatus>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) users: BTreeMap<UserName, Account>,
    pub(crate) keys: Vec<Key>,
    /// Users of the record that this node has not read yet.
    pub(crate) unread_users: BTreeMap<UserName, Account>,
    /// Every change asked for, in words.
    pub(crate) asked: Vec<String>,
    /// What the next change is refused with.
    pub(crate) refuse: Option<Refusal>,
    /// What the coordinator says it waits for.
    pub(crate) awaiting: Vec<Awaiting>,
    /// How often the record was read.
    pub(crate) refreshed: usize,
    /// Why the record cannot be reached.
    pub(crate) unreachable: Option<Refusal>,
    /// Uploads that were admitted.
    pub(crate) admitted: usize,
    /// Bytes of the last upload, and whether it was dropped before its end.
    pub(crate) uploaded: usize,
    pub(crate) given_up: bool,
    /// Why the handler gave it up, if it did.
    pub(crate) gave_up_for: Option<u32>,
    /// Bytes that an upload may have.
    pub(crate) room: Option<u64>,
}

pub(crate) struct Fake {
    pub(crate) state: Arc<Mutex<State>>,
    /// An upload that was admitted is told so only through here.
    pub(crate) gate: Semaphore,
    changed: watch::Sender<u64>,
    ids: SeededIds,
}

fn time(second: u32) -> String {
    format!("2026-01-01T00:00:{second:02}+00:00")
}

impl Fake {
    pub(crate) fn new() -> Self {
        let package = |version: &str, second| Package {
            version: version.to_owned(),
            create_time: Some(time(second)),
        };
        let node = |name: &str| SoftwareNode {
            firmware: None,
            name: name.to_owned(),
            version: "9.9.1".to_owned(),
            software_images: Some(vec![SoftwareImage {
                package: "image.tgz".to_owned(),
            }]),
        };
        let state = State {
            software: Software {
                version: Some("9.9.1".to_owned()),
                nodes: vec![node("a"), node("b")],
                ..Software::default()
            },
            packages: vec![
                package("9.10.1", 2),
                package("9.9.1", 1),
                package("odd name+x", 3),
            ],
            users: BTreeMap::from([(UserName::new(USER).unwrap(), admin(HASH.clone()))]),
            history: vec![history("a", NODE_A, 1), history("b", NODE_B, 2)],
            ..State::default()
        };
        let ids = SeededIds::new(7);
        Self {
            state: Arc::new(Mutex::new(state)),
            gate: Semaphore::new(1000),
            changed: watch::channel(0).0,
            ids,
        }
    }

    pub(crate) fn edit<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        let result = edit(&mut self.state.lock().unwrap());
        self.changed.send_modify(|n| *n += 1);
        result
    }

    fn see<T>(&self, see: impl FnOnce(&State) -> T) -> T {
        see(&self.state.lock().unwrap())
    }

    pub(crate) fn open_job(&self, description: &str, asked: String) -> Result<JobId, Refusal> {
        let id = JobId(self.ids.uuid());
        self.edit(|state| {
            if let Some(refusal) = state.refuse.take() {
                return Err(refusal);
            }
            state.asked.push(asked);
            state.jobs.push(Job {
                uuid: id.to_string(),
                description: description.to_owned(),
                state: JobState::Running,
                message: "running".to_owned(),
                code: 0,
                start_time: time(10),
                end_time: None,
                error: None,
            });
            Ok(id)
        })
    }

    pub(crate) fn end_job(&self, id: &str, failure: Option<(u32, &str)>) {
        self.edit(|state| {
            let job = state.jobs.iter_mut().find(|job| job.uuid == id).unwrap();
            job.end_time = Some(time(20));
            (job.state, job.message) = (JobState::Success, "success".to_owned());
            if let Some((code, message)) = failure {
                (job.state, job.message, job.code) = (JobState::Failure, message.to_owned(), code);
                let (message, code) = (message.to_owned(), code.to_string());
                job.error = Some(JobError {
                    message,
                    code,
                    target: None,
                });
            }
        });
    }

    /// Puts an update in progress, as the record would show it.
    pub(crate) fn show_update(&self, to: &str, phase_state: UpdateState) {
        self.edit(|state| {
            state.software.pending_version = Some(to.to_owned());
            state.software.state = Some(phase_state);
            state.software.validation_results = Some(vec![ValidationResult {
                update_check: "Manual checks".to_owned(),
                status: CheckStatus::Warning,
                issue: Issue {
                    message: "look at it".to_owned(),
                },
                action: evenkeel_api::Advice {
                    message: "do it".to_owned(),
                },
            }]);
            state.software.update_details = Some(vec![UpdateDetails {
                phase: "Data ONTAP updates".to_owned(),
                state: phase_state,
                estimated_duration: Some(600),
                elapsed_duration: Some(10),
                node: NodeName {
                    name: "a".to_owned(),
                },
            }]);
        });
    }
}

/// An admin with that password.
pub(crate) fn admin(password_hash: String) -> Account {
    Account {
        role: Role::Admin,
        password_hash: Some(password_hash),
        certificate: false,
        set_at: serde_json::from_value("2026-01-01T00:00:00Z".into()).unwrap(),
        set_by: None,
    }
}

fn history(name: &str, uuid: &str, second: u32) -> History {
    History {
        node: NodeRef::new(name, uuid),
        start_time: time(second),
        end_time: Some(time(second + 1)),
        from_version: "9.8".to_owned(),
        to_version: "9.9.1".to_owned(),
        state: HistoryState::Successful,
    }
}

#[async_trait]
impl evenkeel_rest::Cluster for Fake {
    async fn cluster(&self) -> Result<Cluster, Refusal> {
        Ok(Cluster {
            name: "lab".to_owned(),
            uuid: "33333333-3333-4333-8333-333333333333".to_owned(),
            version: ReleaseVersion::of("9.9.1"),
        })
    }

    async fn nodes(&self) -> Result<Vec<Node>, Refusal> {
        let node = |name: &str, uuid: &str, partner: NodeRef| Node {
            uuid: uuid.to_owned(),
            name: name.to_owned(),
            serial_number: Some(format!("serial-{name}")),
            system_id: Some(format!("system-{name}")),
            model: None,
            version: ReleaseVersion::of("9.9.1"),
            state: Some("up".to_owned()),
            ha: Some(Ha {
                partners: vec![partner],
            }),
        };
        let (a, b) = (NodeRef::new("a", NODE_A), NodeRef::new("b", NODE_B));
        Ok(vec![node("a", NODE_A, b), node("b", NODE_B, a)])
    }

    async fn software(&self) -> Result<Software, Refusal> {
        Ok(self.see(|state| state.software.clone()))
    }

    async fn packages(&self) -> Result<Vec<Package>, Refusal> {
        Ok(self.see(|state| state.packages.clone()))
    }

    async fn history(&self) -> Result<Vec<History>, Refusal> {
        Ok(self.see(|state| state.history.clone()))
    }

    async fn firmware_history(&self) -> Result<Vec<FirmwareHistory>, Refusal> {
        Ok(Vec::new())
    }

    async fn firmware(&self) -> Result<Firmware, Refusal> {
        Ok(Firmware::default())
    }

    async fn devices(
        &self,
    ) -> std::collections::BTreeMap<evenkeel_model::NodeName, evenkeel_model::FirmwareStatus> {
        self.see(|state| state.devices.clone())
    }

    async fn download(&self) -> Result<Download, Refusal> {
        Ok(Download {
            state: DownloadState::NotStarted,
            message: None,
            code: None,
        })
    }

    async fn jobs(&self) -> Result<Vec<Job>, Refusal> {
        Ok(self.see(|state| state.jobs.clone()))
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, Refusal> {
        let id = id.to_string();
        Ok(self.see(|state| state.jobs.iter().find(|job| job.uuid == id).cloned()))
    }

    async fn wait_job(&self, id: JobId, limit: Duration) -> Result<Option<Job>, Refusal> {
        let mut changed = self.changed.subscribe();
        let ended = async {
            loop {
                let job = self.job(id).await?;
                if job.as_ref().is_none_or(|job| job.state.is_terminal()) {
                    return Ok(job);
                }
                changed.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(limit, ended).await {
            Ok(job) => job,
            Err(_) => self.job(id).await,
        }
    }

    async fn account(&self, user: &UserName) -> Result<Option<Account>, Refusal> {
        Ok(self.see(|state| state.users.get(user).cloned()))
    }

    async fn users(&self) -> Result<Vec<User>, Refusal> {
        let user = |(name, account): (&UserName, &Account)| User {
            name: name.to_string(),
            role: account.role.to_string(),
            password: account.password_hash.is_some(),
            certificate: account.certificate,
            changed_at: time(1),
            changed_by: None,
        };
        Ok(self.see(|state| state.users.iter().map(user).collect()))
    }

    async fn refresh(&self) -> Result<(), Refusal> {
        match self.see(|state| state.unreachable.clone()) {
            Some(refusal) => Err(refusal),
            None => {
                self.edit(|state| {
                    state.refreshed += 1;
                    state.users.append(&mut state.unread_users);
                });
                Ok(())
            }
        }
    }

    fn age(&self) -> Option<Duration> {
        self.see(|state| state.unreachable.as_ref().map(|_| Duration::from_secs(7)))
    }

    async fn keys(&self) -> Result<Vec<Key>, Refusal> {
        Ok(self.see(|state| state.keys.clone()))
    }

    async fn gates(&self) -> Result<GateSettings, Refusal> {
        Ok(GateSettings::default())
    }

    async fn acknowledgements(&self) -> Result<Vec<Acknowledgement>, Refusal> {
        Ok(Vec::new())
    }

    async fn retention(&self) -> Result<Retention, Refusal> {
        Ok(Retention::default())
    }

    async fn estimates(&self) -> Result<Vec<EstimateRecord>, Refusal> {
        Ok(vec![EstimateRecord {
            uuid: "operation".to_owned(),
            job: Some("job".to_owned()),
            version: "9.11.1".to_owned(),
            requested_at: time(1),
            requested_by: "admin".to_owned(),
            estimate: None,
        }])
    }

    async fn explain(&self, _: Result<Vec<Awaiting>, Refusal>) -> Result<Explain, Refusal> {
        Ok(Explain::default())
    }

    async fn events(&self, since: u64, follow: bool) -> Result<EventStream, Refusal> {
        let line = |seq: u64| EventLine {
            seq,
            time: Some(time(seq as u32)),
            stream: "control".to_owned(),
            event: serde_json::json!({"type": "node_booted"}),
        };
        let held =
            futures_util::stream::iter((1..=3).filter(move |seq| *seq > since).map(line).map(Ok));
        if follow {
            return Ok(held.chain(futures_util::stream::pending()).boxed());
        }
        Ok(held.boxed())
    }
}

#[async_trait]
impl evenkeel_rest::FrontDoor for Fake {
    async fn update(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        let asked = format!(
            "{by}: update {} skip={} stabilize={} pause={:?}",
            request.version, request.skip_warnings, request.stabilize_minutes, request.pause_after
        );
        let nodes: Vec<&str> = request.nodes.iter().map(|node| node.as_str()).collect();
        let first = request.first.as_ref().map_or("-", |node| node.as_str());
        let asked = match (request.force_rolling, nodes.is_empty(), first) {
            (false, true, "-") => asked,
            (rolling, _, _) => format!("{asked} rolling={rolling} nodes={nodes:?} first={first}"),
        };
        self.open_job("PATCH /api/cluster/software", asked)
    }

    async fn estimate(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        let asked = format!("{by}: estimate {}", request.version);
        self.open_job("PATCH /api/cluster/software?estimate_only=true", asked)
    }

    async fn preview(&self, request: UpdateRequest, _: UserName) -> Result<PlanPreview, Refusal> {
        let refused = evenkeel_api::PlanRefusal {
            code: "1".to_owned(),
            message: format!("{request:?}"),
        };
        Ok(PlanPreview {
            findings: Vec::new(),
            version: request.version.to_string(),
            estimate: None,
            refused: Some(refused),
            validation_results: Vec::new(),
            blocked: None,
        })
    }

    async fn validate(&self, request: UpdateRequest, by: UserName) -> Result<JobId, Refusal> {
        self.open_job(
            "PATCH /api/cluster/software",
            format!("{by}: validate {}", request.version),
        )
    }

    async fn act(&self, action: Action, by: UserName) -> Result<JobId, Refusal> {
        self.open_job("PATCH /api/cluster/software", format!("{by}: {action:?}"))
    }

    async fn delete_package(&self, version: Version, by: UserName) -> Result<JobId, Refusal> {
        let description = format!("DELETE {}/{version}", Package::PATH);
        if !self.see(|s| s.packages.iter().any(|p| p.version == version.as_str())) {
            return Err(Refusal::new(
                code::NO_PACKAGE,
                "Package does not exist on the system.",
            ));
        }
        self.open_job(&description, format!("{by}: delete {version}"))
    }

    async fn may_upload(&self, declared: Option<u64>) -> Result<(), Refusal> {
        match self.see(|state| state.room) {
            Some(room) if declared.is_some_and(|bytes| bytes > room) => {
                Err(Refusal::new(code::NO_SPACE, "There is no room."))
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn download(&self, source: Source, by: UserName) -> Result<JobId, Refusal> {
        let shown = source.shown();
        let description = "POST /api/cluster/software/download";
        self.open_job(description, format!("{by}: get {shown}"))
    }

    async fn upload(
        &self,
        _declared: Option<u64>,
        _file: Option<String>,
        _by: UserName,
    ) -> Result<Box<dyn Upload>, Refusal> {
        if let Some(refusal) = self.edit(|state| state.refuse.take()) {
            return Err(refusal);
        }
        let job = JobId(self.ids.uuid());
        self.edit(|state| {
            (state.uploaded, state.given_up) = (0, false);
            state.admitted += 1;
        });
        self.gate.acquire().await.unwrap().forget();
        Ok(Box::new(FakeUpload {
            state: Arc::clone(&self.state),
            job,
            done: false,
        }))
    }

    async fn trust_key(&self, new: NewKey, by: UserName) -> Result<String, Refusal> {
        let key = Key {
            id: "key-1".to_owned(),
            name: new.name,
            state: KeyState::Trusted,
            trusted_at: time(1),
            trusted_by: Some(by.to_string()),
            revoked_at: None,
            revoked_by: None,
            public_key: new.public_key,
        };
        self.edit(|state| state.keys.push(key));
        Ok("key-1".to_owned())
    }

    async fn revoke_key(&self, _: &str, _: UserName) -> Result<(), Refusal> {
        Err(Refusal::new(code::NO_ENTRY, "Not here."))
    }

    async fn set_gates(&self, _: GatesChange, _: UserName) -> Result<(), Refusal> {
        Ok(())
    }

    async fn acknowledge(&self, _: NewAcknowledgement, _: UserName) -> Result<(), Refusal> {
        Err(Refusal::new(code::NO_ENTRY, "Not here."))
    }

    async fn withdraw_acknowledgement(&self, _: &str, _: UserName) -> Result<(), Refusal> {
        Err(Refusal::new(code::NO_ENTRY, "Not here."))
    }

    async fn set_retention(&self, _: Option<u32>, _: UserName) -> Result<(), Refusal> {
        Err(Refusal::new(code::NO_ENTRY, "Not here."))
    }

    async fn create_user(
        &self,
        user: &UserName,
        _: AccountChange,
        by: UserName,
    ) -> Result<(), Refusal> {
        self.edit(|state| state.asked.push(format!("{by}: create {user}")));
        Ok(())
    }

    async fn change_user(
        &self,
        user: &UserName,
        _: UserChange,
        by: UserName,
    ) -> Result<(), Refusal> {
        self.edit(|state| state.asked.push(format!("{by}: change {user}")));
        Ok(())
    }

    async fn delete_user(&self, user: &UserName, by: UserName) -> Result<(), Refusal> {
        self.edit(|state| state.asked.push(format!("{by}: delete {user}")));
        Ok(())
    }

    async fn cancel_firmware(&self, job: JobId, by: UserName) -> Result<(), Refusal> {
        self.edit(|state| state.asked.push(format!("{by}: cancel firmware {job}")));
        Ok(())
    }

    async fn withdraw_firmware(&self, _: Digest, _: UserName) -> Result<(), Refusal> {
        Err(Refusal::new(code::NO_ENTRY, "Not here."))
    }

    async fn set_background_firmware(&self, _: bool, _: UserName) -> Result<(), Refusal> {
        Ok(())
    }

    async fn awaiting(&self) -> Result<Vec<Awaiting>, Refusal> {
        Ok(self.see(|state| state.awaiting.clone()))
    }

    async fn transfers(&self) -> Vec<(evenkeel_model::NodeName, Option<PackagesStatus>)> {
        let room = PackagesStatus {
            room: Some(5),
            ..PackagesStatus::default()
        };
        let name = |name| evenkeel_model::NodeName::new(name).unwrap();
        vec![(name("n1"), Some(room)), (name("n2"), None)]
    }
}

struct FakeUpload {
    state: Arc<Mutex<State>>,
    job: JobId,
    done: bool,
}

impl FakeUpload {
    fn end_badly(&self, message: &str) {
        let code = code::PROCESSING_FAILED;
        self.state.lock().unwrap().jobs.push(Job {
            uuid: self.job.to_string(),
            description: "POST /api/cluster/software/upload".to_owned(),
            state: JobState::Failure,
            message: message.to_owned(),
            code,
            start_time: time(1),
            end_time: Some(time(2)),
            error: Some(JobError {
                message: message.to_owned(),
                code: code.to_string(),
                target: None,
            }),
        });
    }
}

#[async_trait]
impl Upload for FakeUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<(), UploadError> {
        if chunk.starts_with(b"bad") {
            self.end_badly("The signature is wrong.");
            return Err(UploadError::Failed(self.job));
        }
        if chunk.starts_with(b"full") {
            let refusal = Refusal::new(code::NO_SPACE, "There is no room any more.");
            return Err(UploadError::Refused(refusal));
        }
        self.state.lock().unwrap().uploaded += chunk.len();
        Ok(())
    }

    async fn give_up(self: Box<Self>, why: Refusal) {
        self.state.lock().unwrap().gave_up_for = Some(why.code);
    }

    async fn finish(mut self: Box<Self>) -> Result<JobId, UploadError> {
        self.done = true;
        let mut state = self.state.lock().unwrap();
        state.jobs.push(Job {
            uuid: self.job.to_string(),
            description: "POST /api/cluster/software/upload".to_owned(),
            state: JobState::Success,
            message: "success".to_owned(),
            code: 0,
            start_time: time(1),
            end_time: Some(time(2)),
            error: None,
        });
        let version = "9.11.1".to_owned();
        state.packages.push(Package {
            version,
            create_time: Some(time(5)),
        });
        Ok(self.job)
    }
}

impl Drop for FakeUpload {
    fn drop(&mut self) {
        if !self.done {
            self.state.lock().unwrap().given_up = true;
        }
    }
}
