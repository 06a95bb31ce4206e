//! Boot slots under a real loader: see `tests/platform/boot-slots.sh`.

use std::path::{Path, PathBuf};
use std::process::Command;

use evenkeel_model::{Slot, SlotHealth, SlotsState};

/// What the guests said, one line for each event, and what the loader's entries are called at the end.
struct Said(Vec<String>);

impl Said {
    fn of(case: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let work = tempfile::tempdir().expect("a folder");
        let output = Command::new(root.join("tests/platform/boot-slots.sh"))
            .arg(example())
            .arg(work.path())
            .arg(case)
            .output()
            .expect("bash");
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}");
        let errors = String::from_utf8_lossy(&output.stderr);
        let log = std::fs::read_to_string(work.path().join(format!("{case}.log")));
        assert!(
            output.status.success(),
            "{errors}\n{}",
            log.unwrap_or_default()
        );
        let prefix = format!("{case}: ");
        let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        Self(lines.map(str::to_owned).collect())
    }

    /// What follows a word, each time it was said.
    fn all(&self, word: &str) -> Vec<&str> {
        let lines = self.0.iter();
        lines
            .filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
            .collect()
    }

    /// The last answer to a command.
    fn state(&self, command: &str) -> SlotsState {
        let said = self.all(command);
        let last = said
            .last()
            .unwrap_or_else(|| panic!("no {command}: {:?}", self.0));
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{command}: {last}: {error}"))
    }

    fn booted(&self) -> Vec<&str> {
        let boots = self.all("BOOT");
        boots
            .iter()
            .map(|boot| &boot["slot=".len()..="slot=".len()])
            .collect()
    }
}

/// Built beside the tests: `cargo build -p evenkeel-platform --example slots`.
fn example() -> PathBuf {
    let tests = std::env::current_exe().expect("this test has a file");
    let example = tests.with_file_name("../examples/slots");
    assert!(
        example.exists(),
        "{} is not there: cargo build -p evenkeel-platform --example slots",
        example.display()
    );
    example
}

#[test]
#[ignore = "boots guests in QEMU for a minute; tests/platform/boot-slots.sh says what it needs"]
fn a_new_image_is_written_boots_and_is_proven() {
    let said = Said::of("good");
    assert!(said.all("mark-unbootable")[0].contains("is the one that runs"));
    let forbidden = said.state("mark-unbootable");
    assert_eq!(forbidden.b.health, SlotHealth::Unbootable);
    let chosen = said.state("set-default");
    assert_eq!((chosen.booted, chosen.default), (Slot::A, Slot::B));
    assert_eq!(chosen.b.health, SlotHealth::Untried { tries: 3 });

    // Proven, then without power at once, then up again.
    assert_eq!(said.booted(), ["a", "b", "b"]);
    assert_eq!(said.state("mark-good").b.health, SlotHealth::Good);
    let after = said.state("state");
    assert_eq!((after.booted, after.default), (Slot::B, Slot::B));
    assert_eq!(after.b.health, SlotHealth::Good);
    assert_eq!(after.b.image.unwrap().version.as_str(), "2");
    assert_eq!(said.all("ENTRIES"), ["evenkeel-a.conf evenkeel-b.conf "]);
}

fn falls_back(case: &str, boots: &[&str]) {
    let said = Said::of(case);
    assert_eq!(said.booted(), boots);
    let after = said.state("state");
    assert_eq!((after.booted, after.default), (Slot::A, Slot::A));
    assert_eq!(after.b.health, SlotHealth::Unbootable);
    let image = after.b.image.expect("it was written as a whole");
    assert_eq!(image.version.as_str(), "2");
    assert_eq!(
        said.all("ENTRIES"),
        ["evenkeel-a.conf evenkeel-b+0-3.conf "]
    );
}

#[test]
#[ignore = "boots guests in QEMU for two minutes; tests/platform/boot-slots.sh says what it needs"]
fn an_image_that_does_not_come_up_falls_back() {
    falls_back("broken", &["a", "a"]);
}

#[test]
#[ignore = "boots guests in QEMU for two minutes; tests/platform/boot-slots.sh says what it needs"]
fn an_image_that_nobody_proves_falls_back() {
    falls_back("sick", &["a", "b", "b", "b", "a"]);
}
