//! Reads a disk qualification package, line by line.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use sha2::{Digest as _, Sha256};

use crate::id::{DeviceModel, FirmwareRevision, NameError, PlatformName};

use super::{
    HEADER, MAX_QUALIFICATION_BYTES, MAX_QUALIFICATION_RECORDS, NONE, Qualification,
    QualificationError, QualificationProblem as Problem,
};

/// Longest version, in bytes.
const MAX_VERSION_BYTES: usize = 32;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// Where the next line begins.
    at: usize,
    /// The line that was read last, counted from 1.
    line: usize,
    /// Where a name has its record: drives and their aliases, modules, systems.
    seen: [BTreeMap<String, usize>; 3],
    /// Where each alias is.
    alias_lines: BTreeMap<DeviceModel, usize>,
    records: usize,
}

/// What a name is a name of; within each it has one record.
#[derive(Clone, Copy)]
enum Family {
    Drives,
    Modules,
    Systems,
}

/// What comes after the header.
enum Line<'a> {
    Comment,
    Words(Vec<&'a str>),
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            line: 0,
            seen: Default::default(),
            alias_lines: BTreeMap::new(),
            records: 0,
        }
    }

    pub(super) fn read(mut self) -> Result<Qualification, QualificationError> {
        let read = self.read_file();
        read.map_err(|problem| QualificationError {
            line: self.line,
            problem,
        })
    }

    fn read_file(&mut self) -> Result<Qualification, Problem> {
        if self.bytes.len() > MAX_QUALIFICATION_BYTES {
            return Err(Problem::TooLarge);
        }
        let mut read = self.header()?;
        loop {
            let begins = self.at;
            match self.next_line()? {
                Line::Comment => {}
                Line::Words(words) if words[0] == "checksum" => {
                    self.checksum(&words, begins)?;
                    break;
                }
                Line::Words(words) => self.record(&words, &mut read)?,
            }
        }
        for (alias, target) in &read.aliases {
            if !read.drives.contains_key(target) {
                self.line = self.alias_lines[alias];
                let target = target.to_string();
                return Err(Problem::NoSuchDrive { target });
            }
        }
        Ok(read)
    }

    fn header(&mut self) -> Result<Qualification, Problem> {
        const OPENING: &str = "`evenkeel-qualification 1`";
        match self.words(OPENING)?[..] {
            [HEADER, "1"] => {}
            [HEADER, format] => {
                let found = format.to_owned();
                return Err(Problem::Format { found });
            }
            _ => return Err(Problem::Expected { expected: OPENING }),
        }
        let version = self.stated("version", "`version VERSION`")?;
        if version.len() > MAX_VERSION_BYTES || !is_version(version) {
            let found = version.to_owned();
            return Err(Problem::Version { found });
        }
        let revision = self.stated("revision", "`revision YYYYMMDD`")?;
        let day = FirmwareRevision::new(revision).ok();
        let Some(day) = day.filter(|_| is_day(revision)) else {
            let found = revision.to_owned();
            return Err(Problem::Revision { found });
        };
        Ok(Qualification {
            version: version.to_owned(),
            revision: day,
            drives: BTreeMap::new(),
            aliases: BTreeMap::new(),
            modules: BTreeMap::new(),
            systems: BTreeSet::new(),
        })
    }

    /// The word after `key`, in a line that has no other.
    fn stated(&mut self, key: &str, expected: &'static str) -> Result<&'a str, Problem> {
        match self.words(expected)?[..] {
            [found, value] if found == key => Ok(value),
            _ => Err(Problem::Expected { expected }),
        }
    }

    fn words(&mut self, expected: &'static str) -> Result<Vec<&'a str>, Problem> {
        match self.next_line()? {
            Line::Words(words) => Ok(words),
            Line::Comment => Err(Problem::Expected { expected }),
        }
    }

    fn next_line(&mut self) -> Result<Line<'a>, Problem> {
        self.line += 1;
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Err(Problem::NoChecksum);
        }
        let length = rest.iter().position(|byte| *byte == b'\n');
        let line = length.map(|length| &rest[..length]);
        let line = line.ok_or(Problem::Unfinished)?;
        self.at += line.len() + 1;
        let plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        let text = std::str::from_utf8(line).ok();
        let text = text.filter(|_| line.iter().all(plain));
        let text = text.ok_or(Problem::NotPlain)?;
        if text.starts_with('#') {
            return Ok(Line::Comment);
        }
        let words: Vec<&str> = text.split(' ').collect();
        match words.contains(&"") {
            true => Err(Problem::Spaces),
            false => Ok(Line::Words(words)),
        }
    }

    fn record(&mut self, words: &[&str], read: &mut Qualification) -> Result<(), Problem> {
        self.records += 1;
        if self.records > MAX_QUALIFICATION_RECORDS {
            return Err(Problem::TooManyRecords);
        }
        let form = |form| Err(Problem::Form { form });
        match words {
            ["drive", model, minimum] => {
                let model = self.first(Family::Drives, named(DeviceModel::new(*model))?)?;
                read.drives.insert(model, read_minimum(minimum)?);
            }
            ["alias", alias, target] => {
                let alias = self.first(Family::Drives, named(DeviceModel::new(*alias))?)?;
                self.alias_lines.insert(alias.clone(), self.line);
                let target = named(DeviceModel::new(*target))?;
                read.aliases.insert(alias, target);
            }
            ["device", module, minimum] => {
                let module = self.first(Family::Modules, named(DeviceModel::new(*module))?)?;
                read.modules.insert(module, read_minimum(minimum)?);
            }
            ["system", platform] => {
                let platform = named(PlatformName::new(*platform))?;
                let platform = self.first(Family::Systems, platform)?;
                read.systems.insert(platform);
            }
            ["drive", ..] => return form("drive MODEL MINIMUM"),
            ["alias", ..] => return form("alias ALIAS MODEL"),
            ["device", ..] => return form("device MODULE MINIMUM"),
            ["system", ..] => return form("system PLATFORM"),
            words => {
                let found = words.first().copied().unwrap_or_default().to_owned();
                return Err(Problem::UnknownRecord { found });
            }
        }
        Ok(())
    }

    /// The name, if it has no record yet.
    fn first<T: ToString>(&mut self, family: Family, name: T) -> Result<T, Problem> {
        let text = name.to_string();
        match self.seen[family as usize].insert(text.clone(), self.line) {
            None => Ok(name),
            Some(first) => Err(Problem::Duplicate { name: text, first }),
        }
    }

    /// `begins` is where the checksum's line begins: it covers all before it.
    fn checksum(&mut self, words: &[&str], begins: usize) -> Result<(), Problem> {
        let ["checksum", "sha256", stated] = words else {
            return Err(Problem::ChecksumForm);
        };
        // In one form only, so that no two files say the same.
        let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if stated.len() != 64 || !stated.bytes().all(lower) {
            return Err(Problem::ChecksumForm);
        }
        if hex::encode(Sha256::digest(&self.bytes[..begins])) != *stated {
            return Err(Problem::WrongChecksum);
        }
        if self.at != self.bytes.len() {
            self.line += 1;
            return Err(Problem::AfterEnd);
        }
        Ok(())
    }
}

fn is_version(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split('.').all(number)
}

fn is_day(text: &str) -> bool {
    if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let (year, month, day) = (text[..4].parse(), text[4..6].parse(), text[6..].parse());
    match (year, month, day) {
        (Ok(year), Ok(month), Ok(day)) => Date::new(year, month, day).is_ok(),
        (_, _, _) => false,
    }
}

fn named<T>(name: Result<T, NameError>) -> Result<T, Problem> {
    name.map_err(|error| Problem::Name(error.to_string()))
}

fn read_minimum(text: &str) -> Result<Option<FirmwareRevision>, Problem> {
    match text {
        NONE => Ok(None),
        text => named(FirmwareRevision::new(text)).map(Some),
    }
}
