//! Shelves by their enclosures' pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use evenkeel_linux::devices::Hardware;
use evenkeel_linux::inventory::{Kernel, KernelClock, SesPages};
use evenkeel_model::InventorySettings;
use evenkeel_platform::devices::{Devices, DriveState};
use evenkeel_platform::{Inventory, PlatformError};

use crate::tree::{Named, Printed, Tree, md, node, pool, why};

/// Which module each device is, and how the shelf's two fans are.
struct Shelf {
    modules: BTreeMap<String, u8>,
    fans: [u8; 2],
}

#[async_trait]
impl SesPages for Shelf {
    async fn page(&self, device: &str, page: u8) -> Result<Vec<u8>, PlatformError> {
        let Some(module) = self.modules.get(device) else {
            return Err(PlatformError::Unavailable(format!(
                "no answer from {device}"
            )));
        };
        Ok(match page {
            1 => {
                let mut page = vec![1, 0, 0, 0, 0, 0, 0, 1, 0x11, 0, 2, 36];
                page.extend([0x50, 0x0c, 0xc0, 0, 0, 0, 0, 0x0a]);
                page.extend(b"EVENKEELDS-12           0300");
                page.extend([3, 2, 0, 0, 7, 2, 0, 0]);
                page
            }
            _ => {
                let [first, second] = self.fans;
                let report = |number: u8| u8::from(number == *module);
                let mut page = vec![2, 0, 0, 0, 0, 0, 0, 1];
                page.extend([0, 0, 0, 0, first, 0, 0, 0, second, 0, 0, 0]);
                page.extend([0, 0, 0, 0, 1, 0, report(0), 0, 1, 0, report(1), 0]);
                page
            }
        })
    }
}

fn pages(answering: &[(&str, u8)], fans: [u8; 2]) -> Arc<Shelf> {
    let modules = answering
        .iter()
        .map(|(device, module)| ((*device).to_owned(), *module));
    Arc::new(Shelf {
        modules: modules.collect(),
        fans,
    })
}

/// Two expanders of one shelf, each with its enclosure process and a path to each of two disks.
fn shelf() -> Tree {
    let tree = Tree::new();
    for (expander, generic, disks) in [
        ("expander-0:0", "sg0", [("sda", "S1"), ("sdb", "S2")]),
        ("expander-1:0", "sg1", [("sdc", "S1"), ("sdd", "S2")]),
    ] {
        let at = format!("/sys/devices/host/{expander}/end_device/target/{generic}");
        tree.file(&format!("{at}/type"), "13");
        tree.file(&format!("{at}/model"), "IOM12");
        tree.file(&format!("{at}/scsi_generic/{generic}/dev"), "21:0");
        tree.link(&format!("/sys/bus/scsi/devices/{generic}"), &at);
        for (name, serial) in disks {
            tree.scsi(name, "8:0", serial);
            let real = format!("/sys/devices/host/{expander}/end_device/{name}");
            let from = tree.path(&format!("/sys/devices/{name}/device"));
            std::fs::create_dir_all(tree.path(&real).parent().unwrap()).unwrap();
            std::fs::rename(from, tree.path(&real)).unwrap();
            tree.link(&format!("/sys/devices/{name}/device"), &real);
        }
    }
    tree.md("md0", "raid1", &["sda", "sdb"]);
    tree
}

fn machine(tree: &Tree, pages: Arc<Shelf>) -> impl Inventory {
    let machine = tree.machine();
    machine.with_kernel(Kernel {
        clock: || {
            Ok(KernelClock {
                synchronized: true,
                offset_us: 0,
            })
        },
        pages,
    })
}

#[tokio::test]
async fn without_enclosures_there_are_no_shelves() {
    assert_eq!(Tree::new().machine().shelves().await.unwrap(), []);
}

#[tokio::test]
async fn two_modules_are_one_shelf() {
    let tree = shelf();
    let machine = machine(&tree, pages(&[("/dev/sg0", 0), ("/dev/sg1", 1)], [1, 2]));
    let shelves = machine.shelves().await.unwrap();
    assert_eq!(shelves.len(), 1);
    assert_eq!(shelves[0].name, "500cc0000000000a");
    let modules: Vec<_> = shelves[0]
        .modules
        .iter()
        .map(|it| (it.name.as_str(), it.ok))
        .collect();
    assert_eq!(modules, [("A", true), ("B", true)]);
    assert_eq!(shelves[0].sensors, ["fan 2 is critical"]);
}

#[tokio::test]
async fn a_silent_module_is_told_by_its_neighbour_and_a_silent_shelf_by_nobody() {
    let tree = shelf();
    let one = machine(&tree, pages(&[("/dev/sg1", 1)], [1, 1]));
    let shelves = one.shelves().await.unwrap();
    let modules: Vec<_> = shelves[0].modules.iter().map(|it| it.ok).collect();
    assert_eq!(modules, [false, true]);
    let none = machine(&tree, pages(&[], [1, 1]));
    assert!(
        why(none.shelves().await).contains("the enclosure at /dev/sg0: unavailable: no answer")
    );
    tree.remove("/sys/devices/host/expander-0:0/end_device/target/sg0/scsi_generic");
    let unspeakable = machine(&tree, pages(&[("/dev/sg1", 1)], [1, 1]));
    assert!(why(unspeakable.shelves().await).contains("load the kernel's module sg"));
}

#[tokio::test]
async fn drives_know_the_modules_that_lead_to_them() {
    let tree = shelf();
    tree.file(
        "/sys/devices/host/expander-1:0/end_device/sdc/state",
        "offline",
    );
    let state = tempfile::tempdir().unwrap();
    let hardware = |owner: &str| {
        let pools = Arc::new(Named(vec![pool("data", Some(owner), md("/dev/md0"))]));
        let host = tree.host(Arc::new(Printed::default()));
        let settings = InventorySettings::default();
        Hardware::new(host, node("node1"), settings, pools, state.path(), Ok(None))
            .with_pages(pages(&[("/dev/sg0", 0), ("/dev/sg1", 1)], [1, 1]))
    };
    let drives = hardware("node1").drives().await.unwrap();
    let first = &drives[0];
    assert_eq!(
        (first.serial.as_str(), first.model.as_str()),
        ("S1", "ST4000NM0023")
    );
    assert_eq!(
        (first.state, first.owner.as_ref()),
        (DriveState::Online, Some(&node("node1")))
    );
    let paths: Vec<_> = first
        .paths
        .iter()
        .map(|it| (it.module.as_str(), it.works))
        .collect();
    assert_eq!(paths, [("A", true), ("B", false)]);
    assert!(
        first
            .paths
            .iter()
            .all(|path| path.shelf == "500cc0000000000a")
    );
    let modules = hardware("node1").modules().await.unwrap();
    assert_eq!(modules.len(), 2);
    assert!(
        modules
            .iter()
            .all(|it| it.ok && it.owner == Some(node("node1")) && it.model.as_str() == "IOM12")
    );
    // What the partner serves is not this node's to touch.
    let drives = hardware("node2").drives().await.unwrap();
    assert!(drives.iter().all(|drive| drive.owner.is_none()));
    assert!(
        hardware("node2")
            .modules()
            .await
            .unwrap()
            .iter()
            .all(|it| it.owner.is_none())
    );
    assert_eq!(hardware("node2").groups().await.unwrap(), []);
}
