//! What people and the REST API see, as pure functions over a [`View`](crate::View).
