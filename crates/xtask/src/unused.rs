//! Every dependency that a crate declares is named in its sources: one that is not is built for nothing,
//! and tells a reader of something that is not there.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::layering::{Metadata, Package};

pub(crate) fn check(metadata: &Metadata) -> Result<()> {
    let mut unused = Vec::new();
    for package in &metadata.packages {
        let folder = Path::new(&package.manifest_path)
            .parent()
            .context("a manifest lies in a folder")?;
        let sources = rust_below(&folder.join("src"))?;
        let mut tests = rust_below(&folder.join("tests"))?;
        tests.push_str(&rust_below(&folder.join("examples"))?);
        unused.extend(unnamed(package, &sources, &tests));
    }
    if !unused.is_empty() {
        bail!(
            "dependencies that nothing names:\n  {}",
            unused.join("\n  ")
        );
    }
    Ok(())
}

/// A dependency for tests and examples may be named in the sources too: unit tests stand there.
fn unnamed(package: &Package, sources: &str, tests: &str) -> Vec<String> {
    let named = |name: &str, text: &str| has_word(text, &name.replace('-', "_"));
    let idle = package.dependencies.iter().filter(|d| {
        let in_tests = d.kind.as_deref() == Some("dev") && named(&d.name, tests);
        !in_tests && !named(&d.name, sources)
    });
    idle.map(|d| format!("{}: {}", package.name, d.name))
        .collect()
}

fn has_word(text: &str, word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(in_word) && !after.is_some_and(in_word)
    })
}

/// All Rust sources in a folder, one after the other; none when there is no such folder.
fn rust_below(folder: &Path) -> Result<String> {
    let mut all = String::new();
    if !folder.is_dir() {
        return Ok(all);
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.push_str(&rust_below(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path);
            all.push_str(&text.with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layering::Dependency;

    fn package(name: &str, kind: Option<&str>) -> Package {
        let dependency = Dependency {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            path: None,
        };
        Package {
            name: "evenkeel-x".to_owned(),
            manifest_path: String::new(),
            dependencies: vec![dependency],
            targets: Vec::new(),
        }
    }

    #[test]
    fn a_dependency_that_only_tests_name_is_for_tests() {
        let normal = package("serde-json", None);
        let test_only = package("serde-json", Some("dev"));
        let names_it = "serde_json::from_str(x)";
        assert_eq!(unnamed(&normal, "", names_it), ["evenkeel-x: serde-json"]);
        assert!(unnamed(&normal, names_it, "").is_empty());
        assert!(unnamed(&test_only, "", names_it).is_empty());
        assert_eq!(unnamed(&test_only, "use serde_jsonish;", "").len(), 1);
    }
}
