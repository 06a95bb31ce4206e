//! Appends that are checked against the folds first.

use evenkeel_model::{
    CatalogueEvent, ControlEvent, Event, Illegal, Operation, OperationEvent, OperationId, Position,
    StreamId,
};
use evenkeel_record::{AppendError, Fence, View, Write, Writer};

/// Events for one operation and what goes with them, atomically.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) control: Vec<ControlEvent>,
    pub(crate) catalogue: Vec<CatalogueEvent>,
    pub(crate) operation: Vec<OperationEvent>,
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommitError {
    /// The events do not follow from the state: a defect, or a state that has moved on.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The record did not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Appends `batch`, whose operation events are those of `operation`, if the record still stands where `view` does and every event is legal there.
pub(crate) async fn commit(
    writer: &Writer,
    view: &View,
    fence: Fence,
    operation: Option<OperationId>,
    batch: Batch,
) -> Result<Position, CommitError> {
    check(view, operation, &batch)?;
    let mut writes: Vec<Write> = Vec::new();
    let mut add = |stream: StreamId, events: Vec<Event>| {
        if !events.is_empty() {
            writes.push(view.write(stream, events));
        }
    };
    add(
        StreamId::Control,
        batch.control.into_iter().map(Event::Control).collect(),
    );
    add(
        StreamId::Catalogue,
        batch.catalogue.into_iter().map(Event::Catalogue).collect(),
    );
    if let Some(operation) = operation {
        add(
            StreamId::Operation(operation),
            batch.operation.into_iter().map(Event::Operation).collect(),
        );
    }
    Ok(writer.append(fence, writes).await?)
}

/// Applies the batch to copies of the states.
fn check(view: &View, id: Option<OperationId>, batch: &Batch) -> Result<(), Illegal> {
    let mut control = view.control().clone();
    batch
        .control
        .iter()
        .try_for_each(|event| control.apply(event))?;
    let mut catalogue = view.catalogue().clone();
    batch
        .catalogue
        .iter()
        .try_for_each(|event| catalogue.apply(event))?;
    let Some(id) = id else {
        debug_assert!(batch.operation.is_empty(), "events of no operation");
        return Ok(());
    };
    let mut events = batch.operation.iter();
    let mut operation = match (view.operation(id), events.as_slice().first()) {
        (Some(operation), _) => operation.clone(),
        (None, Some(_)) => {
            let first = events.next().expect("the slice has a first element");
            Operation::begin(id, first)?
        }
        (None, None) => return Ok(()),
    };
    events.try_for_each(|event| operation.apply(event))
}
