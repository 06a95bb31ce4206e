//! `cargo xtask`: the one door to everything that is done with this repository.

mod bench;
mod check;
mod conformance;
mod deb;
mod demo;
mod determinism;
mod layering;
mod mixed;
mod paths;
mod platform;
mod prerequisites;
mod record;
mod simulate;
mod step;
mod test;
mod unused;

use std::process::ExitCode;

use clap::Parser;

use crate::check::Lints;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Checks, tests and shows Evenkeel")]
enum Command {
    /// Formatting, lints, docs, the arrows between crates, generated files, stray paths.
    Check,
    /// Everything that proves it: all crates' tests, labs of real processes, the unmodified clients.
    Test {
        /// Instead: two builds in one cluster, one of an earlier commit. Needs the repository's history.
        #[arg(long)]
        mixed: bool,
        /// Instead, or `beside` the rest: the engines of real controllers, in namespaces, containers and guests of this machine. As
        /// root; installs the Debian packages that are missing.
        #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "alone", conflicts_with = "mixed")]
        platform: Option<Platform>,
        /// First all that `check` looks at. Lints and documents programs and tests as it compiles them, by what `.ci/run` names to cargo: less
        /// work than both by themselves.
        #[arg(long, conflicts_with = "mixed")]
        checked: bool,
        /// The earlier commit.
        #[arg(long, value_name = "COMMIT", default_value = mixed::EARLIER, requires = "mixed")]
        from: String,
    },
    /// Writes the generated files anew.
    Generate,
    /// Records the streams of this release, as far as they are not there yet: every later build must read them.
    Record {
        /// Names their folder in `crates/record/tests/corpus`; another one keeps what this release recorded before
        /// its format changed.
        #[arg(value_name = "BUILD", default_value = env!("CARGO_PKG_VERSION"))]
        build: String,
    },
    /// Storms drawn from seeds over simulated clusters, as many as wanted. One that fails is shrunk to a story.
    Simulate {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        seeds: u64,
        /// The first; the same seed is the same storm.
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// Tells the first seed from its story to its last event, and plays no other.
        #[arg(long)]
        tell: bool,
    },
    /// Every order of messages, decisions and crashes in the update of one pair, breadth first. The tests explore
    /// all of no fault with one request, and of one fault with none.
    Explore {
        /// Faults in one run: a crash, a lost or repeated message, an unknown outcome, a lost lease …
        #[arg(long, default_value_t = 1)]
        faults: u8,
        /// Pauses, resumptions and cancels in one run.
        #[arg(long, default_value_t = 0)]
        requests: u8,
        /// Gives up, saying so, when there are more states; a million take about a gigabyte and a minute.
        #[arg(long, default_value_t = 5_000_000)]
        most_states: usize,
    },
    /// Measures speed and memory, paired with the shell commands that do the same.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// The Debian package, from a release build: both programs, units, man pages, completions, documents.
    Deb(deb::Deb),
    /// Builds, then runs `evenkeel lab demo` with the given arguments.
    Demo {
        /// Passed on.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// How the tests on real engines are run.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Platform {
    /// Nothing but them.
    Alone,
    /// Beside everything else.
    Beside,
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Check => check::run(Lints::Alone),
        Command::Test {
            mixed: true, from, ..
        } => mixed::run_mixed(&from),
        Command::Test {
            platform, checked, ..
        } => test::run_all(platform, checked),
        Command::Generate => check::generate(),
        Command::Record { build } => record::run_all(&build),
        Command::Simulate { seeds, first, tell } => simulate::simulate(seeds, first, tell),
        Command::Explore {
            faults,
            requests,
            most_states,
        } => simulate::explore(faults, requests, most_states),
        Command::Bench(bench) => bench::run(&bench),
        Command::Deb(deb) => deb::make(&deb),
        Command::Demo { arguments } => demo::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
