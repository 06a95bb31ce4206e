//! Updates of a host under a real loader: see `tests/platform/boot-slots.sh`. The programs are those beside the tests, unless
//! `EVENKEEL_BIN_DIR` names another folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const ACTION: &str = "See the node's console log for why the new image did not boot. If it was the node, mend it, then resume: it is \
                      tried again. If it was the package, cancel, then update with another one.";

/// What a guest said, a line for each event.
struct Said(Vec<String>);

impl Said {
    /// In these cases, one after the other.
    fn of(cases: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let work = tempfile::tempdir().expect("a folder");
        let output = Command::new(root.join("tests/platform/boot-slots.sh"))
            .arg(programs())
            .arg(work.path())
            .args(cases)
            .output()
            .expect("bash");
        let console = std::fs::read_to_string(work.path().join("console.log"));
        println!("{}", console.unwrap_or_default());
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        Self(text.lines().map(str::to_owned).collect())
    }

    /// From the beginning of the update to that version until that of the next one.
    fn of_update(&self, version: &str) -> Update<'_> {
        let begins = format!("UPDATE {version}");
        let from = self.0.iter().position(|line| *line == begins);
        let from = from.unwrap_or_else(|| panic!("no update to {version}: {:#?}", self.0));
        let rest = self.0[from + 1..].iter().map(String::as_str);
        Update(
            rest.take_while(|line| !line.starts_with("UPDATE "))
                .collect(),
        )
    }
}

/// What was said of one update.
struct Update<'a>(Vec<&'a str>);

impl Update<'_> {
    /// What the operator was shown.
    fn told(&self, what: &str) -> &str {
        let mut lines = self.0.iter();
        let found = lines.find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {what}: {:#?}", self.0))
    }

    fn shown(&self, what: &str) -> Value {
        let told = self.told(what);
        serde_json::from_str(told).unwrap_or_else(|error| panic!("{what}: {error}: {told}"))
    }

    /// What the machine did.
    fn went(&self) -> Vec<&str> {
        let told = ["SHOW ", "EXPLAIN ", "HISTORY "];
        let lines = self.0.iter().copied();
        lines
            .filter(|line| !told.iter().any(|what| line.starts_with(what)))
            .collect()
    }
}

fn programs() -> PathBuf {
    let beside = || {
        let tests = std::env::current_exe().expect("this test has a file");
        tests.with_file_name("..")
    };
    let folder = std::env::var_os("EVENKEEL_BIN_DIR").map_or_else(beside, PathBuf::from);
    for program in ["evenkeeld", "evenkeel"] {
        assert!(
            folder.join(program).exists(),
            "{program} is not in {}: cargo build -p evenkeel-cli -p evenkeel-daemon",
            folder.display()
        );
    }
    folder
}

/// The operator's update after the ones that the loader fell back from is the proof that those did no harm.
#[test]
#[ignore = "boots a guest in QEMU eleven times, some three minutes; tests/platform/boot-slots.sh says what it needs"]
fn bad_images_fall_back_and_are_reported_and_a_good_one_lasts() {
    let said = Said::of(&["broken", "sick", "good"]);
    let first = said.0.first().map(String::as_str);
    let boot = "BOOT slot a, version 1, entries evenkeel-a.conf";
    assert_eq!(first, Some(boot));
    does_not_come_up(&said.of_update("2-broken"));
    nobody_proves(&said.of_update("2-sick"));
    lasts(&said.of_update("2"));
}

fn does_not_come_up(update: &Update<'_>) {
    assert_eq!(
        update.went(),
        [
            "LEAVE entries evenkeel-a.conf evenkeel-b+3.conf",
            "PANIC",
            "PANIC",
            "PANIC",
            "BOOT slot a, version 1, entries evenkeel-a.conf evenkeel-b+0-3.conf",
        ]
    );
    is_reported(update, "2-broken");
}

fn nobody_proves(update: &Update<'_>) {
    assert_eq!(
        update.went(),
        [
            "LEAVE entries evenkeel-a.conf evenkeel-b+3.conf",
            "BOOT slot b, version 2-sick, entries evenkeel-a.conf evenkeel-b+2-1.conf",
            "SICK",
            "BOOT slot b, version 2-sick, entries evenkeel-a.conf evenkeel-b+1-2.conf",
            "SICK",
            "BOOT slot b, version 2-sick, entries evenkeel-a.conf evenkeel-b+0-3.conf",
            "SICK",
            "BOOT slot a, version 1, entries evenkeel-a.conf evenkeel-b+0-3.conf",
        ]
    );
    is_reported(update, "2-sick");
}

/// The update stands, and says why.
fn is_reported(update: &Update<'_>, version: &str) {
    let shown = update.shown("SHOW");
    assert_eq!(shown["state"], "paused_on_error", "{shown:#}");
    assert_eq!(shown["pending_version"], version, "{shown:#}");
    assert_eq!(shown["version"], "1", "{shown:#}");
    assert_eq!(shown["nodes"][0]["version"], "1", "{shown:#}");
    let error = format!("n1 did not come up on {version} and fell back to 1");
    let steps = shown["status_details"].as_array().expect("steps");
    let failed: Vec<&Value> = steps.iter().filter(|it| it["state"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{shown:#}");
    assert_eq!(failed[0]["name"], "do-reboot-job");
    assert_eq!(failed[0]["issue"]["message"], error);
    assert_eq!(failed[0]["action"]["message"], ACTION);
    let told = update.told("EXPLAIN");
    let (before, after) = told.split_once(" since ").expect("a time");
    let (_, after) = after.split_once(',').expect("its end");
    assert_eq!(
        (before, after.trim()),
        (
            &*format!("update to {version}: paused_on_error awaiting an operator's decision on n1"),
            &*format!("until no limit last seen: {error} unblock: {ACTION}"),
        )
    );
}

/// Proven, then without power at once, then up again.
fn lasts(update: &Update<'_>) {
    assert_eq!(
        update.went(),
        [
            "LEAVE entries evenkeel-a.conf evenkeel-b+3.conf",
            "BOOT slot b, version 2, entries evenkeel-a.conf evenkeel-b+2-1.conf",
            "CUT",
            "BOOT slot b, version 2, entries evenkeel-a.conf evenkeel-b.conf",
            "LEAVE entries evenkeel-a.conf evenkeel-b.conf",
        ]
    );
    let shown = update.shown("SHOW");
    assert_eq!(shown["state"], "completed", "{shown:#}");
    assert_eq!(shown["version"], "2", "{shown:#}");
    assert_eq!(shown["nodes"][0]["version"], "2", "{shown:#}");
    assert_eq!(shown["post_update_checks"], Value::Array(vec![]));
    assert_eq!(update.told("EXPLAIN").trim(), "Nothing is going on.");
    let history = update.shown("HISTORY");
    let rows = history["records"].as_array().expect("rows");
    let row = |it: &Value| ["from_version", "to_version", "state"].map(|field| it[field].clone());
    let rows: Vec<[Value; 3]> = rows.iter().map(row).collect();
    assert_eq!(
        rows,
        [
            ["1", "2-broken", "canceled"],
            ["1", "2-sick", "canceled"],
            ["1", "2", "successful"],
        ]
    );
}
