//! Puts troubles into words that fit: an event holds at most 128 KiB, whatever is wrong with how many nodes.

use std::collections::BTreeSet;

use evenkeel_model::{Finding, Severity};

use super::collect::Troubles;
use super::nodes::{SP, is_sp_silence};
use crate::words::{self, cut};

/// Troubles, and nodes of a list, that a finding names; of more it says how many.
pub(crate) const NAMED: usize = 20;
/// Bytes of JSON that all findings together may have: an event of theirs stays under 48 KiB, and the findings
/// of the package's own checks fit in too.
const BUDGET: usize = 32 << 10;
/// Longest sentence: vetoes, alerts and manual steps are others' texts.
const SENTENCE_MAX: usize = 300;
/// Longest name of what a finding is about, likewise.
const ABOUT_MAX: usize = 120;

/// The findings, each naming as many troubles as fit.
pub(super) fn render(found: &[Troubles]) -> Vec<Finding> {
    let mut named = NAMED;
    loop {
        let findings: Vec<Finding> = found.iter().map(|f| finding(f, named)).collect();
        let bytes: usize = findings.iter().map(weight).sum();
        if bytes <= BUDGET || named == 1 {
            return findings;
        }
        named /= 2;
    }
}

fn finding(found: &Troubles, named: usize) -> Finding {
    let mut issues: Vec<String> = Vec::new();
    let mut actions: Vec<String> = Vec::new();
    let mut act = |action: &str| {
        let action = cut(action, SENTENCE_MAX);
        if actions.len() < named && !actions.contains(&action) {
            actions.push(action);
        }
    };
    for sentence in found.sentences.iter().take(named) {
        issues.push(cut(&sentence.issue, SENTENCE_MAX));
        act(&sentence.action);
    }
    for (why, nodes) in found.blind.iter().take(named) {
        let nodes = words::nodes(nodes, named);
        issues.push(cut_end(format!(
            "The check could not run on {nodes}: {why}"
        )));
        act("Make the node answer the check, then validate again.");
    }
    let more =
        found.sentences.len().saturating_sub(named) + found.blind.len().saturating_sub(named);
    if more > 0 {
        issues.push(format!("And {more} more."));
    }
    Finding {
        check: found.check.clone(),
        severity: found.severity,
        issue: issues.join(" "),
        action: actions.join(" "),
        about: subjects(found, named),
        acknowledged: None,
    }
}

/// What a finding is about. Which service processors were silent is asked for again, node by node, while the
/// update runs: all of them are kept. At most some 70 bytes a node, of 512 nodes 37 KiB: an event still holds it.
fn subjects(found: &Troubles, named: usize) -> BTreeSet<String> {
    let is_kept = |name: &&String| {
        found.check == SP && found.severity == Severity::Warning && is_sp_silence(name)
    };
    let (kept, others): (Vec<&String>, Vec<&String>) = found.about.iter().partition(is_kept);
    let mut subjects = about(&others.into_iter().cloned().collect(), named);
    subjects.extend(kept.into_iter().cloned());
    subjects
}

/// What a finding is about. Names that do not fit are one name together, which any change among them changes:
/// whoever acknowledged them is asked again.
pub(crate) fn about(all: &BTreeSet<String>, named: usize) -> BTreeSet<String> {
    let short = |name: &String| match name.len() > ABOUT_MAX {
        true => format!(
            "{} {:016x}",
            cut(name, ABOUT_MAX),
            print_of([name.as_str()])
        ),
        false => name.clone(),
    };
    let mut about: BTreeSet<String> = all.iter().take(named).map(short).collect();
    if all.len() > named {
        let rest = all.iter().skip(named).map(String::as_str);
        let more = all.len() - named;
        about.insert(format!("and {more} more ({:016x})", print_of(rest)));
    }
    about
}

/// FNV-1a: tells sets apart that are not made to look alike.
fn print_of<'s>(names: impl IntoIterator<Item = &'s str>) -> u64 {
    let bytes = names.into_iter().flat_map(|name| name.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A sentence whose end is a reason of someone else's making. Lists of nodes before it are bounded already.
fn cut_end(mut sentence: String) -> String {
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    cut(&sentence, SENTENCE_MAX + NAMED * 70)
}

/// Bytes of a finding in JSON, or a few more.
pub(crate) fn weight(finding: &Finding) -> usize {
    let escaped = |text: &str| -> usize {
        text.chars()
            .map(|c| match c {
                '"' | '\\' => 2,
                c if c.is_control() => 6,
                c => c.len_utf8(),
            })
            .sum()
    };
    let about: usize = finding.about.iter().map(|name| escaped(name) + 3).sum();
    let acknowledged = finding.acknowledged.as_ref();
    let known = acknowledged.map_or(0, |a| escaped(a.by.as_str()) + escaped(&a.reason) + 96);
    let keys = 96;
    keys + known
        + escaped(&finding.check)
        + escaped(&finding.issue)
        + escaped(&finding.action)
        + about
}
