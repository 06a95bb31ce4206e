//! Passwords: from a file, from standard input, or typed where nobody sees them.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::outcome::Stop;

/// The first line of a file.
pub(crate) fn first_line(path: &Path) -> Result<String, Stop> {
    let text = fs::read_to_string(path)
        .map_err(|error| Stop::Failed(format!("cannot read {}: {error}", path.display())))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Whether others can read the file: its mode, if so. Pipes are nobody's but the process's.
pub(crate) fn open_to_others(path: &Path) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    let mode = meta.permissions().mode() & 0o777;
    (meta.is_file() && mode & 0o077 != 0).then(|| format!("{mode:o}"))
}

/// Refuses a file that others can read.
pub(crate) fn demand_private(path: &Path) -> Result<(), Stop> {
    match open_to_others(path) {
        Some(mode) => Err(Stop::Failed(format!(
            "{path} has mode {mode}, so that others can read it: chmod 600 {path}, and change the password if \
             anybody may have seen it",
            path = path.display()
        ))),
        None => Ok(()),
    }
}

/// Says that others can read a file that was named on the command line.
pub(crate) fn warn_if_open(path: &Path) {
    if let Some(mode) = open_to_others(path) {
        let path = path.display();
        eprintln!("evenkeel: {path} has mode {mode}: others can read the password in it");
    }
}

/// A password that exists: typed once, or the first line of standard input.
pub(crate) fn ask(prompt: &str) -> Result<String, Stop> {
    match io::stdin().is_terminal() {
        true => typed(prompt),
        false => line(),
    }
}

/// A new password: typed twice, or the first line of standard input.
pub(crate) fn ask_new(prompt: &str) -> Result<String, Stop> {
    if !io::stdin().is_terminal() {
        return line();
    }
    let first = typed(prompt)?;
    match first == typed("The same again")? {
        true => Ok(first),
        false => Err(Stop::Failed("the two passwords differ".to_owned())),
    }
}

fn typed(prompt: &str) -> Result<String, Stop> {
    let failed = |error: nix::Error| Stop::Failed(format!("cannot hide what is typed: {error}"));
    eprint!("{prompt}: ");
    let _ = io::stderr().flush();
    let stdin = io::stdin();
    let before = tcgetattr(stdin.as_fd()).map_err(failed)?;
    let mut hidden = before.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    hidden.local_flags.insert(LocalFlags::ECHONL);
    tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &hidden).map_err(failed)?;
    let line = line();
    tcsetattr(stdin.as_fd(), SetArg::TCSAFLUSH, &before).map_err(failed)?;
    line
}

fn line() -> Result<String, Stop> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    let read = read.map_err(|error| Stop::Failed(format!("cannot read the password: {error}")))?;
    if read == 0 {
        return Err(Stop::Usage("no password was given".to_owned()));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
