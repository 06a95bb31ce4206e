//! Updates, as an operator sees them.

use std::time::Duration;

use serde_json::Value;

use crate::site::{NEW, Site, until};

/// Longest that an update of a pair may take on a busy machine: half a minute on an idle one.
const UPDATE: Duration = Duration::from_secs(240);

impl Site {
    /// The findings of a validation, as JSON.
    pub(crate) fn findings(&self) -> String {
        let words = ["image", "validate", NEW, "--json"];
        let said = self.ask(&words, UPDATE).unwrap();
        format!("{}{}", said.output, said.errors)
    }

    /// Which boot each host runs in.
    pub(crate) fn boots(&self) -> Vec<String> {
        let hosts = self.cluster.hosts().iter();
        hosts
            .map(|host| host.boot_id().unwrap().to_string())
            .collect()
    }

    /// Starts the update to the new version, with a minute of stabilizing.
    pub(crate) fn begin_update(&self) {
        let words = ["image", "update", NEW, "--skip-warnings"];
        let mut words = words.to_vec();
        words.extend(["--stabilize-minutes", "1"]);
        let said = self.ask(&words, UPDATE).unwrap();
        println!("{}{}", said.output, said.errors);
        assert_eq!(said.code, Some(0), "{said:?}");
    }

    /// Waits until the update has ended, or stands still on an error, and is in that state.
    pub(crate) fn wait_state(&self, wanted: &str) -> Value {
        let software = self.wait_over();
        if software["state"] != wanted {
            let shown = serde_json::to_string_pretty(&software).unwrap();
            panic!("the update is not {wanted}: {shown}\n{}", self.explained());
        }
        software
    }

    /// Waits until it has ended, or stands still on an error.
    pub(crate) fn wait_over(&self) -> Value {
        until("the end of the update", UPDATE, || {
            let software = self.software()?;
            let state = software["state"].as_str()?;
            let over = ["completed", "canceled", "failed", "paused_on_error"];
            over.contains(&state).then_some(software)
        })
        .unwrap()
    }

    pub(crate) fn wait_completed(&self) {
        self.wait_state("completed");
    }

    /// All hosts run the new image in the other slot, everything is home, and nothing is left in Pacemaker.
    pub(crate) fn is_updated(&self) {
        for (index, host) in self.cluster.hosts().iter().enumerate() {
            let current = std::fs::read_link(host.dir().join("slots/current")).unwrap();
            assert_eq!(current.to_str(), Some("b"), "{}", host.name());
            let release = host.dir().join("slots/current/release");
            assert_eq!(std::fs::read_to_string(release).unwrap().trim(), NEW);
            let state = std::fs::read_to_string(host.dir().join("slots/state")).unwrap();
            assert!(
                state.contains("default=b") && state.contains("b=good"),
                "{state}"
            );
            let log = self.log(index);
            assert!(!log.contains("panicked"), "{log}");
            let addresses = host
                .output("ip", ["-j", "address", "show", "dev", "eth0"])
                .unwrap();
            assert!(
                addresses.contains(&self.cluster.address(index)),
                "{addresses}"
            );
            let cib = host
                .output("cibadmin", ["--query", "--scope", "constraints"])
                .unwrap();
            assert!(!cib.contains("evenkeel"), "{cib}");
            let nodes = host
                .output("cibadmin", ["--query", "--scope", "nodes"])
                .unwrap();
            assert!(!nodes.contains("name=\"standby\" value=\"on\""), "{nodes}");
        }
        let software = self.software().unwrap();
        for node in software["nodes"].as_array().unwrap() {
            assert_eq!(node["version"], NEW, "{software}");
        }
    }
}
