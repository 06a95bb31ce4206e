//! The token by which etcd knows its user: asked for when there is none, and anew when etcd does not know it any more (five minutes
//! without use, a restart of its members, a change of its users).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::endpoint::{Endpoint, SILENT};
use super::options::EtcdUser;
use super::trouble::{Code, Trouble};
use super::wire::TokenAnswer;

/// The user and its newest token.
#[derive(Debug)]
pub(super) struct Token {
    user: Option<EtcdUser>,
    newest: Mutex<Option<Arc<str>>>,
    /// Only one asks etcd at a time: to check a password is dear, by design.
    asking: tokio::sync::Mutex<()>,
}

impl Token {
    pub(super) fn new(user: Option<EtcdUser>) -> Self {
        Self {
            user,
            newest: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// None without a user.
    pub(super) async fn get(
        &self,
        endpoint: &Endpoint,
        until: Instant,
    ) -> Result<Option<Arc<str>>, Trouble> {
        let Some(user) = &self.user else {
            return Ok(None);
        };
        if let Some(known) = self.known() {
            return Ok(Some(known));
        }
        let Ok(_asking) = timeout_at(until, self.asking.lock()).await else {
            return Err(Trouble::NotReached {
                endpoint: endpoint.url.clone(),
                why: format!("another call waits for a token: {SILENT}"),
            });
        };
        if let Some(known) = self.known() {
            return Ok(Some(known));
        }
        let token = ask(user, endpoint, until).await?;
        *self.newest() = Some(Arc::clone(&token));
        Ok(Some(token))
    }

    /// The newest one, if there is one.
    pub(super) fn known(&self) -> Option<Arc<str>> {
        self.newest().clone()
    }

    /// etcd did not accept this one.
    pub(super) fn drop_if(&self, refused: &str) {
        let mut newest = self.newest();
        if newest.as_deref() == Some(refused) {
            *newest = None;
        }
    }

    fn newest(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(user: &EtcdUser, endpoint: &Endpoint, until: Instant) -> Result<Arc<str>, Trouble> {
    let file = user.password_file.display();
    let read = tokio::fs::read_to_string(&user.password_file).await;
    let text = read.map_err(|error| {
        Trouble::Own(format!(
            "record.password_file {file} cannot be read: {error}"
        ))
    })?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let body = json!({"name": user.name, "password": password}).to_string();
    let answer = endpoint.post("auth/authenticate", Bytes::from(body), None, until);
    let answer = answer.await.map_err(|trouble| refused(user, trouble))?;
    let answer: TokenAnswer =
        serde_json::from_slice(&answer).map_err(|error| Trouble::NotEtcd {
            endpoint: endpoint.url.clone(),
            why: error.to_string(),
        })?;
    Ok(answer.token.into())
}

fn refused(user: &EtcdUser, trouble: Trouble) -> Trouble {
    let (name, file) = (&user.name, user.password_file.display());
    match trouble.code() {
        Some(Code::InvalidArgument | Code::Unauthenticated) => Trouble::Own(format!(
            "etcd does not know its user {name} by the password in {file} (record.user, record.password_file): {trouble}"
        )),
        Some(Code::FailedPrecondition) => Trouble::Own(format!(
            "record.user is {name}, but authentication is not enabled on etcd: enable it (`etcdctl auth enable`), or leave record.user out: {trouble}"
        )),
        Some(
            Code::NotFound
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unsettled(_),
        )
        | None => trouble,
    }
}
