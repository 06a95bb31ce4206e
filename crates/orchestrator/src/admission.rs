//! Whether a request may be admitted, told from the view alone.

use evenkeel_model::{
    CatalogueEntry, Operation, OperationEnd, OperationKind, OperationState, Refusal, UpdateRequest,
    Version, code,
};
use evenkeel_planner::{all_there, chosen, meant};
use evenkeel_record::View;

/// What a user may do with an update that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateAction {
    /// Pause it at the next pause point.
    Pause,
    /// Go on.
    Resume,
    /// Give back what is taken over, and end it.
    Cancel,
}

pub(crate) fn package<'a>(
    view: &'a View,
    version: &Version,
) -> Result<&'a CatalogueEntry, Refusal> {
    view.catalogue()
        .by_version(version)
        .ok_or_else(|| match view.catalogue().packages.is_empty() {
            true => Refusal::new(code::STORE_EMPTY, "Package store is empty.").about("version"),
            false => {
                let text = format!("Package {version} does not exist on the system.");
                Refusal::new(code::NO_PACKAGE, text).about("version")
            }
        })
}

/// Whether this cluster could make such an update at all, told from its topology.
pub(crate) fn possible(view: &View, request: &UpdateRequest) -> Result<(), Refusal> {
    let topology = view.control().topology.as_ref();
    topology.map_or(Ok(()), |topology| chosen(topology, request).map(drop))
}

/// Whether the nodes that the request names are there, in whole pairs.
pub(crate) fn names_nodes(view: &View, request: &UpdateRequest) -> Result<(), Refusal> {
    let topology = view.control().topology.as_ref();
    topology.map_or(Ok(()), |topology| meant(topology, request).map(drop))
}

/// An update whose nodes are at the version already is refused at once.
pub(crate) fn not_there_yet(view: &View, request: &UpdateRequest) -> Result<(), Refusal> {
    let control = view.control();
    let Some(topology) = &control.topology else {
        return Ok(());
    };
    let (nodes, version) = (chosen(topology, request)?, &request.version);
    let runs = |name| {
        control
            .booted
            .get(name)
            .and_then(|booted| booted.version.as_ref())
    };
    let all_run = nodes.iter().all(|name| runs(name) == Some(version));
    match all_run && !was_given_up(view) {
        true => Err(all_there(request)),
        false => Ok(()),
    }
}

/// Whether the newest update that did anything was cancelled: it may have left a node on a slot that
/// nobody said is good, and only the planner can see that.
fn was_given_up(view: &View) -> bool {
    let updates = view.operations().rev();
    let end = updates
        .filter(|operation| operation.kind() == OperationKind::Update)
        .find_map(|operation| match &operation.state {
            OperationState::Ended {
                end: OperationEnd::Failed { .. },
            } => None,
            state => Some(state),
        });
    let canceled = OperationState::Ended {
        end: OperationEnd::Canceled,
    };
    end == Some(&canceled)
}

const PENDING: (u32, &str) = (code::WRONG_STATE, "A pause is pending already.");

/// The open update, if the action fits its state.
pub(crate) fn update_for(view: &View, action: UpdateAction) -> Result<&Operation, Refusal> {
    let open = view
        .control()
        .open_of(OperationKind::Update)
        .and_then(|id| view.operation(id));
    let Some(update) = open else {
        return Err(match action {
            UpdateAction::Pause => {
                Refusal::new(code::NO_UPDATE_TO_PAUSE, "There is no update to be paused.")
            }
            UpdateAction::Resume | UpdateAction::Cancel => {
                Refusal::new(code::NO_UPDATE, "There is no update in progress.")
            }
        });
    };
    match fits(view, action, update) {
        None => Ok(update),
        Some((code, text)) => Err(Refusal::new(code, text)),
    }
}

fn fits(view: &View, action: UpdateAction, update: &Operation) -> Option<(u32, &'static str)> {
    use OperationState as S;
    match (action, &update.state) {
        (UpdateAction::Pause, S::Running)
        | (UpdateAction::Resume | UpdateAction::Cancel, S::Paused { .. }) => None,
        (UpdateAction::Pause, S::Requested | S::Validated) if update.pause_asked => Some(PENDING),
        // A daemon of an older release could not read it.
        (UpdateAction::Pause, S::Requested | S::Validated) => {
            view.control().mixed_daemons().then_some((
                code::WRONG_STATE,
                "The update is being validated, and nodes run daemons of different releases; it can be paused \
                 once it runs.",
            ))
        }
        (UpdateAction::Pause, S::PausePending) => Some(PENDING),
        (UpdateAction::Pause, S::Paused { .. }) => {
            Some((code::WRONG_STATE, "The update is paused already."))
        }
        (UpdateAction::Pause, S::Replanning) => Some((
            code::WRONG_STATE,
            "The update is being resumed; pause it in a moment.",
        )),
        (UpdateAction::Pause, S::CancelPending | S::Ended { .. }) => {
            Some((code::WRONG_STATE, "The update is being canceled."))
        }
        (
            UpdateAction::Resume,
            S::Requested
            | S::Validated
            | S::Running
            | S::PausePending
            | S::Replanning
            | S::CancelPending
            | S::Ended { .. },
        ) => Some((code::NOT_PAUSED, "The update is not in the paused state.")),
        (
            UpdateAction::Cancel,
            S::Requested | S::Validated | S::Running | S::PausePending | S::Replanning,
        ) => Some((
            code::PAUSE_BEFORE_CANCEL,
            "The update is running. Pause it before you cancel it.",
        )),
        (UpdateAction::Cancel, S::CancelPending | S::Ended { .. }) => {
            Some((code::CANNOT_CANCEL, "The update is being canceled already."))
        }
    }
}
