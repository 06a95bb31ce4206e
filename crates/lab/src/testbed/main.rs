//! For the lab's own tests: `evenkeel lab …` with tools that make bare images, and, started as
//! `--config FILE`, an `evenkeeld` that does nothing but answer HTTPS.

mod daemon;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use evenkeel_lab::LabCommand;

#[derive(Parser)]
struct Cli {
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(subcommand)]
    Lab(Box<LabCommand>),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[1..] {
        [flag, config] if flag == "--config" => daemon::run(Path::new(config)).await,
        [flag, ..] if flag == "--config" => bail!("only --config FILE"),
        _ => {
            let cli = Cli::parse();
            let Command::Lab(command) = cli.command;
            command.run(&tools::Bare, cli.json).await
        }
    }
}
