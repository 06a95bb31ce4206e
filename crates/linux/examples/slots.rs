//! Drives a host's boot slots by hand: for guests and hosts of the whole-system tests, and for trying a configuration out.
//!
//! `slots SETTINGS.json COMMAND`, where the file holds what stands in `[platform.slots]`, as JSON. The command is `state`,
//! `mark-unbootable SLOT`, `set-default SLOT TRIES` or `mark-good SLOT`. Each ends by printing the slots as JSON.

use std::process::ExitCode;

use evenkeel_linux::{Host, slots};
use evenkeel_model::{Slot, SlotSettings};

const USAGE: &str = "usage: slots SETTINGS.json state | mark-unbootable SLOT | set-default SLOT TRIES | mark-good SLOT";

fn main() -> ExitCode {
    match run() {
        Ok(state) => {
            println!("{state}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (settings, command) = args.split_first().ok_or(USAGE)?;
    let settings =
        std::fs::read(settings).map_err(|error| format!("cannot read {settings}: {error}"))?;
    let settings: SlotSettings = serde_json::from_slice(&settings).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(act(&settings, command))
}

async fn act(settings: &SlotSettings, command: &[String]) -> Result<String, String> {
    let slots = slots::open(&Host::this(), settings);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let done = match command[..] {
        ["state"] => Ok(()),
        ["mark-unbootable", slot] => slots.mark_unbootable(parse(slot)?).await,
        ["mark-good", slot] => slots.mark_good(parse(slot)?).await,
        ["set-default", slot, tries] => {
            let tries = tries.parse().map_err(|_| USAGE.to_owned())?;
            slots.set_default(parse(slot)?, tries).await
        }
        _ => return Err(USAGE.to_owned()),
    };
    done.map_err(|error| error.to_string())?;
    let state = slots.slots().await.map_err(|error| error.to_string())?;
    serde_json::to_string(&state).map_err(|error| error.to_string())
}

fn parse(slot: &str) -> Result<Slot, String> {
    let found = [Slot::A, Slot::B].into_iter().find(|s| s.as_str() == slot);
    found.ok_or_else(|| format!("{slot} is neither a nor b"))
}
