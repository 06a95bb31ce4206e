//! What systemd is told. Outside of systemd all of this does nothing.

use std::sync::Arc;

use evenkeel_model::{Operation, OperationId, OperationKind, OperationState, Request, Standing};
use evenkeel_record::{Contact, Follower, View};
use sd_notify::NotifyState;

use crate::cluster::{Belonging, said};

/// Tells systemd.
pub(crate) fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

/// Keeps the status text up to date.
pub(crate) async fn follow(follower: Arc<Follower>, belonging: Belonging) {
    let mut belongs = belonging.belongs();
    let (mut views, mut contacts) = (follower.views(), follower.contacts());
    let mut last = String::new();
    loop {
        let text = match belonging.standing() {
            None | Some(Standing::Member) => status(&follower.view(), &follower.contact()),
            Some(standing) => said(&standing),
        };
        if text != last {
            notify(&[NotifyState::Status(&text)]);
            last = text;
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            changed = contacts.changed() => if changed.is_err() { return },
            changed = belongs.changed() => if changed.is_err() { return },
        }
    }
}

fn status(view: &View, contact: &Contact) -> String {
    let control = view.control();
    let coordinator = match &control.coordinator {
        Some(coordinator) => format!("coordinator {}", coordinator.node),
        None => "no coordinator".to_owned(),
    };
    let told = |(id, kind): (&OperationId, &OperationKind)| match view.operation(*id) {
        Some(operation) => told(operation),
        // One that cannot be read is open all the same.
        None => kind.as_str().to_owned(),
    };
    let open: Vec<String> = control.open.iter().map(told).collect();
    let doing = match open.is_empty() {
        true => "nothing open".to_owned(),
        false => format!("open: {}", open.join(", ")),
    };
    match &contact.trouble {
        None => format!("{coordinator}; {doing}"),
        Some(trouble) => format!("{coordinator}; {doing}; the record: {trouble}"),
    }
}

/// One that is open, in words: what it is, and where it stands unless it simply goes on.
fn told(operation: &Operation) -> String {
    let kind = operation.request.kind().as_str();
    let what = match &operation.request {
        Request::Update(update) => format!("{kind} to {}", update.version),
        Request::Validate { version } => format!("{kind} of {version}"),
        Request::Estimate(_)
        | Request::Get { .. }
        | Request::Delete { .. }
        | Request::Sync { .. }
        | Request::Firmware { .. } => kind.to_owned(),
    };
    let stands = match &operation.state {
        OperationState::Paused { .. } => "paused",
        OperationState::PausePending => "about to pause",
        OperationState::CancelPending => "being canceled",
        OperationState::Replanning => "being planned anew",
        OperationState::Requested
        | OperationState::Validated
        | OperationState::Running
        | OperationState::Ended { .. } => return what,
    };
    format!("{what}, {stands}")
}
