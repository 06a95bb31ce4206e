//! `evenkeel`: the operator's command.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel_cli::run()
}
