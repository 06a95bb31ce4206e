//! GRUB's environment block: 1024 bytes that GRUB writes in place, without a file system of its own to help.
//!
//! The block begins with a line that marks it, then has one `name=value` on each line (a backslash makes the next byte, a backslash or a
//! line's end, part of the value), and is filled up with `#`. Source: the GRUB manual, "Environment block", and `lib/envblk.c`.

use crate::look::unavailable;
use evenkeel_platform::PlatformError;

/// How long it is: GRUB writes to the sectors that it found, so it can neither grow nor shrink.
pub(super) const BLOCK_BYTES: usize = 1024;
/// What a disk writes as a whole.
const SECTOR_BYTES: usize = 512;
const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";

/// A block's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Environment {
    /// Lines as they are, without their ends: variables, and comments that newer tools leave.
    lines: Vec<Vec<u8>>,
}

impl Environment {
    /// Reads a block.
    pub(super) fn parse(block: &[u8]) -> Result<Self, PlatformError> {
        if block.len() != BLOCK_BYTES {
            return Err(unavailable(format!(
                "it has {} bytes, not {BLOCK_BYTES}: make it anew with grub-editenv",
                block.len()
            )));
        }
        let Some(content) = block.strip_prefix(SIGNATURE) else {
            return Err(unavailable(
                "it does not begin with GRUB's mark: make it anew with grub-editenv",
            ));
        };
        let end = content.iter().rposition(|byte| *byte != b'#');
        let content = &content[..end.map_or(0, |end| end + 1)];
        Ok(Self {
            lines: split(content),
        })
    }

    /// The value of a variable that holds neither backslashes nor line ends; none if it is not set.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let line = self.lines.iter().find(|line| is_of(line, name))?;
        std::str::from_utf8(&line[name.len() + 1..]).ok()
    }

    /// Sets variables, and puts them in front in this order, so that they lie in the first sector.
    pub(super) fn set_first(&mut self, values: &[(&str, String)]) {
        self.lines
            .retain(|line| !values.iter().any(|(name, _)| is_of(line, name)));
        let first = values
            .iter()
            .map(|(name, value)| format!("{name}={value}").into_bytes());
        self.lines.splice(0..0, first);
    }

    /// The block; an error if it does not fit.
    pub(super) fn encode(&self) -> Result<Vec<u8>, PlatformError> {
        let mut block = SIGNATURE.to_vec();
        for line in &self.lines {
            block.extend_from_slice(line);
            block.push(b'\n');
        }
        if block.len() > BLOCK_BYTES {
            return Err(unavailable(
                "it is full: remove variables that nobody needs, with grub-editenv",
            ));
        }
        block.resize(BLOCK_BYTES, b'#');
        Ok(block)
    }
}

/// Whether two blocks differ in at most one sector, so that a power cut leaves one of them, whole.
pub(super) fn differ_in_one_sector(before: &[u8], after: &[u8]) -> bool {
    let sectors = before.chunks(SECTOR_BYTES).zip(after.chunks(SECTOR_BYTES));
    sectors.filter(|(before, after)| before != after).count() <= 1
}

fn is_of(line: &[u8], name: &str) -> bool {
    line.strip_prefix(name.as_bytes())
        .is_some_and(|rest| rest.first() == Some(&b'='))
}

fn split(content: &[u8]) -> Vec<Vec<u8>> {
    let (mut lines, mut line, mut escaped) = (Vec::new(), Vec::new(), false);
    for &byte in content {
        match byte {
            b'\n' if !escaped => lines.push(std::mem::take(&mut line)),
            byte => line.push(byte),
        }
        escaped = byte == b'\\' && !escaped;
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(content: &str) -> Vec<u8> {
        let mut block = format!("# GRUB Environment Block\n{content}").into_bytes();
        block.resize(BLOCK_BYTES, b'#');
        block
    }

    #[test]
    fn foreign_variables_stay_as_they_are() {
        let before = block("# WARNING\nkernelopts=a \\\\ b\\\nc\nA_OK=0\nsaved_entry=x\n");
        let mut environment = Environment::parse(&before).unwrap();
        assert_eq!(environment.get("A_OK"), Some("0"));
        assert_eq!(environment.get("A_O"), None);
        assert_eq!(environment.encode().unwrap(), before);
        environment.set_first(&[("A_OK", "1".to_owned()), ("B_OK", "0".to_owned())]);
        let after = block("A_OK=1\nB_OK=0\n# WARNING\nkernelopts=a \\\\ b\\\nc\nsaved_entry=x\n");
        assert_eq!(environment.encode().unwrap(), after);
    }

    #[test]
    fn what_is_no_block_or_does_not_fit_is_said() {
        Environment::parse(&block("")[1..]).unwrap_err();
        Environment::parse(&[b'#'; BLOCK_BYTES]).unwrap_err();
        let mut environment = Environment::parse(&block("")).unwrap();
        environment.set_first(&[("x", "y".repeat(BLOCK_BYTES))]);
        environment.encode().unwrap_err();
    }

    #[test]
    fn sectors_are_told_apart() {
        let before = block("A_OK=0\n");
        assert!(differ_in_one_sector(&before, &block("A_OK=1\n")));
        let far = block(&format!("A_OK=1\nx={}\n", "y".repeat(600)));
        assert!(!differ_in_one_sector(&before, &far));
    }
}
