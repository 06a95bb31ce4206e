//! The operators' guide has a line for every word of trouble that the planner and the agents have.

use std::fs;
use std::path::{Path, PathBuf};

/// Where words of trouble come from.
const SOURCES: [&str; 2] = ["planner/src", "agent/src"];

/// Files whose words are no trouble of an update that runs.
const ELSEWHERE: [&str; 17] = [
    // Findings of checks: `docs/checks.md` has every one.
    "planner/src/checks/",
    "planner/src/bundled.rs",
    // Packages that come and go: `docs/packages.md`.
    "planner/src/carry.rs",
    "planner/src/package.rs",
    "planner/src/chores.rs",
    // What is awaited, and what is answered before anything runs.
    "planner/src/explain.rs",
    "planner/src/next.rs",
    "planner/src/preview.rs",
    "planner/src/order.rs",
    "planner/src/input.rs",
    "planner/src/update/admit.rs",
    // An agent's answers to other daemons, its own database, and what it sees.
    "agent/src/agent.rs",
    "agent/src/checks.rs",
    "agent/src/consent.rs",
    "agent/src/guardian.rs",
    "agent/src/observe.rs",
    "agent/src/db/",
];

/// Words that nobody is stopped by: progress, waits, parts of the above, and what programmers are told.
const NO_TROUBLE: [&str; 46] = [
    // What the log says of a task.
    "… of … begins",
    "… of … failed: …",
    "… of … ended",
    // Progress of an agent's task.
    "making the new slot the default",
    "making the running slot the default again",
    "running the gate script; …",
    "giving pool … back",
    "ending the takeover of …",
    "waiting for … to serve…",
    "sending LIF … home",
    "looking for the package",
    "getting the package from another node",
    "marking the slot good",
    "shutting down and booting the new slot",
    "the result cannot be written down: …",
    "asking … for its consent",
    "taking over …: pools on this node",
    // Waits, and what is seen meanwhile.
    "its agent carries it out",
    "… s to go",
    "every condition holds, for … of … s…",
    "every condition holds now",
    "node \"…\" stands at its gate: …",
    "another try to …",
    "The time passing; the update tries again by itself.",
    "before the update can …",
    "The pair becoming healthy; the update goes on by itself.",
    "the post-update checks to come clean",
    "what … now runs to be recorded",
    "A node records it by itself as soon as it reaches the record.",
    "The cluster settling after the last giveback.",
    "what is needed to plan anew: …",
    "node \"…\" serves for node \"…\", by … doing",
    "the pair of node \"…\"",
    "what is under way to come to its end, before the update pauses",
    "Whoever is away being home; nothing new is begun.",
    "the update is being canceled",
    "Wait for its end.",
    " And … more nodes.",
    // The end of an update that left nothing behind.
    "Nobody is in takeover.",
    "All nodes run ….",
    // Programmers' words.
    "it was just made",
    "a step was just pushed",
    "a part begins with a step",
    "no answer within …",
    "release of the consent: …",
    "asking is only in the way of a promise of one's own",
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// The texts between quotation marks, without comments and tests; `…` for what is filled in.
fn texts(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code: Vec<&str> = source.lines().filter(is_code).collect();
    let code = code.join("\n").replace("'\"'", "");
    let (mut texts, mut text) = (Vec::new(), None::<String>);
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        match (&mut text, c) {
            (None, '"') => text = Some(String::new()),
            (None, _) => {}
            (Some(_), '"') => texts.extend(text.take()),
            (Some(open), '\\') => match chars.next() {
                // The line goes on in the next one.
                Some('\n') => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                Some(escaped) => open.push(escaped),
                None => {}
            },
            (Some(open), '{') => {
                while chars.next().is_some_and(|c| c != '}') {}
                open.push('…');
            }
            (Some(open), c) => open.push(c),
        }
    }
    texts
}

/// Whether a line says the text, with anything for what is filled in.
fn says(line: &str, text: &str) -> bool {
    let mut rest = line;
    let mut parts = text.split('…').filter(|part| !part.trim().is_empty());
    parts.all(|part| match rest.split_once(part.trim()) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn the_guide_has_a_line_for_every_word_of_trouble() {
    let page = |name: &str| fs::read_to_string(crates().join("../docs").join(name));
    let guide = ["updates.md", "firmware.md"].map(|name| page(name).expect("it is there"));
    let guide = guide.concat();
    let (mut sources, mut seen) = (Vec::new(), 0);
    for folder in SOURCES {
        files(&crates().join(folder), &mut sources);
    }
    let mut missing = Vec::new();
    for path in sources {
        let name = path.to_string_lossy().replace('\\', "/");
        if ELSEWHERE.iter().any(|other| name.contains(other)) {
            continue;
        }
        for text in texts(&fs::read_to_string(&path).expect("it can be read")) {
            let is_sentence = text.split_whitespace().count() >= 4;
            if !is_sentence || NO_TROUBLE.contains(&text.as_str()) {
                continue;
            }
            seen += 1;
            if !guide.lines().any(|line| says(line, &text)) {
                missing.push(format!("{name}: {text}"));
            }
        }
    }
    assert!(
        seen > 130,
        "only {seen} texts were found: are they still looked for where they are?"
    );
    assert!(
        missing.is_empty(),
        "docs/updates.md and docs/firmware.md say nothing of these: what happens then by itself, what is a person to do?\n{}",
        missing.join("\n")
    );
}

#[test]
fn texts_are_read_as_they_are_shown() {
    let source =
        "let a = format!(\"one {b:?} two \\\n   three \\\"four\\\"\"); // \"five\"\n// \"six\"\n";
    assert_eq!(texts(source)[0], "one … two three \"four\"");
    assert!(says(
        "x one 1 two three \"four\"",
        "one … two three \"four\""
    ));
    assert!(!says("x one 1 two", "one … two three \"four\""));
}
