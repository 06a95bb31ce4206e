//! Which role a request needs. What is not listed needs an admin.

use axum::http::Method;
use evenkeel_api::{ApiError, Code, Download, Resource, Software};
use evenkeel_model::Role;

use crate::caller::Caller;

/// The users, and each of them.
pub(crate) const USERS: &str = "/evenkeel/v1/users";
pub(crate) const USER: &str = "/evenkeel/v1/users/{name}";
pub(crate) const AUDIT: &str = "/evenkeel/v1/audit";
pub(crate) const CERTIFICATE: &str = "/evenkeel/v1/certificate";
pub(crate) const UPLOAD: &str = "/api/cluster/software/upload";
pub(crate) const PACKAGES: &str = "/evenkeel/v1/packages";

/// What is there for root on the controller, who has no user of the cluster: letting people in, being known to
/// them, and seeing who asked for what.
const LOCAL: [&str; 4] = [USERS, USER, AUDIT, CERTIFICATE];

/// Refuses what the caller's role does not cover. `route` is the pattern that matched; without one nothing
/// will be done.
pub(crate) fn check(caller: &Caller, method: &Method, route: Option<&str>) -> Result<(), ApiError> {
    let Some(route) = route else {
        return Ok(());
    };
    if caller.is_local && !LOCAL.contains(&route) {
        let message = "not authorized for that command: over the local socket there are users, the certificate \
             and the audit log, and nothing else";
        return Err(ApiError::with(Code::Forbidden, message));
    }
    caller.require(needed(method, route))
}

/// The least role that may call this, whatever is asked for.
pub(crate) fn needed(method: &Method, route: &str) -> Role {
    if method.is_safe() {
        return match route {
            // Who there is, and who asked for what, is the admin's to know.
            USERS | AUDIT => Role::Admin,
            // The handler shows everybody their own.
            _ => Role::Readonly,
        };
    }
    let staged = [
        // Validating and estimating; the handler sees what else is asked for.
        (Method::PATCH, Software::PATH),
        (Method::POST, Download::PATH),
        (Method::POST, UPLOAD),
        (Method::PUT, PACKAGES),
    ];
    match staged.contains(&(method.clone(), route)) {
        true => Role::Stager,
        // The handler lets everybody change their own password.
        false if *method == Method::PATCH && route == USER => Role::Readonly,
        false => Role::Admin,
    }
}
