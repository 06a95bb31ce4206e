//! Lines in a few files of bounded size: when the newest is full the oldest goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A journal. Blocks.
pub(crate) struct Journal {
    folder: PathBuf,
    name: &'static str,
    files: usize,
    file_bytes: u64,
    newest: File,
    /// Of its whole lines.
    length: u64,
    /// Part of a line may stand behind them.
    is_torn: bool,
}

impl Journal {
    /// Opens or begins the journal `name` of at most `files` files of about so many bytes each.
    pub(crate) fn open(
        folder: &Path,
        name: &'static str,
        files: usize,
        file_bytes: u64,
    ) -> io::Result<Self> {
        let mut newest = open(&path(folder, name, 0))?;
        let length = end_of_lines(&mut newest)?;
        File::open(folder)?.sync_all()?;
        Ok(Self {
            folder: folder.to_owned(),
            name,
            files,
            file_bytes,
            newest,
            length,
            is_torn: false,
        })
    }

    /// Writes a line to disk.
    pub(crate) fn append(&mut self, line: &str) -> io::Result<()> {
        if self.length >= self.file_bytes {
            self.turn()?;
        }
        if self.is_torn {
            // The next line would be joined to what was written of an earlier one, and both be lost.
            self.newest.set_len(self.length)?;
        }
        let line = format!("{line}\n");
        self.is_torn = true;
        self.newest.write_all(line.as_bytes())?;
        self.is_torn = false;
        self.length += line.len() as u64;
        self.newest.sync_data()
    }

    /// The texts of the files, newest first.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> + use<> {
        let paths: Vec<PathBuf> = (0..self.files)
            .map(|n| path(&self.folder, self.name, n))
            .collect();
        // One that is not there has not been begun; one that cannot be read says nothing.
        paths
            .into_iter()
            .map_while(|path| fs::read(path).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn turn(&mut self) -> io::Result<()> {
        for n in (1..self.files).rev() {
            match fs::rename(
                path(&self.folder, self.name, n - 1),
                path(&self.folder, self.name, n),
            ) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.newest = open(&path(&self.folder, self.name, 0))?;
        self.length = 0;
        self.is_torn = false;
        File::open(&self.folder)?.sync_all()
    }
}

fn path(folder: &Path, name: &str, age: usize) -> PathBuf {
    match age {
        0 => folder.join(format!("{name}.jsonl")),
        age => folder.join(format!("{name}.{age}.jsonl")),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.read(true).append(true).create(true).mode(0o600);
    how.open(path)
}

/// The length of the file, whose last line is ended first if a loss of power cut it.
fn end_of_lines(file: &mut File) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok(0);
    }
    file.seek(SeekFrom::Start(length - 1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(length);
    }
    file.write_all(b"\n")?;
    Ok(length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go_and_a_torn_one_harms_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), "j", 3, 100).unwrap();
        for n in 0..100 {
            journal.append(&format!("line {n}")).unwrap();
        }
        let all: Vec<String> = journal.texts().collect();
        assert_eq!(all.len(), 3);
        assert!(all[0].ends_with("line 99\n") && !all.concat().contains("line 1\n"));
        assert!(all.iter().all(|text| text.len() < 120));
        drop(journal);
        let newest = dir.path().join("j.jsonl");
        let mut torn = OpenOptions::new().append(true).open(&newest).unwrap();
        torn.write_all(b"torn").unwrap();
        let mut journal = Journal::open(dir.path(), "j", 3, 1000).unwrap();
        journal.append("after").unwrap();
        let newest = journal.texts().next().unwrap();
        assert!(newest.ends_with("torn\nafter\n"), "{newest}");
    }

    #[test]
    fn a_line_that_could_not_be_written_whole_harms_no_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), "j", 3, 1000).unwrap();
        journal.append("before").unwrap();
        // As on a full disk: some of the line goes, then an error comes.
        let newest = dir.path().join("j.jsonl");
        let full = File::open(&newest).unwrap();
        let good = std::mem::replace(&mut journal.newest, full);
        let mut torn = OpenOptions::new().append(true).open(&newest).unwrap();
        torn.write_all(b"tor").unwrap();
        journal.append("torn").unwrap_err();
        journal.newest = good;
        journal.append("after").unwrap();
        journal.append("last").unwrap();
        let text = journal.texts().next().unwrap();
        assert_eq!(text, "before\nafter\nlast\n");
    }
}
