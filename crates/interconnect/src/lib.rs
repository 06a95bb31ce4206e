//! Node to node: messages, the agent's client trait, mutual TLS, package transfer. Its own port: node
//! commands never pass through the public one.

mod message;

pub use message::{
    AgentClient, AgentRequest, AgentResponse, AgentService, CallError, Consent, ConsentRequest,
    PROTOCOL,
};
