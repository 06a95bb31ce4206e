//! The fold of all streams, through the model's `apply` functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_model::{
    Catalogue, Control, DecodeError, Event, Illegal, JobId, Operation, OperationEvent, OperationId,
    OperationState, Position, Seq, StreamId,
};

use crate::append::Entry;
use crate::write::Write;

/// What the record says, up to a position. Cloning is cheap: the states are shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    control: Arc<Control>,
    catalogue: Arc<Catalogue>,
    operations: BTreeMap<OperationId, Arc<Operation>>,
    heads: BTreeMap<StreamId, Seq>,
    position: Position,
    quarantined: BTreeMap<StreamId, Quarantine>,
    must_understand: Vec<ForeignEvent>,
}

/// An event that could not be folded. Its stream's state stays at what was before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// The event's number in the stream.
    pub seq: Seq,
    /// Why, with all causes.
    pub why: String,
}

/// An event of a newer release that says it must be understood by whoever coordinates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignEvent {
    /// Its stream.
    pub stream: StreamId,
    /// Its number there.
    pub seq: Seq,
    /// Its kind.
    pub kind: String,
}

/// Events are missing between the view and this one: what fed the view was not the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event {found} of stream {stream} follows event {head}")]
pub struct Gap {
    /// The stream.
    pub stream: StreamId,
    /// The last number folded.
    pub head: Seq,
    /// The number that came.
    pub found: Seq,
}

/// Why a node with this view must not coordinate, though it goes on serving.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotCoordinate {
    /// Control or catalogue cannot be folded.
    #[error("event {seq} of stream {stream} cannot be folded: {why}")]
    Quarantined {
        /// The stream.
        stream: StreamId,
        /// The event's number.
        seq: Seq,
        /// Why.
        why: String,
    },
    /// A newer release wrote something that this one must not ignore.
    #[error(
        "event {seq} of stream {stream} is of the kind {kind}, which this release must not ignore"
    )]
    Foreign {
        /// The stream.
        stream: StreamId,
        /// The event's number.
        seq: Seq,
        /// Its kind.
        kind: String,
    },
}

impl View {
    /// Folds entries from the beginning. For tests and tools; a daemon follows.
    pub fn replay<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<Self, Gap> {
        let mut view = Self::default();
        for entry in entries {
            view.apply(entry)?;
        }
        Ok(view)
    }

    /// Folds the next entry; one that was folded before changes nothing. What cannot be folded quarantines
    /// its stream and is no error here: the other streams go on.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Gap> {
        if entry.position <= self.position {
            return Ok(());
        }
        let (stream, head) = (entry.stream, self.head(entry.stream));
        if entry.seq != head.next() {
            return Err(Gap {
                stream,
                head,
                found: entry.seq,
            });
        }
        self.heads.insert(stream, entry.seq);
        self.position = entry.position;
        if self.quarantined.contains_key(&stream) {
            return Ok(());
        }
        if let Err(why) = self.fold(entry) {
            let why = why.to_string();
            tracing::error!(%stream, seq = %entry.seq, why, "an event cannot be folded");
            self.quarantined.insert(
                stream,
                Quarantine {
                    seq: entry.seq,
                    why,
                },
            );
        }
        Ok(())
    }

    fn fold(&mut self, entry: &Entry) -> Result<(), FoldError> {
        match (Event::decode(entry.stream, &entry.body)?, entry.stream) {
            (Event::Control(event), _) => Arc::make_mut(&mut self.control).apply(&event)?,
            (Event::Catalogue(event), _) => Arc::make_mut(&mut self.catalogue).apply(&event)?,
            (Event::Operation(event), StreamId::Operation(id)) => {
                self.fold_operation(id, &event)?
            }
            (Event::Operation(_), StreamId::Control | StreamId::Catalogue) => {
                return Err(FoldError::Misplaced);
            }
            (
                Event::Foreign {
                    kind,
                    must_understand,
                },
                stream,
            ) => {
                if must_understand {
                    self.must_understand.push(ForeignEvent {
                        stream,
                        seq: entry.seq,
                        kind,
                    });
                }
            }
        }
        Ok(())
    }

    fn fold_operation(&mut self, id: OperationId, event: &OperationEvent) -> Result<(), FoldError> {
        match self.operations.get_mut(&id) {
            Some(operation) => Arc::make_mut(operation).apply(event)?,
            None => {
                self.operations
                    .insert(id, Arc::new(Operation::begin(id, event)?));
            }
        }
        Ok(())
    }

    /// The control stream's state.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The catalogue's state.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// An operation's state.
    pub fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.operations.get(&id).map(Arc::as_ref)
    }

    /// Whether an operation is canceled or has ended: nothing more is to be begun for it. Not one that is not known here
    /// yet.
    pub fn is_over(&self, id: OperationId) -> bool {
        let operation = self.operation(id);
        operation.is_some_and(|it| it.is_ended() || it.state == OperationState::CancelPending)
    }

    /// All operations in the order of their admission.
    pub fn operations(&self) -> impl DoubleEndedIterator<Item = &Operation> {
        self.control
            .operations
            .iter()
            .filter_map(|(id, _)| self.operation(*id))
    }

    /// The operations that have not ended, in the order of their admission.
    pub fn open_operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations()
            .filter(|operation| self.control.open.contains_key(&operation.id))
    }

    /// The operation that a job belongs to.
    pub fn operation_of(&self, job: JobId) -> Option<&Operation> {
        self.operations()
            .find(|operation| operation.jobs.iter().any(|j| j.id == job))
    }

    /// How many events of a stream are in the view: what the next append expects.
    pub fn head(&self, stream: StreamId) -> Seq {
        self.heads.get(&stream).copied().unwrap_or_default()
    }

    /// The last event in the view.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Streams that could not be folded to their end.
    pub fn quarantined(&self) -> &BTreeMap<StreamId, Quarantine> {
        &self.quarantined
    }

    /// An operation's quarantine, if its stream is in one.
    pub fn quarantine_of(&self, operation: OperationId) -> Option<&Quarantine> {
        self.quarantined.get(&StreamId::Operation(operation))
    }

    /// Events of a newer release that a coordinator must not ignore.
    pub fn must_understand(&self) -> &[ForeignEvent] {
        &self.must_understand
    }

    /// Whether a node that knows this much may coordinate. An operation's own quarantine does not forbid
    /// it: that operation stands still, the others go on.
    pub fn may_coordinate(&self) -> Result<(), CannotCoordinate> {
        if let Some(foreign) = self.must_understand.first() {
            let ForeignEvent { stream, seq, kind } = foreign.clone();
            return Err(CannotCoordinate::Foreign { stream, seq, kind });
        }
        for stream in [StreamId::Control, StreamId::Catalogue] {
            if let Some(Quarantine { seq, why }) = self.quarantined.get(&stream).cloned() {
                return Err(CannotCoordinate::Quarantined { stream, seq, why });
            }
        }
        Ok(())
    }

    /// Events for a stream, to be appended only if nothing has been appended since this view.
    pub fn write(&self, stream: StreamId, events: Vec<Event>) -> Write {
        Write {
            stream,
            expected: self.head(stream),
            events,
        }
    }
}

/// Why one event could not be folded.
#[derive(Debug, thiserror::Error)]
enum FoldError {
    #[error("it cannot be read: {0}")]
    Decode(serde_json::Error),
    #[error(transparent)]
    Illegal(#[from] Illegal),
    #[error("an operation's event stands in another stream")]
    Misplaced,
}

impl From<DecodeError> for FoldError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error.source)
    }
}
