//! Passwords: from a file, from standard input, or typed where nobody sees them.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Read as _, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::outcome::Stop;

/// More than any password or token has.
const LONGEST_LINE: u64 = 64 * 1024;

/// The first line of a file.
pub(crate) fn first_line(path: &Path) -> Result<String, Stop> {
    let shown = path.display();
    let mut text = String::new();
    let file = fs::File::open(path);
    file.and_then(|file| file.take(LONGEST_LINE).read_to_string(&mut text))
        .map_err(|error| Stop::Failed(format!("cannot read {shown}: {error}")))?;
    if text.len() as u64 == LONGEST_LINE && !text.contains('\n') {
        return Err(Stop::Failed(format!(
            "the first line of {shown} has no end"
        )));
    }
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
    let hidden = Hidden::begin().map_err(failed)?;
    eprint!("{prompt}: ");
    let _ = io::stderr().flush();
    match hidden.wait().map_err(failed)? {
        Typed::Line => line(),
        Typed::Interrupt => {
            // The signal that was held back ends the command here, unless whoever started it has it ignored.
            drop(hidden);
            Err(Stop::Failed("no password was given".to_owned()))
        }
    }
}

/// Why a wait at a prompt is over.
enum Typed {
    Line,
    Interrupt,
}

/// A terminal that does not show what is typed, until this is dropped. The signals that would end the command are
/// held back meanwhile: ended at the prompt, it would leave the user's shell without echo.
struct Hidden {
    stdin: io::Stdin,
    shown: Termios,
    mask: SigSet,
    interrupts: SignalFd,
}

impl Hidden {
    fn begin() -> nix::Result<Self> {
        let stdin = io::stdin();
        let shown = tcgetattr(stdin.as_fd())?;
        let held: SigSet = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ]
        .into_iter()
        .collect();
        let interrupts = SignalFd::new(&held)?;
        let mask = held.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let hidden = Self {
            stdin,
            shown,
            mask,
            interrupts,
        };
        let mut silent = hidden.shown.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        silent.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(hidden.stdin.as_fd(), SetArg::TCSAFLUSH, &silent)?;
        Ok(hidden)
    }

    /// Waits for a line, which is not read here, or for a signal.
    fn wait(&self) -> nix::Result<Typed> {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut both = [
            readable(self.interrupts.as_fd()),
            readable(self.stdin.as_fd()),
        ];
        loop {
            match poll(&mut both, PollTimeout::NONE) {
                // It was stopped, and goes on.
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
                Ok(_) if both[0].any() == Some(false) => return Ok(Typed::Line),
                Ok(_) => return Ok(Typed::Interrupt),
            }
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // First the terminal: a signal that was held back comes with the old mask.
        let _ = tcsetattr(self.stdin.as_fd(), SetArg::TCSAFLUSH, &self.shown);
        let _ = self.mask.thread_set_mask();
    }
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
