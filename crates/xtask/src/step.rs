//! Running one command after another, readably.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

/// The repository's root folder.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().nth(2);
    root.expect("this crate lies in <root>/crates/xtask")
        .to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    forget_us(&mut command);
    command
}

/// What cargo told this program of itself: there are build scripts that would be run anew for it, and most of the
/// workspace be compiled again.
fn forget_us(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// The same, giving way to all others that want to compute.
pub(crate) fn kind_cargo() -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", "15"]).arg(cargo().get_program());
    command.current_dir(root());
    forget_us(&mut command);
    command
}

/// Announces a step, runs its command to success and says how long it took.
#[expect(clippy::disallowed_methods, reason = "a person waits for it")]
pub(crate) fn run(title: &str, command: &mut Command) -> Result<()> {
    eprintln!("== {title}");
    let begun = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("{title}: cannot run {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{title}: failed ({status})");
    }
    eprintln!("== {title}: {} s", begun.elapsed().as_secs());
    Ok(())
}

/// A step that is run beside others: what it prints is kept until it is asked for.
pub(crate) struct Step {
    title: String,
    command: Command,
}

impl Step {
    pub(crate) fn new(title: &str, command: Command) -> Self {
        let title = title.to_owned();
        Self { title, command }
    }
}

/// Steps that run one after the other, beside what else is done.
pub(crate) struct Beside(JoinHandle<Vec<(String, io::Result<Output>, u64)>>);

impl Beside {
    /// Begins.
    #[expect(clippy::disallowed_methods, reason = "a person waits for it")]
    pub(crate) fn start(steps: Vec<Step>) -> Self {
        let work = move || {
            let done = steps.into_iter().map(|mut step| {
                let begun = Instant::now();
                let output = step.command.output();
                (step.title, output, begun.elapsed().as_secs())
            });
            done.collect()
        };
        Self(thread::spawn(work))
    }

    /// Waits, prints what was printed, and says what they came to.
    pub(crate) fn outcome(self) -> Result<()> {
        let mut outcome = Ok(());
        for (title, output, seconds) in self.0.join().expect("running a program does not panic") {
            let failed = match output {
                Ok(output) => {
                    let said = [output.stdout, output.stderr]
                        .map(|it| String::from_utf8_lossy(&it).into_owned());
                    eprintln!("== {title}\n{}{}", said[1], said[0]);
                    (!output.status.success()).then(|| output.status.to_string())
                }
                Err(error) => Some(format!("cannot run it: {error}")),
            };
            match failed {
                None => eprintln!("== {title}: {seconds} s"),
                Some(why) => {
                    eprintln!("== {title}: failed after {seconds} s ({why})");
                    outcome = outcome.and(Err(anyhow!("{title}: failed ({why})")));
                }
            }
        }
        outcome
    }
}

/// What a command prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {program:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program:?} failed ({}): {}", output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program:?} printed no UTF-8"))
}
