//! The ONTAP-compatible front end: HTTPS, Basic auth, and one generic layer for links, fields, filters,
//! order and paging. No SQL and no planning: it shows what [`Cluster`] tells and
//! asks for changes at the [`FrontDoor`]. [`RecordCluster`] tells what the record holds,
//! and [`NodeDoor`] is the door of a node.
//!
//! Start at [`Api::router`], which is the whole API as one axum `Router`, and [`serve`], which puts it on a
//! TLS listener. Any number of listeners may share a router: the cluster's address moves.
//!
//! Invariants: an upload is never held in memory; every wait is bounded; an error always has a
//! non-empty message, since clients take an empty one for success.

mod app;
mod asynchronous;
mod audit;
mod auth;
mod busy;
mod caller;
mod certificate;
mod cluster;
mod devices;
mod door;
mod enter;
mod events;
mod fetch;
mod firmware;
mod incoming;
mod inlet;
mod jobs;
mod kept;
mod list;
mod live;
mod openapi;
mod pace;
mod packages;
mod page;
mod password;
mod permit;
mod plan;
mod policy;
mod project;
mod record;
mod request;
mod resources;
mod respond;
mod routes;
mod select;
mod server;
mod settings;
mod software;
mod throttle;
mod tls;
mod transfers;
mod typed;
mod upload;
mod users;
mod x509;

pub use app::Api;
pub use audit::{AuditError, AuditLog, Audits, noted_locally};
pub use auth::check_new_password;
pub use caller::{Origin, Peer};
pub use cluster::{
    Certificates, Cluster, EventStream, FrontDoor, PeerRoom, Picture, Upload, UploadError,
};
pub use door::{NodeDoor, NodeDoorParts};
pub use live::LiveDownload;
pub use openapi::openapi;
pub use password::{HashError, hash_password, is_password_of};
pub use policy::PackagePolicy;
pub use record::RecordCluster;
pub use respond::ErrorNumber;
pub use server::{Limits, serve, serve_local};
pub use tls::{TlsError, first_certificate, tls_config};
pub use users::new_user_name;
pub use x509::{CertificateFacts, X509Error};
