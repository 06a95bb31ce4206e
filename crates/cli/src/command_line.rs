//! From the command line to an exit code.

use std::process::ExitCode;

use clap::FromArgMatches;
use clap::parser::ValueSource;
use evenkeel_lab::LabCommand;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command, Lab, command};
use crate::client::Client;
use crate::lab_tools::PackageTools;
use crate::outcome::{Stop, print};
use crate::target::Target;
use crate::{audit, certificate, cluster, demo, image, observe, profile, user};

/// Options that say which cluster, and as whom.
const OF_ELSEWHERE: &[&str] = &[
    "lab",
    "url",
    "profile",
    "user",
    "password_file",
    "client_certificate",
    "client_key",
    "ca",
    "insecure",
];

/// Parses the command line, does what it says, and reports errors as one sentence.
pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let is_typed = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
    let is_local = matches!(cli.command, Command::Cluster(_)) || cli.cluster.local.is_some();
    if is_local && let Some(option) = OF_ELSEWHERE.iter().find(|it| is_typed(it)) {
        let option = option.replace('_', "-");
        let stop = Stop::Usage(format!(
            "--{option} cannot be given here: this asks the daemon of this controller, and acts on its cluster alone; type it on \
             a controller of the cluster that you mean"
        ));
        eprintln!("evenkeel: {stop}");
        return stop.exit_code();
    }
    // A profile that is being made is made of what is given, wherever.
    if !matches!(cli.command, Command::Profile(_)) {
        let source = |name: &str| matches.value_source(name);
        let is_from_environment = |name: &str| source(name) == Some(ValueSource::EnvVariable);
        cli.cluster.prefer_what_is_named(is_from_environment);
    }
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            if !matches!(stop, Stop::Closed) {
                eprintln!("evenkeel: {stop}");
            }
            stop.exit_code()
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Stop> {
    let client = || Client::new(Target::find(&cli.cluster)?).map_err(Stop::from);
    match cli.command {
        Command::Cluster(command) => {
            let socket = cli.cluster.local.clone();
            let socket = socket.unwrap_or_else(|| crate::local::SOCKET.into());
            let client = Client::new(Target::local(&socket)).map_err(Stop::from)?;
            cluster::run(&client, &command, cli.json)
        }
        Command::Image(command) => image::run(&client()?, command, cli.json),
        Command::Package(command) => command.run(cli.json),
        Command::Firmware(command) => command.run(client, cli.json),
        Command::Lab(Lab::Demo(arguments)) => demo::run(arguments, cli.json),
        Command::Lab(Lab::Lab(command)) => run_lab(command, cli.json),
        Command::Job(command) => observe::jobs(&client()?, command, cli.json),
        Command::User(command) => user::run(&client()?, &command, cli.json),
        Command::Certificate(command) => certificate::run(&client()?, &command, cli.json),
        Command::Audit(args) => audit::run(&client()?, &args, cli.json),
        Command::Profile(command) => profile::run(&command, &cli.cluster, cli.json),
        Command::Completions { shell } => completions(shell),
        Command::Explain => observe::explain(&client()?, cli.json),
        Command::Events { follow, since } => observe::events(&client()?, since, follow),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Stop> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "evenkeel", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// The lab's log goes to standard error; standard output is for its answers.
fn run_lab(command: LabCommand, json: bool) -> Result<(), Stop> {
    let filter = EnvFilter::try_from_env("EVENKEEL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false);
    log.with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Stop::Failed(format!("cannot start: {error}")))?;
    let done = runtime.block_on(command.run(&PackageTools, json));
    done.map_err(|error| Stop::Failed(format!("{error:#}")))
}
