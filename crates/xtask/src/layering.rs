//! Holds the arrows between our crates against the table of the design.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::step::{cargo, output};

/// Direct dependencies that each crate may have among ours. Tests (dev-dependencies) may use more.
/// A new arrow needs a reason in the message of the commit that adds it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    // The clocks return the model's times.
    ("seam", &["model"]),
    // Keys and certificates, for the daemons as for the lab that makes its own.
    ("identity", &["model"]),
    ("planner", &["model"]),
    ("record", &["model", "seam"]),
    ("package-store", &["model", "seam"]),
    ("platform", &["model", "seam"]),
    // The backend for real machines, apart from the traits: what is simulated never needs it, nor does a lab.
    ("linux", &["model", "seam", "platform"]),
    ("firmware", &["model", "seam", "platform"]),
    (
        "interconnect",
        &["model", "seam", "identity", "package-store"],
    ),
    (
        "agent",
        &[
            "model",
            "seam",
            "package-store",
            "platform",
            "firmware",
            "interconnect",
        ],
    ),
    (
        "orchestrator",
        &["model", "seam", "planner", "record", "interconnect"],
    ),
    // Fetches bytes and judges nothing: it knows neither packages nor the cluster.
    ("download", &[]),
    ("api", &["model", "seam"]),
    (
        "rest",
        &[
            "model",
            "seam",
            "api",
            "orchestrator",
            "record",
            "package-store",
            "download",
        ],
    ),
    ("daemon", ALL),
    ("lab", &["model", "seam", "identity", "platform"]),
    // Test support: hosts as namespaces of one machine. Nothing of the product uses it.
    ("hosts", &["model", "seam", "platform", "linux"]),
    ("cli", &["model", "seam", "api", "lab", "package-store"]),
    ("simulation", ALL),
    ("xtask", &[]),
];

/// What the crates at the top, which only wire, may use.
const ALL: &[&str] = &[
    "model",
    "seam",
    "identity",
    "planner",
    "record",
    "package-store",
    "platform",
    "linux",
    "firmware",
    "interconnect",
    "agent",
    "orchestrator",
    "api",
    "download",
    "rest",
];

#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: String,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    kind: Vec<String>,
    /// Whether its unit tests are compiled.
    pub(crate) test: bool,
}

impl Target {
    /// `lib`, `bin`, `test` …
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|it| it == kind)
    }
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Option<String>,
    pub(crate) path: Option<String>,
}

/// What cargo says of our crates.
pub(crate) fn metadata() -> Result<Metadata> {
    let metadata = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    serde_json::from_str(&metadata).context("cargo metadata")
}

pub(crate) fn check(metadata: &Metadata) -> Result<()> {
    let wrong = wrong_arrows(metadata);
    if !wrong.is_empty() {
        bail!(
            "the arrows between crates are not as designed:\n  {}",
            wrong.join("\n  ")
        );
    }
    Ok(())
}

fn wrong_arrows(metadata: &Metadata) -> Vec<String> {
    let table: BTreeMap<&str, BTreeSet<&str>> = MAY_USE
        .iter()
        .map(|(from, to)| (*from, to.iter().copied().collect()))
        .collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(from) = short(&package.name) else {
            wrong.push(format!("{} is not called evenkeel-…", package.name));
            continue;
        };
        if !package
            .manifest_path
            .ends_with(&format!("/crates/{from}/Cargo.toml"))
        {
            wrong.push(format!("{} does not lie in crates/{from}", package.name));
        }
        let Some(allowed) = table.get(from) else {
            wrong.push(format!(
                "{from} is not in the table of crates/xtask/src/layering.rs"
            ));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| is_arrow(d)) {
            let to = short(&dependency.name).unwrap_or(&dependency.name);
            if !allowed.contains(to) {
                wrong.push(format!("{from} may not use {to}"));
            }
        }
    }
    wrong
}

/// A dependency on one of our crates that is not for tests alone.
fn is_arrow(dependency: &Dependency) -> bool {
    dependency.path.is_some() && dependency.kind.as_deref() != Some("dev")
}

fn short(name: &str) -> Option<&str> {
    name.strip_prefix("evenkeel-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, uses: &[(&str, Option<&str>)]) -> Package {
        let dependencies = uses
            .iter()
            .map(|(name, kind)| Dependency {
                name: (*name).to_owned(),
                kind: kind.map(str::to_owned),
                path: Some(String::new()),
            })
            .collect();
        let short = short(name).unwrap_or(name);
        let manifest_path = format!("/r/crates/{short}/Cargo.toml");
        Package {
            name: name.to_owned(),
            manifest_path,
            dependencies,
            targets: Vec::new(),
        }
    }

    fn wrong(package: Package) -> Vec<String> {
        wrong_arrows(&Metadata {
            packages: vec![package],
        })
    }

    #[test]
    fn an_arrow_against_the_table_is_named() {
        let planner = package("evenkeel-planner", &[("evenkeel-record", None)]);
        assert_eq!(wrong(planner), ["planner may not use record"]);
        let unlisted = package("evenkeel-extra", &[]);
        assert_eq!(wrong(unlisted).len(), 1);
    }

    #[test]
    fn tests_may_use_more() {
        let planner = package("evenkeel-planner", &[("evenkeel-record", Some("dev"))]);
        assert!(wrong(planner).is_empty());
    }

    #[test]
    fn no_crate_may_use_one_that_may_use_it() {
        for (from, to) in MAY_USE {
            for to in *to {
                let back = MAY_USE.iter().find(|(name, _)| name == to);
                let back = back.expect("every crate named in the table has a row").1;
                assert!(!back.contains(from), "{from} and {to} may use each other");
            }
        }
    }
}
