//! Node to node: messages, the agent's client trait, mutual TLS, package transfer. Its own port: node
//! commands never pass through the public one.
//!
//! A node serves its agent and its packages with [`serve`] and calls others through [`TlsClient`];
//! tests and the simulation use a [`LocalNetwork`] instead. A [`Puller`] brings packages here, a
//! [`StoreSource`] gives them to others, and [`sources`] says who pulls from whom. The record of a pair is carried by a
//! [`RecordClient`] to the [`RecordService`] of the node that has it open. A peer is who its certificate says it is,
//! and only members of the cluster are heard.
//! Who is none yet is heard at the door alone ([`JoinService`], [`ask_to_join`]).

mod activity;
mod chain;
mod client;
mod join;
mod link;
mod local;
mod members;
mod message;
mod package;
mod pull;
mod record;
mod server;
mod tls;
mod uplink;

pub use chain::{Place, Source, sources};
pub use client::{ClientParts, TlsClient};
pub use join::{
    JOIN_ANSWER_TIMEOUT, JoinAnswer, JoinError, JoinService, JoinStatement, Welcome, ask_to_join,
};
pub use local::{Echo, LocalClient, LocalNetwork, Loss};
pub use members::{Member, Members, members_of};
pub use message::{
    AgentClient, AgentRequest, AgentResponse, AgentService, CallError, Consent, ConsentRequest,
    Look, PROTOCOL,
};
pub use package::{FetchError, PackageBody, PackageBytes, PackageClient, PackageSource, Wanted};
pub use pull::{
    Content, PullBounds, PullError, PullOrder, Puller, StoreSource, pull_stage_id, pulled_package,
};
pub use record::{RecordClient, RecordService, RecordServing};
pub use server::{ServerParts, serve};
pub use tls::{TlsError, TlsIdentity};
