//! `evenkeel image gates`: what an update waits for between nodes.

use evenkeel_api::{GateChange, GateSettings};
use serde_json::{Value, json};
use ureq::http::Method;

use crate::args::{GatesArgs, ImageGates};
use crate::client::Client;
use crate::image::decode;
use crate::outcome::{Stop, print, print_json};

const GATES: &str = "/evenkeel/v1/gates";

pub(crate) fn run(client: &Client, command: &ImageGates, json: bool) -> Result<(), Stop> {
    let answer: Value = match command {
        ImageGates::Show => client.get(GATES)?,
        ImageGates::Set(args) => {
            client.object(&Method::PATCH, GATES, Some(&json!(change(args))))?
        }
    };
    let gates: GateSettings = decode(&answer)?;
    match json {
        true => print_json(&answer),
        false => print(&(describe(&gates) + when(command))),
    }
}

/// From when on what was set counts.
fn when(command: &ImageGates) -> &'static str {
    match command {
        ImageGates::Show => "",
        ImageGates::Set(_) => {
            "An update that is open takes these up when it is paused and resumed.\n"
        }
    }
}

fn change(args: &GatesArgs) -> GateChange {
    let named: Vec<String> = args.conditions.iter().map(ToString::to_string).collect();
    let is_said = args.off || !named.is_empty();
    GateChange {
        conditions: is_said.then_some(named),
        hold_minutes: args.hold,
        longest_minutes: args.longest,
    }
}

fn describe(gates: &GateSettings) -> String {
    if gates.conditions.is_empty() {
        return "Between nodes an update waits for no condition.\n".to_owned();
    }
    format!(
        "Between nodes an update waits until these have held for {} min: {}. After {} min it pauses.\n",
        gates.hold_minutes,
        gates.conditions.join(", "),
        gates.longest_minutes
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_not_changed() {
        let args = GatesArgs {
            conditions: Vec::new(),
            off: false,
            hold: Some(5),
            longest: None,
        };
        assert_eq!(json!(change(&args)), json!({ "hold_minutes": 5 }));
        let args = GatesArgs {
            off: true,
            hold: None,
            ..args
        };
        assert_eq!(json!(change(&args)), json!({ "conditions": [] }));
    }
}
