//! The certificate of a node's API, at `/evenkeel/v1/certificate`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::users::Secret;

/// `GET /evenkeel/v1/certificate`: what the node that answers shows to its clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// The node.
    pub node: String,
    /// Where it comes from.
    pub source: CertificateSource,
    /// The subject's common name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The issuer's common name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Names and addresses it stands for.
    pub names: Vec<String>,
    /// From when on it is valid.
    #[schemars(extend("format" = "date-time"))]
    pub not_before: String,
    /// Until when.
    #[schemars(extend("format" = "date-time"))]
    pub not_after: String,
    /// SHA-256 of the certificate, in hex digits.
    pub fingerprint_sha256: String,
    /// The chain, PEM.
    pub certificate: String,
}

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateSource {
    /// The daemon made it at its first start: nobody vouches for it.
    Made,
    /// It was given over the API.
    Given,
    /// `evenkeeld.toml` names its files.
    Configured,
}

/// Body of `PUT /evenkeel/v1/certificate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCertificate {
    /// The chain, PEM, the node's own first.
    pub certificate: String,
    /// Its key, PEM.
    pub private_key: Secret,
}
