//! GateScript: the operator's script on the node whose turn it is, asked until it lets the update go on.

use std::time::Duration;

use evenkeel_model::{How, TaskError};
use tokio::time::{Instant, sleep, timeout};

use super::run::{Run, permanent, transient};
use crate::parts::{GateAnswer, GateContext};

/// Twelve times in a minute, within reason.
const MOST_OFTEN: Duration = Duration::from_millis(200);

pub(super) async fn run(run: &Run, longest_minutes: u32) -> Result<How, TaskError> {
    run.check_own_boot(run.order().before.node_boot)?;
    // What the script does is its own affair; that it runs is written down.
    run.begin()?;
    tokio::select! {
        biased;
        () = run.inner().cut.notified() => Err(transient(
            "something else is to be done on this node",
            "None: the gate is asked anew.",
        )),
        answer = ask(run, longest_minutes) => answer,
    }
}

async fn ask(run: &Run, longest_minutes: u32) -> Result<How, TaskError> {
    let (order, node) = (run.order(), &run.parts().node);
    let context = GateContext {
        node: node.clone(),
        partner: order.partner.clone(),
        version: order.target.clone(),
    };
    let (begin, longest) = (Instant::now(), run.parts().minute * longest_minutes);
    let mut last = "it has not answered yet".to_owned();
    for asked in 1_u64.. {
        run.say(&format!("running the gate script; {last}"), asked, 0);
        let left = longest.saturating_sub(begin.elapsed());
        match timeout(left, run.parts().gate.ask(&context)).await {
            Ok(GateAnswer::Open) => return Ok(run.reached()),
            Ok(GateAnswer::NotYet(said)) => last = format!("it said: {said}"),
            Ok(GateAnswer::Trouble(why)) => return Err(trouble(run, &why)),
            Err(_) => break,
        }
        sleep(MOST_OFTEN.max(run.parts().minute / 12)).await;
    }
    let message = format!(
        "the gate script of {node} did not let the update go on within {longest_minutes} minutes; {last}"
    );
    let action = "Bring about what it waits for, or take the condition \"script\" off the gates, then resume.";
    Err(permanent(message, action))
}

fn trouble(run: &Run, why: &str) -> TaskError {
    let message = format!("the gate script of {}: {why}", run.parts().node);
    permanent(
        message,
        "See to what it says, or mend the script, then resume: it runs again.",
    )
}
