//! The step function: what an operation does next.

use evenkeel_model::{Awaiting, OperationState, Request};

use crate::input::{Decision, Input};
use crate::{firmware, package, preview, update};

/// Decides the next step of `input.operation`. Called again and again; deterministic.
pub fn next(input: &Input<'_>) -> Decision {
    if matches!(input.operation.state, OperationState::Ended { .. }) {
        return Decision::default();
    }
    match &input.operation.request {
        Request::Update(request) => update::next(input, request),
        Request::Validate { version } => update::validation(input, version),
        Request::Estimate(request) => preview::estimate(input, request),
        Request::Get { node, .. } => package::get(input, node),
        Request::Delete { digest, .. } => package::delete(input, *digest),
        Request::Sync { digest, version } => package::sync(input, *digest, version),
        Request::Firmware { digest, kind, .. } => firmware::next(input, *digest, *kind),
    }
}

/// A wait of this operation, as of now.
pub(crate) fn awaiting(input: &Input<'_>, what: String, unblock: &str) -> Awaiting {
    Awaiting {
        operation: Some(input.operation.id),
        node: None,
        what,
        since: input.operation.state_since,
        seen: None,
        remaining: None,
        unblock: unblock.to_owned(),
    }
}
