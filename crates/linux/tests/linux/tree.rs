//! A machine of files in a folder, and programs whose outputs are written down.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use evenkeel_linux::inventory::{Kernel, KernelClock, Machine, Places, SesPages};
use evenkeel_linux::storage::{PoolPlace, PoolPlaces};
use evenkeel_linux::{Call, Finished, Host, Programs, slots};
use evenkeel_model::{InventorySettings, NodeName, PoolName, SlotSettings, Storage};
use evenkeel_platform::PlatformError;

/// A folder that stands for a machine's root.
pub(crate) struct Tree {
    root: tempfile::TempDir,
}

impl Tree {
    /// A machine that boots from `vda`, and has nothing else.
    pub(crate) fn new() -> Self {
        let tree = Self {
            root: tempfile::tempdir().unwrap(),
        };
        tree.file(
            "/proc/self/mountinfo",
            "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n",
        );
        tree.file("/proc/uptime", "1000.00 1900.00");
        tree.disk("vda", "254:0");
        tree.file("/sys/devices/vda/vda1/partition", "1");
        tree.file("/sys/devices/vda/vda1/dev", "254:1");
        tree.link("/sys/class/block/vda1", "/sys/devices/vda/vda1");
        tree.link("/sys/dev/block/254:1", "/sys/devices/vda/vda1");
        tree.file("/dev/vda1", "");
        tree
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    pub(crate) fn file(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn append(&self, path: &str, text: &str) {
        let old = fs::read_to_string(self.path(path)).unwrap_or_default();
        self.file(path, old + text);
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(self.path(target), path).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.path(path);
        match path.is_dir() && !path.is_symlink() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    /// A whole block device of the kernel.
    pub(crate) fn disk(&self, name: &str, dev: &str) {
        let at = format!("/sys/devices/{name}");
        self.file(&format!("{at}/dev"), dev);
        self.file(&format!("{at}/size"), "2048");
        self.file(&format!("{at}/removable"), "0");
        self.file(&format!("{at}/stat"), "1 0 8 5 2 0 16 7 0 100 12");
        self.link(&format!("/sys/class/block/{name}"), &at);
        self.file(&format!("/dev/{name}"), "");
    }

    /// A path to a SCSI disk.
    pub(crate) fn scsi(&self, name: &str, dev: &str, serial: &str) {
        self.disk(name, dev);
        let at = format!("/sys/devices/{name}/device");
        let mut page = vec![0, 0x80, 0, serial.len() as u8];
        page.extend(serial.bytes());
        self.file(&format!("{at}/vpd_pg80"), page);
        self.file(&format!("{at}/state"), "running");
        self.file(&format!("{at}/type"), "0");
        self.file(&format!("{at}/model"), "ST4000NM0023    ");
    }

    /// An array of these devices, all well.
    pub(crate) fn md(&self, name: &str, level: &str, members: &[&str]) {
        self.disk(name, "9:0");
        let at = format!("/sys/devices/{name}/md");
        for (file, text) in [
            ("level", level),
            ("array_state", "clean"),
            ("degraded", "0"),
            ("sync_action", "idle"),
            ("resync_start", "none"),
            ("bitmap/location", "+8"),
        ] {
            self.file(&format!("{at}/{file}"), text);
        }
        for (slot, member) in members.iter().enumerate() {
            self.member(name, member, "in_sync", &slot.to_string());
        }
    }

    pub(crate) fn member(&self, array: &str, member: &str, state: &str, slot: &str) {
        let at = format!("/sys/devices/{array}/md/dev-{member}");
        self.file(&format!("{at}/state"), state);
        self.file(&format!("{at}/slot"), slot);
        if !self.path(&format!("{at}/block")).exists() {
            self.link(&format!("{at}/block"), &format!("/sys/devices/{member}"));
        }
        let slave = format!("/sys/devices/{array}/slaves/{member}");
        if !self.path(&slave).exists() {
            self.link(&slave, &format!("/sys/devices/{member}"));
        }
    }

    pub(crate) fn program(&self, name: &str) {
        self.file(&format!("/usr/sbin/{name}"), "");
    }

    /// Folders that nobody has made yet.
    pub(crate) fn places(&self, host: &Host) -> Places {
        let slots = SlotSettings::Directory {
            path: "/slots".into(),
        };
        Places {
            store: "/var/lib/evenkeel/packages".into(),
            slots: slots::open(host, &slots).into(),
            root: "/".into(),
        }
    }

    pub(crate) fn host(&self, programs: Arc<dyn Programs>) -> Host {
        Host::new(self.root.path(), programs)
    }

    /// An inventory that no program is asked for.
    pub(crate) fn machine(&self) -> Machine {
        self.machine_with(Printed::default(), InventorySettings::default(), Vec::new())
    }

    pub(crate) fn machine_with(
        &self,
        printed: Printed,
        settings: InventorySettings,
        pools: Vec<PoolPlace>,
    ) -> Machine {
        self.machine_on(Arc::new(printed), settings, pools)
    }

    pub(crate) fn machine_on(
        &self,
        programs: Arc<dyn Programs>,
        settings: InventorySettings,
        pools: Vec<PoolPlace>,
    ) -> Machine {
        let host = self.host(programs);
        let places = self.places(&host);
        let pools = Arc::new(Named(pools));
        let machine = Machine::new(host, node("node1"), settings, places, pools);
        machine.with_kernel(Kernel {
            clock: || {
                Ok(KernelClock {
                    synchronized: true,
                    offset_us: -7_000,
                })
            },
            pages: Arc::new(NoPages),
        })
    }
}

pub(crate) fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// A pool of node1.
pub(crate) fn pool(name: &str, owner: Option<&str>, storage: Storage) -> PoolPlace {
    PoolPlace {
        name: PoolName::new(name).unwrap(),
        home: node("node1"),
        owner: owner.map(node),
        root: false,
        storage: vec![storage],
    }
}

pub(crate) fn md(device: &str) -> Storage {
    Storage::Md {
        device: device.to_owned(),
    }
}

/// Pools that somebody else names.
pub(crate) struct Named(pub(crate) Vec<PoolPlace>);

#[async_trait]
impl PoolPlaces for Named {
    async fn pools(&self) -> Result<Vec<PoolPlace>, PlatformError> {
        Ok(self.0.clone())
    }
}

struct NoPages;

#[async_trait]
impl SesPages for NoPages {
    async fn page(&self, device: &str, _: u8) -> Result<Vec<u8>, PlatformError> {
        Err(PlatformError::Unavailable(format!("{device} is silent")))
    }
}

/// Programs that print what is written down here, by the line that one types.
#[derive(Default)]
pub(crate) struct Printed {
    outputs: Mutex<BTreeMap<String, (i32, String)>>,
}

impl Printed {
    pub(crate) fn with(self, line: &str, output: &str) -> Self {
        self.ended(line, 0, output)
    }

    pub(crate) fn ended(self, line: &str, code: i32, output: &str) -> Self {
        let said = (code, output.to_owned());
        self.outputs.lock().unwrap().insert(line.to_owned(), said);
        self
    }
}

#[async_trait]
impl Programs for Printed {
    async fn run(&self, call: &Call) -> Result<Finished, PlatformError> {
        let outputs = self.outputs.lock().unwrap();
        let Some((code, output)) = outputs.get(&call.line()) else {
            return Err(PlatformError::Unavailable(format!(
                "nobody expected {}",
                call.line()
            )));
        };
        Ok(Finished {
            code: Some(*code),
            output: output.clone().into_bytes(),
            errors: String::new(),
        })
    }
}

/// The words of an error.
pub(crate) fn why<T: std::fmt::Debug>(answer: Result<T, PlatformError>) -> String {
    answer.unwrap_err().to_string()
}

/// Where an absolute path is below a root.
pub(crate) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
