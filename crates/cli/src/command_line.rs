//! From the command line to an exit code.

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::client::Client;
use crate::outcome::Stop;
use crate::target::Target;
use crate::{image, observe};

/// Parses the command line, does what it says, and reports errors as one sentence.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
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
        Command::Image(command) => image::run(&client()?, command, cli.json),
        Command::Package(command) => command.run(cli.json),
        Command::Job(command) => observe::jobs(&client()?, command, cli.json),
        Command::Explain => observe::explain(&client()?, cli.json),
        Command::Events { follow, since } => observe::events(&client()?, since, follow),
    }
}
