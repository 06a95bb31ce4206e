//! Writes packages into slots, for the agent.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_agent::{InstallError, InstallRequest, Installer};
use evenkeel_model::{Digest, Progress, SourceVersions, Version};
use evenkeel_package_store::{ExtractError, ExtractRequest, Policy, Store, read_slot_manifest};
use evenkeel_record::View;
use evenkeel_rest::PackagePolicy;
use evenkeel_seam::watch;

use crate::cancel::CancelOnDrop;
use crate::errand::{self, Errand, Underway};
use crate::error::chain;
use crate::slot_writer::{self, Demands, SlotJob, Told};

/// Pause between two looks at a slot that another extraction writes to.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// How often: an extraction that was told to stop does so at its next chunk, so a minute is ample.
const BUSY_LOOKS: u32 = 300;

/// Extracts from the store.
pub(crate) struct SlotInstaller {
    pub(crate) policy: PackagePolicy,
    pub(crate) store: Store,
    pub(crate) views: watch::Receiver<Arc<View>>,
}

#[async_trait]
impl Installer for SlotInstaller {
    async fn install(
        &self,
        request: &InstallRequest,
        progress: &watch::Sender<Progress>,
    ) -> Result<(), InstallError> {
        self.may_follow(request)?;
        // Signature, platform, variant and features are checked against it before the first byte is written.
        let policy = self.policy.at(&self.views.borrow());
        let mut looks = 0;
        loop {
            match self
                .extract(request, policy.clone(), progress.clone())
                .await
            {
                Ok(()) => return Ok(()),
                Err(Not::Installed(error)) => return Err(error),
                Err(Not::Yet) if looks < BUSY_LOOKS => {
                    looks += 1;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(Not::Yet) => {
                    let slot = request.path.display();
                    return Err(InstallError::Failed(format!(
                        "{slot} is being written by another extraction"
                    )));
                }
            }
        }
    }
}

impl SlotInstaller {
    /// Whether the package may be installed beside what runs: its source versions say so, or it is what runs.
    /// Checked here too, since what a node runs may have changed after the cluster was checked.
    fn may_follow(&self, request: &InstallRequest) -> Result<(), InstallError> {
        let Some(stored) = self.store.get(request.package) else {
            // The extraction says so.
            return Ok(());
        };
        let summary = &stored.summary;
        if summary.source_versions == SourceVersions::Any {
            return Ok(());
        }
        let runs = running_version(request)?;
        if runs == summary.version || summary.source_versions.allows(&runs) {
            return Ok(());
        }
        let (node, version) = (&self.policy.node, &summary.version);
        Err(InstallError::Refused(format!(
            "node \"{node}\" runs {runs}, from which {version} cannot be reached"
        )))
    }

    async fn extract(
        &self,
        request: &InstallRequest,
        policy: Policy,
        progress: watch::Sender<Progress>,
    ) -> Result<(), Not> {
        match errand::helpers() {
            Some(folder) => {
                self.have_extracted(&folder, request, &policy, progress)
                    .await
            }
            None => self.extract_here(request, policy, progress).await,
        }
    }

    /// On a thread of this process, which may write what it likes.
    async fn extract_here(
        &self,
        request: &InstallRequest,
        policy: Policy,
        progress: watch::Sender<Progress>,
    ) -> Result<(), Not> {
        let (store, request) = (self.store.clone(), request.clone());
        let canceled = Arc::new(AtomicBool::new(false));
        let _cancel = CancelOnDrop(Arc::clone(&canceled));
        let work = move || {
            let extract = ExtractRequest {
                slot_dir: &request.path,
                running: Some(&request.running),
                expected: Some(request.package),
                policy: &policy,
            };
            let mut report = |at| {
                progress.send_replace(slot_writer::progress(at));
            };
            store
                .extract(request.package, extract, &mut report, &canceled)
                .map(drop)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(outcome) => outcome.map_err(Not::from),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// By the process that has the privileges.
    async fn have_extracted(
        &self,
        helpers: &Path,
        request: &InstallRequest,
        policy: &Policy,
        progress: watch::Sender<Progress>,
    ) -> Result<(), Not> {
        let failed = |why: String| Not::Installed(InstallError::Failed(why));
        let archive = self.store.archive_path(request.package);
        let job = SlotJob {
            archive: archive.map_err(|error| failed(chain(&error)))?,
            package: request.package,
            slot: request.path.clone(),
            running: request.running.clone(),
            demands: Demands::from(policy),
        };
        let underway = Underway::begin_at(helpers, Errand::Slot, &job).await;
        let mut underway = underway.map_err(failed)?;
        let outcome = loop {
            match underway.next().await {
                Ok(Told::Progress(at)) => drop(progress.send_replace(at)),
                Ok(Told::Written) => break Ok(()),
                Ok(Told::Busy) => break Err(Not::Yet),
                Ok(Told::Forbidden { why }) => {
                    break Err(Not::Installed(InstallError::Refused(why)));
                }
                Ok(Told::Refused { why }) => break Err(self.blamed(request.package, why).await),
                Ok(Told::Failed { why }) | Err(why) => break Err(failed(why)),
            }
        };
        underway.end().await;
        outcome
    }

    /// A package that was good when it came in may have rotted since: its copy is set aside then.
    async fn blamed(&self, package: Digest, why: String) -> Not {
        let store = self.store.clone();
        let canceled = Arc::new(AtomicBool::new(false));
        let _cancel = CancelOnDrop(Arc::clone(&canceled));
        let work = move || store.set_aside_if_damaged(package, &canceled);
        let error = match tokio::task::spawn_blocking(work).await {
            Ok(Some(damaged)) => InstallError::Failed(chain(&damaged)),
            Ok(None) => InstallError::Refused(why),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        Not::Installed(error)
    }
}

/// Why a package is not in the slot.
#[derive(Debug, PartialEq, Eq)]
enum Not {
    /// Another extraction writes there.
    Yet,
    /// It will not be by waiting.
    Installed(InstallError),
}

impl From<ExtractError> for Not {
    fn from(error: ExtractError) -> Self {
        match error {
            ExtractError::Busy { .. } => Self::Yet,
            error => Self::Installed(refuse(error)),
        }
    }
}

fn running_version(request: &InstallRequest) -> Result<Version, InstallError> {
    let slot = request.running.display();
    match read_slot_manifest(&request.running) {
        Ok(Some((_, manifest))) => Ok(manifest.version),
        Ok(None) => Err(InstallError::Refused(format!(
            "what runs cannot be told, and with it whether the package may follow: {slot} has no manifest"
        ))),
        Err(error) => Err(InstallError::Failed(chain(&error))),
    }
}

fn refuse(error: ExtractError) -> InstallError {
    let text = chain(&error);
    match error {
        ExtractError::Running { .. }
        | ExtractError::WrongPackage { .. }
        | ExtractError::Refused(_) => InstallError::Refused(text),
        ExtractError::Busy { .. }
        | ExtractError::Store(_)
        | ExtractError::NoSpace { .. }
        | ExtractError::Canceled
        | ExtractError::Io { .. } => InstallError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use bytes::Bytes;
    use evenkeel_model::{
        ClusterId, ControlEvent, Event, EventId, NodeConfig, NodeId, Position, Seq, Slot, StreamId,
        Topology, UserName, WallTime,
    };
    use evenkeel_package_store::{
        BuildOptions, Compression, Recorded, SecretKey, StageLimits, TrustedKeys, build,
    };
    use evenkeel_record::Entry;
    use tempfile::TempDir;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use uuid::Uuid;

    use super::*;

    /// A node that held its packages before anything about it changed.
    struct Bench {
        dir: TempDir,
        key: SecretKey,
        store: Store,
    }

    fn time() -> WallTime {
        serde_json::from_str("\"2026-01-01T00:00:00Z\"").expect("a time")
    }

    fn config() -> NodeConfig {
        NodeConfig {
            id: NodeId(Uuid::from_u128(1)),
            name: "n1".parse().expect("a name"),
            partner: None,
            interconnect: "127.0.0.1:1".to_owned(),
            rest: "127.0.0.1:2".to_owned(),
            platform: "lab-x86_64".parse().expect("a platform"),
            variant: None,
            features: Vec::new(),
            site: None,
            lifs: Vec::new(),
        }
    }

    fn trusted(key: &SecretKey) -> ControlEvent {
        ControlEvent::KeyTrusted {
            at: time(),
            public_key: key.public().to_pem(),
            key_id: key.public().id().to_string(),
            name: None,
            by: None,
        }
    }

    fn view(node: NodeConfig, events: Vec<ControlEvent>) -> Arc<View> {
        let id = ClusterId(Uuid::from_u128(2));
        let topology = Topology::new(id, "c".to_owned(), vec![node]).expect("one node");
        let first = ControlEvent::TopologySet {
            at: time(),
            topology,
        };
        let entries: Vec<Entry> = std::iter::once(first)
            .chain(events)
            .zip(1..)
            .map(|(event, n)| Entry {
                position: Position(n),
                stream: StreamId::Control,
                seq: Seq(n),
                id: EventId(Uuid::from_u128(n.into())),
                body: Event::Control(event).encode(),
            })
            .collect();
        Arc::new(View::replay(&entries).expect("no gaps"))
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let store = Store::open(dir.path().join("store")).expect("a store");
            let key = SecretKey::from_seed(&[7; 32]);
            Self { dir, key, store }
        }

        fn slot(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// Puts a package into the store, whoever it is for, and says what installs it.
        async fn hold(&self, version: &str, from: SourceVersions) -> InstallRequest {
            let root = self.slot("tree");
            std::fs::create_dir_all(&root).expect("a folder");
            std::fs::write(root.join("file"), version).expect("a file");
            let output = self.slot(&format!("{version}.tgz"));
            let options = BuildOptions {
                name: "evenkeel".to_owned(),
                version: version.parse().expect("a version"),
                platform: config().platform,
                variant: None,
                features: Vec::new(),
                source_versions: from,
                checks: Vec::new(),
                manual_steps: Vec::new(),
                firmware: Vec::new(),
                notes: String::new(),
                recorded: Recorded::default(),
                build_time: None,
                compression: Compression::default(),
            };
            let built = build(&root, &self.key, options, &output).expect("a package");
            let trusted = TrustedKeys::from_iter([self.key.public()]);
            let policy = Policy::trusting(trusted);
            let staging = self.store.begin("package", policy, StageLimits::default());
            let mut staging = staging.expect("a staging");
            let bytes = Bytes::from(std::fs::read(&output).expect("the package"));
            staging.write(bytes).await.expect("accepted");
            staging.finish().await.expect("kept");
            InstallRequest {
                package: built.manifest_digest,
                slot: Slot::B,
                path: self.slot("b"),
                running: self.slot("a"),
            }
        }

        async fn install(
            &self,
            request: &InstallRequest,
            view: Arc<View>,
        ) -> Result<(), InstallError> {
            for slot in [&request.path, &request.running] {
                std::fs::create_dir_all(slot).expect("a slot");
            }
            let installer = SlotInstaller {
                policy: PackagePolicy {
                    node: config().name,
                    allow_unsigned: false,
                },
                store: self.store.clone(),
                views: watch::Sender::new(view).subscribe(),
            };
            let progress = watch::Sender::new(Progress {
                text: String::new(),
                done: 0,
                total: 0,
            });
            installer.install(request, &progress).await
        }

        /// Why the package is refused on a node like this.
        async fn refusal(&self, node: NodeConfig, mut more: Vec<ControlEvent>) -> String {
            let request = self.hold("2.0", SourceVersions::Any).await;
            more.insert(0, trusted(&self.key));
            match self.install(&request, view(node, more)).await {
                Err(InstallError::Refused(why)) => why,
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_package_that_fits_is_installed() {
        let bench = Bench::new();
        let request = bench.hold("2.0", SourceVersions::Any).await;
        let view = view(config(), vec![trusted(&bench.key)]);
        bench.install(&request, view).await.expect("it fits");
        assert!(request.path.join("file").exists());
    }

    #[tokio::test]
    async fn another_platform_variant_or_feature_is_refused_by_name() {
        let mut node = config();
        node.platform = "other-arm64".parse().expect("a platform");
        let why = Bench::new().refusal(node, Vec::new()).await;
        assert!(why.contains("other-arm64"), "{why}");

        let mut node = config();
        node.variant = Some("restricted".to_owned());
        let why = Bench::new().refusal(node, Vec::new()).await;
        assert!(why.contains("restricted"), "{why}");

        let mut node = config();
        node.features = vec!["encryption".to_owned()];
        let why = Bench::new().refusal(node, Vec::new()).await;
        assert!(why.contains("encryption"), "{why}");
    }

    #[tokio::test]
    async fn a_key_that_was_revoked_since_is_refused_by_name() {
        let bench = Bench::new();
        let key_id = bench.key.public().id().to_string();
        let revoked = ControlEvent::KeyRevoked {
            at: time(),
            key_id: key_id.clone(),
            by: UserName::new("admin").expect("a name"),
        };
        let why = bench.refusal(config(), vec![revoked]).await;
        assert!(why.contains(&key_id) && why.contains("revoked"), "{why}");
    }

    #[tokio::test]
    async fn what_runs_must_be_among_the_source_versions() {
        let bench = Bench::new();
        let only = |text: &str| SourceVersions::Only(vec![text.parse().expect("a version")]);
        let view = || view(config(), vec![trusted(&bench.key)]);
        let running = |request: &InstallRequest| InstallRequest {
            path: request.running.clone(),
            running: request.path.clone(),
            ..request.clone()
        };
        let old = bench.hold("1.0", SourceVersions::Any).await;
        let request = bench.hold("2.0", only("1.1")).await;
        let why = bench
            .install(&request, view())
            .await
            .expect_err("nothing runs");
        assert!(why.to_string().contains("has no manifest"), "{why}");

        bench
            .install(&running(&old), view())
            .await
            .expect("1.0 runs");
        let why = bench
            .install(&request, view())
            .await
            .expect_err("not from 1.0");
        let text = "node \"n1\" runs 1.0, from which 2.0 cannot be reached";
        assert_eq!(why, InstallError::Refused(text.to_owned()));
        let request = bench.hold("2.1", only("1.0")).await;
        bench.install(&request, view()).await.expect("from 1.0");
    }

    /// Answers at the helper's socket with these lines, once, and gives the job that it was told.
    fn helper(bench: &Bench, lines: Vec<Told>) -> (PathBuf, tokio::task::JoinHandle<SlotJob>) {
        let folder = bench.slot("helpers");
        std::fs::create_dir_all(&folder).expect("a folder");
        let socket = folder.join("slot.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = tokio::net::UnixListener::bind(socket).expect("a socket");
        let told = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut stream = BufReader::new(stream);
            let mut job = String::new();
            stream.read_line(&mut job).await.expect("a job");
            for line in lines {
                let line = format!("{}\n", serde_json::to_string(&line).expect("JSON"));
                let said = stream.get_mut().write_all(line.as_bytes()).await;
                said.expect("who asked listens");
            }
            serde_json::from_str(&job).expect("a job")
        });
        (folder, told)
    }

    impl Bench {
        fn installer(&self) -> SlotInstaller {
            let view = view(config(), vec![trusted(&self.key)]);
            SlotInstaller {
                policy: PackagePolicy {
                    node: config().name,
                    allow_unsigned: false,
                },
                store: self.store.clone(),
                views: watch::Sender::new(view).subscribe(),
            }
        }

        /// What comes of it when the helper says that.
        async fn helped(&self, request: &InstallRequest, lines: Vec<Told>) -> Result<(), Not> {
            let (folder, told) = helper(self, lines);
            let installer = self.installer();
            let policy = installer.policy.at(&installer.views.borrow());
            let progress = watch::Sender::new(Progress::default());
            let done = installer
                .have_extracted(&folder, request, &policy, progress.clone())
                .await;
            let job = told.await.expect("no panic");
            assert_eq!(job.package, request.package);
            assert_eq!(job.demands, Demands::from(&policy));
            assert!(job.archive.ends_with("archive.tgz") && job.slot == request.path);
            assert!(done.is_err() || progress.borrow().done == 7);
            done
        }
    }

    #[tokio::test]
    async fn a_helper_is_believed_that_a_slot_is_written_and_why_it_is_not() {
        let bench = Bench::new();
        let request = bench.hold("2.0", SourceVersions::Any).await;
        let text = || "of its own".to_owned();
        let at = Progress {
            text: text(),
            done: 7,
            total: 9,
        };
        let written = vec![Told::Progress(at), Told::Written];
        assert_eq!(bench.helped(&request, written).await, Ok(()));
        let busy = bench.helped(&request, vec![Told::Busy]).await;
        assert_eq!(busy, Err(Not::Yet));
        let refused = |why| Err(Not::Installed(InstallError::Refused(why)));
        for line in [
            Told::Forbidden { why: text() },
            Told::Refused { why: text() },
        ] {
            assert_eq!(bench.helped(&request, vec![line]).await, refused(text()));
        }
        let failed = bench.helped(&request, vec![Told::Failed { why: text() }]);
        assert_eq!(
            failed.await,
            Err(Not::Installed(InstallError::Failed(text())))
        );
        // One that dies says nothing.
        let died = bench.helped(&request, Vec::new()).await;
        assert!(
            matches!(&died, Err(Not::Installed(InstallError::Failed(why))) if why.contains("no answer")),
            "{died:?}"
        );
    }

    #[tokio::test]
    async fn a_copy_that_has_rotted_is_set_aside_when_a_helper_refuses_it() {
        let bench = Bench::new();
        let request = bench.hold("2.0", SourceVersions::Any).await;
        let archive = bench
            .store
            .archive_path(request.package)
            .expect("it is here");
        let mut bytes = std::fs::read(&archive).expect("it is here");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&archive, bytes).expect("written");
        let why = "the package is damaged".to_owned();
        let refused = bench.helped(&request, vec![Told::Refused { why }]).await;
        assert!(
            matches!(&refused, Err(Not::Installed(InstallError::Failed(why))) if why.contains("damaged")),
            "{refused:?}"
        );
        assert!(
            bench.store.get(request.package).is_none(),
            "it is set aside"
        );
    }

    #[tokio::test]
    async fn without_its_helper_a_daemon_says_what_to_start() {
        let bench = Bench::new();
        let request = bench.hold("2.0", SourceVersions::Any).await;
        let installer = bench.installer();
        let policy = installer.policy.at(&installer.views.borrow());
        let progress = watch::Sender::new(Progress::default());
        let nowhere = bench.slot("nowhere");
        let done = installer.have_extracted(&nowhere, &request, &policy, progress);
        let done = done.await;
        assert!(
            matches!(&done, Err(Not::Installed(InstallError::Failed(why))) if why.contains("systemctl start evenkeel-slot.socket")),
            "{done:?}"
        );
    }
}
