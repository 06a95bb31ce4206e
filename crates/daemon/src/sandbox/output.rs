//! What a check says, read with bounds and believed only where it is what a check says.

use evenkeel_model::{BundledFinding, Severity};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Most that a check may say.
pub(super) const MAX_OUTPUT_BYTES: usize = 64 << 10;
/// Most problems that a check may find: what it finds travels in events.
const MAX_FINDINGS: usize = 16;
/// Longest text of a finding, in characters.
const MAX_TEXT_CHARS: usize = 500;
/// How much of what it says on its error output is kept: the end.
const TAIL_BYTES: usize = 4 << 10;

/// One line of a check.
#[derive(Deserialize)]
struct Line {
    status: Severity,
    issue: String,
    action: String,
}

/// Why it did not say what a check says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Nonsense(pub(super) String);

/// Reads all of it; none if that is more than a check may say.
pub(super) async fn all(mut from: impl AsyncRead + Unpin) -> Option<Vec<u8>> {
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        // What is broken off says less than was meant, which its exit code tells.
        let n = from.read(&mut piece).await.unwrap_or(0);
        if n == 0 {
            return Some(said);
        }
        said.extend_from_slice(&piece[..n]);
        if said.len() > MAX_OUTPUT_BYTES {
            return None;
        }
    }
}

/// Reads to the end, and keeps the last of it.
pub(super) async fn tail(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let n = from.read(&mut piece).await.unwrap_or(0);
        if n == 0 {
            return kept;
        }
        kept.extend_from_slice(&piece[..n]);
        let extra = kept.len().saturating_sub(TAIL_BYTES);
        kept.drain(..extra);
    }
}

/// The last line that is not empty, fit to be shown.
pub(super) fn last_line(said: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(said);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    last.map(shown)
}

/// Without control characters, and not too long.
fn shown(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let text = text.trim();
    let mut shown: String = text.chars().take(MAX_TEXT_CHARS).map(clean).collect();
    if text.chars().nth(MAX_TEXT_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

/// What the lines of a check say.
pub(super) fn findings(check: &str, said: &[u8]) -> Result<Vec<BundledFinding>, Nonsense> {
    let said = std::str::from_utf8(said);
    let said = said.map_err(|_| Nonsense("it does not write UTF-8".to_owned()))?;
    let lines = said.lines().filter(|line| !line.trim().is_empty());
    let findings = lines.map(|line| finding(check, line));
    let findings: Vec<BundledFinding> = findings.collect::<Result<_, _>>()?;
    match findings.len() <= MAX_FINDINGS {
        true => Ok(findings),
        false => Err(Nonsense(format!(
            "it finds {} problems, of which a check may say {MAX_FINDINGS}",
            findings.len()
        ))),
    }
}

fn finding(check: &str, line: &str) -> Result<BundledFinding, Nonsense> {
    let said: Line = serde_json::from_str(line).map_err(|error| {
        let line = shown(line);
        Nonsense(format!("it writes {line:?}, which is no finding: {error}"))
    })?;
    Ok(BundledFinding {
        check: check.to_owned(),
        severity: said.status,
        issue: text(line, "issue", &said.issue)?,
        action: text(line, "action", &said.action)?,
    })
}

/// A text that says something: a person is to act on it.
fn text(line: &str, name: &str, said: &str) -> Result<String, Nonsense> {
    let text = shown(said);
    match text.trim().is_empty() {
        true => {
            let line = shown(line);
            Err(Nonsense(format!(
                "it writes {line:?}, whose {name} is empty"
            )))
        }
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_findings() {
        let said =
            b"{\"status\":\"warning\",\"issue\":\"low\\nfree\",\"action\":\"free\",\"more\":1}\n\n";
        let findings = findings("checks/a", said).unwrap();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].severity, Severity::Warning);
        assert_eq!(findings[0].issue, "low free");
        assert_eq!(super::findings("a", b"").unwrap(), []);
    }

    #[test]
    fn anything_else_is_nonsense() {
        let no = |said: &[u8]| findings("a", said).unwrap_err().0;
        assert!(no(b"all is well").contains("\"all is well\", which is no finding"));
        assert!(no(b"{\"status\":\"fatal\",\"issue\":\"i\",\"action\":\"a\"}").contains("fatal"));
        assert!(no(b"{\"status\":\"error\",\"issue\":\"i\"}").contains("action"));
        let empty = no(b"{\"status\":\"error\",\"issue\":\" \\u0001\",\"action\":\"a\"}");
        assert!(empty.contains("whose issue is empty"), "{empty}");
        let empty = no(b"{\"status\":\"warning\",\"issue\":\"i\",\"action\":\"\"}");
        assert!(empty.contains("whose action is empty"), "{empty}");
        assert!(no(&[0xff]).contains("UTF-8"));
        let one = b"{\"status\":\"error\",\"issue\":\"i\",\"action\":\"a\"}\n";
        assert!(no(&one.repeat(17)).contains("17 problems"));
    }

    #[test]
    fn texts_are_cut_and_the_last_line_is_kept() {
        assert_eq!(last_line(b"one\ntwo\n \n").unwrap(), "two");
        assert_eq!(last_line(b" \n"), None);
        let long = "x".repeat(600);
        assert_eq!(last_line(long.as_bytes()).unwrap().chars().count(), 501);
    }
}
