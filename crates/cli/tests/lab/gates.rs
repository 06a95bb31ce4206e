//! Gates between nodes, with an operator's script.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use evenkeel_lab::LabFile;
use serde_json::json;

use crate::harness::{Lab, OLD};

/// An operator's script: it says and does what the test wrote into a file beside it.
struct Script(PathBuf);

impl Script {
    fn new(lab: &Lab) -> Self {
        let folder = lab.dir.join("gate");
        fs::create_dir(&folder).unwrap();
        let (script, at) = (folder.join("gate"), folder.display());
        let text = format!(
            "#!/bin/sh\n\
             echo \"$EVENKEEL_NODE of $EVENKEEL_PARTNER to $EVENKEEL_VERSION\" >>{at}/asked\n\
             . {at}/answer\n"
        );
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    /// It may be running just now, so its answer changes in one step.
    fn answers(&self, code: u8, says: &str) {
        let (new, answer) = (self.0.join("new"), self.0.join("answer"));
        fs::write(&new, format!("echo '{says}'\nexit {code}\n")).unwrap();
        fs::rename(new, answer).unwrap();
    }

    /// Names it in the configuration of every node, whose daemons take that up when they start.
    fn configure(&self, lab: &Lab) {
        for node in LabFile::read(&lab.dir).unwrap().nodes {
            let file = lab.dir.join(format!("nodes/{}/evenkeeld.toml", node.name));
            let text = fs::read_to_string(&file).unwrap();
            let line = format!("gate_script = \"{}\"", self.0.join("gate").display());
            let with = match text.contains("[update]\n") {
                true => text.replace("[update]\n", &format!("[update]\n{line}\n")),
                false => format!("{text}\n[update]\n{line}\n"),
            };
            fs::write(&file, with).unwrap();
            lab.kill_daemon(node.name.as_str());
        }
    }
}

#[test]
fn an_update_waits_until_the_operators_script_lets_it_on() {
    let lab = Lab::up(2);
    lab.upload("2.0");
    assert!(lab.ok(&["image", "gates", "show"]).contains("no condition"));
    let no = lab.refused(&["image", "gates", "set", "--longest", "0"], 1);
    assert!(no.contains("from 1 to 1440"), "{no}");
    let set = ["image", "gates", "set", "--condition", "lifs-home"];
    let more = ["--condition", "script", "--hold", "1", "--longest", "1440"];
    let set = lab.ok(&[&set[..], &more].concat());
    assert!(set.contains("for 1 min: lifs_home, script"), "{set}");
    for node in LabFile::read(&lab.dir).unwrap().nodes {
        lab.until("the gates, on every node", |lab| {
            let shown = lab.json(&["--url", &node.url, "image", "gates", "show"]);
            let set = shown["conditions"] == json!(["lifs_home", "script"]);
            (set && shown["longest_minutes"] == 1440).then_some(())
        });
    }

    // No node has a script yet: an update would stop in the middle.
    let refused = lab.run(&["image", "validate", "2.0"]);
    let said = String::from_utf8_lossy(&refused.stdout);
    assert!(said.contains("Gate script status"), "{said}");
    let script = Script::new(&lab);
    script.configure(&lab);
    lab.until("the script, seen on every node", |lab| {
        let shown = lab.run(&["image", "validate", "2.0"]);
        let said = String::from_utf8_lossy(&shown.stdout);
        said.contains("All checks passed.").then_some(())
    });

    script.answers(75, "the backup runs");
    lab.ok(&["image", "update", "2.0"]);
    lab.until("what the script says", |lab| {
        let told = lab.ok(&["explain"]);
        told.contains("the backup runs").then_some(())
    });
    let runs_old = |lab: &Lab| lab.versions().values().filter(|it| *it == OLD).count();
    assert_eq!(runs_old(&lab), 1, "{:?}", lab.versions());

    script.answers(1, "the backup failed");
    assert_eq!(lab.settled(), "paused_on_error");
    let told = lab.ok(&["explain"]);
    assert!(told.contains("exit code 1: the backup failed"), "{told}");
    assert_eq!(runs_old(&lab), 1, "{:?}", lab.versions());

    script.answers(0, "");
    lab.ok(&["image", "resume-update"]);
    assert_eq!(lab.settled(), "completed", "{}", lab.tail());
    assert_eq!(runs_old(&lab), 0);
    let asked = fs::read_to_string(script.0.join("asked")).unwrap();
    let about = ["node1 of node2 to 2.0", "node2 of node1 to 2.0"];
    assert!(asked.lines().count() >= 3, "{asked}");
    let turn = asked.lines().next().unwrap();
    assert!(about.contains(&turn), "{asked}");
    assert!(asked.lines().all(|line| line == turn), "{asked}");
    lab.assert_no_harm();
    let off = lab.ok(&["image", "gates", "set", "--off"]);
    assert!(off.contains("no condition"), "{off}");
}
