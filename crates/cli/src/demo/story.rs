//! What the demo does, in order.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use evenkeel_api::{CheckStatus, Software, UpdateState};
use evenkeel_lab::{DAEMON_IN_IMAGE, LabFile, Layout, PLATFORM};
use evenkeel_model::{Digest, EntryKind, Manifest, SourceVersions, Version, error_chain};
use evenkeel_package_store::{Built, SecretKey};
use sha2::{Digest as _, Sha256};

use super::content::{ContentError, Programs, make_trees, pack};
use super::lab::RunningLab;
use super::probing::Probing;
use super::summary::{NodeSummary, Summary};
use super::{at, step};
use crate::args::{Update, UpdateOptions};
use crate::client::Client;
use crate::clock::Stopwatch;
use crate::image::{request_update, run_validation};
use crate::outcome::Stop;
use crate::target::Target;
use crate::upload::upload;
use crate::watch;

const OLD: &str = "9.10.1";
const NEW: &str = "9.10.1P1";
/// Nodes of the lab: two HA pairs.
const NODES: usize = 4;
/// Until every node has said what it runs.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Where, and how fast.
pub(crate) struct Story {
    pub(crate) dir: PathBuf,
    pub(crate) minute: Duration,
}

/// The packages of the demo.
struct Packages {
    old: PathBuf,
    new: PathBuf,
    built_new: Built,
}

impl Story {
    /// Tells it to its good end.
    pub(crate) fn tell(&self) -> Result<Summary, Stop> {
        let clock = Stopwatch::start();
        let layout = Layout::new(&self.dir).map_err(at(&self.dir, "use"))?;
        step("building two signed packages of this build's programs and files of this host");
        let packages = self.build_packages(&layout)?;
        step(&format!(
            "starting the lab: two HA pairs of real daemons, {OLD} installed on each"
        ));
        let lab = RunningLab::up(&self.dir, self.minute, &packages.old)?;
        let client = Client::new(Target::of_lab(&self.dir)?)?;
        let before = versions_at(&client, OLD)?;
        let probing = Probing::start(&self.dir)?;
        step(&format!("uploading {NEW}"));
        upload(&client, &packages.new)?;
        step(&format!("validating {NEW}"));
        validate(&client)?;
        step(&format!(
            "updating to {NEW}, one minute being {:?}",
            self.minute
        ));
        let software = update(&client)?;
        let after = versions_at(&client, NEW)?;
        self.prove_new_daemons(&packages.built_new.manifest)?;
        let probed = probing.finish()?;
        lab.down()?;
        let nodes = before.into_iter().map(|(name, before)| {
            let after = after.get(&name).cloned().unwrap_or_default();
            NodeSummary {
                name,
                before,
                after,
            }
        });
        let nodes = nodes.collect();
        let (dir, total) = (self.dir.clone(), clock.elapsed());
        Ok(Summary {
            dir,
            nodes,
            software,
            probed,
            minute: self.minute,
            total,
        })
    }

    fn build_packages(&self, layout: &Layout) -> Result<Packages, Stop> {
        let (old_version, new_version) = (version(OLD), version(NEW));
        let key = SecretKey::generate().map_err(|error| Stop::Failed(error_chain(&error)))?;
        let key_path = layout.signing_key();
        let folder = key_path.parent().unwrap_or(layout.dir());
        fs::create_dir_all(folder).map_err(at(folder, "make"))?;
        key.save_pair(&key_path)
            .map_err(|error| Stop::Failed(error_chain(&error)))?;
        let work = self.dir.join("packages");
        let failed = |error: ContentError| Stop::Failed(error_chain(&error));
        let trees = make_trees(&work, &programs()?, &new_version).map_err(failed)?;
        let platform = PLATFORM.parse().expect("the lab's platform is one");
        let (old, new) = (
            work.join(format!("{OLD}.tgz")),
            work.join(format!("{NEW}.tgz")),
        );
        pack(
            &trees.old,
            &key,
            &old_version,
            SourceVersions::Any,
            &platform,
            &old,
        )
        .map_err(failed)?;
        let sources = SourceVersions::Only(vec![old_version]);
        let built_new =
            pack(&trees.new, &key, &new_version, sources, &platform, &new).map_err(failed)?;
        for tree in [&trees.old, &trees.new] {
            fs::remove_dir_all(tree).map_err(at(tree, "remove"))?;
        }
        Ok(Packages {
            old,
            new,
            built_new,
        })
    }

    /// Each node's daemon must be the very file of the new package.
    fn prove_new_daemons(&self, manifest: &Manifest) -> Result<(), Stop> {
        let path = DAEMON_IN_IMAGE;
        let entry = manifest.entries.iter().find(|entry| entry.path == path);
        let Some(EntryKind::File { sha256, .. }) = entry.map(|entry| &entry.kind) else {
            return Err(Stop::Failed(format!("the new package has no {path}")));
        };
        let lab = LabFile::read(&self.dir).map_err(|error| Stop::Failed(format!("{error:#}")))?;
        for node in &lab.nodes {
            let Some(pid) = node.pid else {
                return Err(Stop::Failed(format!("no daemon runs on {}", node.name)));
            };
            let exe = PathBuf::from(format!("/proc/{pid}/exe"));
            let bytes = fs::read(&exe).map_err(at(&exe, "read"))?;
            if Digest(Sha256::digest(&bytes).into()) != *sha256 {
                let text = format!(
                    "the daemon of {} (process {pid}) is not the new one",
                    node.name
                );
                return Err(Stop::Failed(text));
            }
        }
        Ok(())
    }
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

/// This build's programs: this one, and the daemon beside it.
fn programs() -> Result<Programs, Stop> {
    let evenkeel = std::env::current_exe().map_err(at(Path::new("this program"), "find"))?;
    let evenkeeld = evenkeel.with_file_name("evenkeeld");
    if !evenkeeld.exists() {
        let text = format!("{} is not there: build evenkeeld too", evenkeeld.display());
        return Err(Stop::Failed(text));
    }
    Ok(Programs {
        evenkeel,
        evenkeeld,
    })
}

/// The versions of all nodes, once they and the cluster are at `version`.
fn versions_at(client: &Client, version: &str) -> Result<BTreeMap<String, String>, Stop> {
    let waited = Stopwatch::start();
    loop {
        let software: Software = client.get("/api/cluster/software")?;
        let nodes: BTreeMap<String, String> = software
            .nodes
            .into_iter()
            .map(|node| (node.name, node.version))
            .collect();
        if nodes.len() == NODES && nodes.values().all(|found| found == version) {
            return Ok(nodes);
        }
        if waited.elapsed() > SETTLED_WITHIN {
            let text = format!("the nodes are at {nodes:?}, not all at {version}");
            return Err(Stop::Failed(text));
        }
        thread::sleep(LOOK);
    }
}

fn validate(client: &Client) -> Result<(), Stop> {
    run_validation(client, NEW)?;
    let software: Software = client.get("/api/cluster/software")?;
    let found = software.validation_results.unwrap_or_default();
    for finding in &found {
        eprintln!("{}: {}", finding.update_check, finding.issue.message);
    }
    match found
        .iter()
        .any(|finding| finding.status == CheckStatus::Error)
    {
        true => Err(Stop::Failed("the validation found errors".to_owned())),
        false => Ok(()),
    }
}

fn update(client: &Client) -> Result<Software, Stop> {
    let request = Update {
        version: NEW.to_owned(),
        skip_warnings: false,
        options: UpdateOptions::default(),
        pause_after: None,
        watch: true,
        estimate_only: false,
    };
    request_update(client, &request)?;
    let end = watch::watch(client)?;
    match end.state {
        UpdateState::Completed => Ok(client.get("/api/cluster/software")?),
        _ => end
            .into_result()
            .and(Err(Stop::Failed("the update did not complete".to_owned()))),
    }
}
