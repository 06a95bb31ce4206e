//! Who is asking: HTTP Basic against argon2id hashes, a client certificate, or the local socket.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_api::{ApiError, Code};
use evenkeel_model::{Account, Refusal, UserName};
use evenkeel_seam::Ids;
use sha2::{Digest, Sha256};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use crate::caller::{Caller, Origin, Peer};
use crate::cluster::Cluster;
use crate::password::{hash_password, is_password_of};
use crate::throttle::{Throttle, TooMany};

/// Verifications at once: each takes tens of milliseconds of a core and 19 MiB, so that guessing
/// cannot take the daemon's memory or all of its cores.
const VERIFICATIONS: usize = 2;

/// A password longer than this is not one; it bounds the work of hashing it.
const MAX_PASSWORD_BYTES: usize = 1024;

/// A shorter one is guessed before it is used.
const MIN_PASSWORD_CHARACTERS: usize = 8;

/// How long the record may take to say whether a user is new. A client that is not let in waits no longer.
const LOOK_UP: Duration = Duration::from_secs(3);

/// How long a name that a certificate brought and nobody has is not looked up again, and how many such names are
/// kept: a company's CA signs many, and each of them may come often.
const STRANGER: Duration = Duration::from_secs(1);
const MAX_STRANGERS: usize = 1024;

/// What the password of a user is checked against who is not there, or has none: that takes as long as a
/// wrong one, so that names cannot be told by time. Of a text that nobody knows.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGtub3dzIGl0$\
                     l2XH0Jq0xkJb8m7H0g0T7l0v5xQe4l9kJmQmZ2b1c3Q";

/// A password as it was given, and where from.
struct Try {
    user: UserName,
    password: String,
    source: Option<IpAddr>,
}

/// Somebody who was not let in.
pub(crate) struct NotLetIn {
    /// As whom it was tried; none when there is no such user.
    pub(crate) user: Option<UserName>,
    pub(crate) error: ApiError,
}

impl From<ApiError> for NotLetIn {
    fn from(error: ApiError) -> Self {
        Self { user: None, error }
    }
}

impl From<Refusal> for NotLetIn {
    fn from(refusal: Refusal) -> Self {
        ApiError::from(refusal).into()
    }
}

/// One verification that several requests wait for.
type Verdict = Arc<OnceCell<bool>>;

/// Knows who is asking. Credentials once verified are remembered as a digest under a key of this
/// process, so that argon2 does not run on each request; a changed hash forgets them.
pub(crate) struct Auth {
    key: [u8; 32],
    verified: Mutex<HashMap<UserName, [u8; 32]>>,
    under_way: Mutex<HashMap<[u8; 32], Verdict>>,
    throttle: Throttle,
    turns: Semaphore,
    strangers: Mutex<HashMap<UserName, Instant>>,
}

impl Auth {
    pub(crate) fn new(ids: &dyn Ids) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(ids.uuid().as_bytes());
        key[16..].copy_from_slice(ids.uuid().as_bytes());
        Self {
            key,
            verified: Mutex::default(),
            under_way: Mutex::default(),
            throttle: Throttle::new(Instant::now()),
            turns: Semaphore::new(VERIFICATIONS),
            strangers: Mutex::default(),
        }
    }

    /// Who asks. Credentials that are given count, and a certificate only where none are.
    pub(crate) async fn check(
        &self,
        cluster: &dyn Cluster,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Caller, NotLetIn> {
        match (peer.origin, headers.get(header::AUTHORIZATION)) {
            (Origin::Local { .. }, _) => Ok(Caller::local()),
            (Origin::Address(_) | Origin::Unknown, Some(_)) => {
                let (user, password) = credentials(headers).ok_or_else(unauthorized)?;
                let source = peer.origin.source();
                let tried = Try {
                    user,
                    password,
                    source,
                };
                self.by_password(cluster, tried).await
            }
            (Origin::Address(_) | Origin::Unknown, None) => {
                self.by_certificate(cluster, peer.certificate.as_ref())
                    .await
            }
        }
    }

    async fn by_password(&self, cluster: &dyn Cluster, tried: Try) -> Result<Caller, NotLetIn> {
        let mut account = cluster.account(&tried.user).await?;
        let mut matches = self.matches(&tried, account.as_ref()).await?;
        if !matches {
            let newer = looked_up(cluster, &tried.user).await?;
            if newer != account {
                matches = self.matches(&tried, newer.as_ref()).await?;
                account = newer;
            }
        }
        match account {
            Some(account) if matches => Ok(caller(tried.user, &account)),
            Some(_) => Err(NotLetIn {
                user: Some(tried.user),
                error: unauthorized(),
            }),
            None => Err(unauthorized().into()),
        }
    }

    /// Whether the password is that of this account.
    async fn matches(&self, tried: &Try, account: Option<&Account>) -> Result<bool, ApiError> {
        let hash = account.and_then(|it| it.password_hash.clone());
        let is_known = hash.is_some();
        let hash = hash.unwrap_or_else(|| DECOY.to_owned());
        let digest = self.digest(tried, &hash);
        if is_known && self.remembers(&tried.user, &digest) {
            return Ok(true);
        }
        let matches = self.decide(tried, hash, digest).await? && is_known;
        if matches {
            self.remember(&tried.user, digest);
        }
        Ok(matches)
    }

    fn remembers(&self, user: &UserName, digest: &[u8; 32]) -> bool {
        let verified = self.verified.lock().expect("no panic while held");
        verified
            .get(user)
            .is_some_and(|known| equal_in_constant_time(known, digest))
    }

    fn remember(&self, user: &UserName, digest: [u8; 32]) {
        let mut verified = self.verified.lock().expect("no panic while held");
        verified.insert(user.clone(), digest);
    }

    /// Verifies, once for all requests that bring the same credentials from the same source meanwhile: a
    /// client's many connections are not taken for many tries.
    async fn decide(&self, tried: &Try, hash: String, digest: [u8; 32]) -> Result<bool, ApiError> {
        let waiting = Waiting::new(self, digest);
        let verdict = Arc::clone(&waiting.verdict);
        let decided = verdict.get_or_try_init(|| self.verify(tried, hash));
        decided.await.copied()
    }

    async fn verify(&self, tried: &Try, hash: String) -> Result<bool, ApiError> {
        let name = tried.user.as_str();
        let at = self.throttle.try_at(tried.source, name, Instant::now());
        sleep_until(at.map_err(|TooMany| too_many())?).await;
        let turn = self.turns.acquire().await.expect("never closed");
        let password = tried.password.clone();
        let verify = move || is_password_of(&password, &hash);
        let matches = tokio::task::spawn_blocking(verify).await.unwrap_or(false);
        drop(turn);
        if matches {
            self.throttle.succeeded(tried.source, name, Instant::now());
        }
        Ok(matches)
    }

    fn digest(&self, tried: &Try, hash: &str) -> [u8; 32] {
        let source = tried.source.map(|ip| ip.to_string()).unwrap_or_default();
        let mut digest = Sha256::new_with_prefix(self.key);
        for part in [tried.user.as_str(), &tried.password, hash, &source] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    async fn by_certificate(
        &self,
        cluster: &dyn Cluster,
        name: Option<&UserName>,
    ) -> Result<Caller, NotLetIn> {
        let user = name.ok_or_else(unauthorized)?;
        let chose_it = |account: &Account| account.certificate;
        let mut account = cluster.account(user).await?.filter(chose_it);
        if account.is_none() && self.may_look_up(user) {
            account = looked_up(cluster, user).await?.filter(chose_it);
        }
        match account {
            Some(account) => Ok(caller(user.clone(), &account)),
            // The name is in a certificate that was verified: it is no password.
            None => Err(NotLetIn {
                user: Some(user.clone()),
                error: unauthorized(),
            }),
        }
    }

    /// Whether the record is worth another look for the name in a certificate.
    fn may_look_up(&self, user: &UserName) -> bool {
        let now = Instant::now();
        let mut strangers = self.strangers.lock().expect("no panic while held");
        strangers.retain(|_, seen| now - *seen < STRANGER);
        if strangers.contains_key(user) || strangers.len() >= MAX_STRANGERS {
            return false;
        }
        strangers.insert(user.clone(), now);
        true
    }

    /// The hash of a new password, or why it is none.
    pub(crate) async fn hash_new(&self, password: String) -> Result<String, ApiError> {
        check_new_password(&password)?;
        let turn = self.turns.acquire().await.expect("never closed");
        let hashed = tokio::task::spawn_blocking(move || hash_password(&password)).await;
        drop(turn);
        match hashed {
            Ok(Ok(hash)) => Ok(hash),
            Ok(Err(error)) => Err(ApiError::with(Code::InternalError, error.to_string())),
            Err(error) => Err(ApiError::with(Code::InternalError, error.to_string())),
        }
    }
}

/// Refuses what cannot be a new password.
pub fn check_new_password(password: &str) -> Result<(), ApiError> {
    let refused = |why: &str| {
        let message = format!("The password is refused: {why}.");
        Err(ApiError::with(Code::InvalidField, message).target("password"))
    };
    if password.chars().count() < MIN_PASSWORD_CHARACTERS {
        return refused(&format!(
            "it has fewer than {MIN_PASSWORD_CHARACTERS} characters"
        ));
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return refused(&format!("it has more than {MAX_PASSWORD_BYTES} bytes"));
    }
    if password.chars().any(char::is_control) {
        return refused("it holds a control character");
    }
    Ok(())
}

/// Somebody who waits for a verdict. The last to go, also when its client leaves, takes it away.
struct Waiting<'a> {
    auth: &'a Auth,
    digest: [u8; 32],
    verdict: Verdict,
}

impl<'a> Waiting<'a> {
    fn new(auth: &'a Auth, digest: [u8; 32]) -> Self {
        let mut under_way = auth.under_way.lock().expect("no panic while held");
        let verdict = Arc::clone(under_way.entry(digest).or_default());
        Self {
            auth,
            digest,
            verdict,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut under_way = self.auth.under_way.lock().expect("no panic while held");
        // The map's and this one's; the verdict's own user is gone before it.
        if Arc::strong_count(&self.verdict) <= 2 {
            under_way.remove(&self.digest);
        }
    }
}

/// Who that user is in the record itself: somebody may have been made, or given another password, on another
/// node a moment ago. Without the record, what this node knows has to do.
async fn looked_up(cluster: &dyn Cluster, user: &UserName) -> Result<Option<Account>, Refusal> {
    if cluster.age().is_none() {
        drop(timeout(LOOK_UP, cluster.refresh()).await);
    }
    cluster.account(user).await
}

fn caller(user: UserName, account: &Account) -> Caller {
    Caller {
        user,
        role: account.role,
        is_local: false,
    }
}

fn unauthorized() -> ApiError {
    ApiError::new(Code::NotAuthorized)
}

/// Nobody looked at the credentials, so they are not called wrong: clients give up on that.
fn too_many() -> ApiError {
    let message = "The API is temporarily locked for this address: too many wrong passwords came from it. Try \
                   again in a moment.";
    ApiError::with(Code::TemporarilyUnavailable, message)
}

/// User and password of `Authorization: Basic …`; one client sends a space after it.
fn credentials(headers: &HeaderMap) -> Option<(UserName, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    if password.len() > MAX_PASSWORD_BYTES {
        return None;
    }
    Some((UserName::new(user).ok()?, password.to_owned()))
}

fn equal_in_constant_time(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter()
        .zip(b)
        .fold(0, |difference, (a, b)| difference | (a ^ b))
        == 0
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::phc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_leaves_nothing_behind() {
        let auth = Auth::new(&evenkeel_seam::SeededIds::new(1));
        let tried = |n: u8| Try {
            user: "admin".parse().unwrap(),
            password: format!("guess {n}"),
            source: None,
        };
        for n in 0..8 {
            let tried = tried(n);
            let digest = auth.digest(&tried, DECOY);
            let decided = auth.decide(&tried, DECOY.to_owned(), digest);
            let twice = auth.decide(&tried, DECOY.to_owned(), digest);
            let both = async { tokio::join!(decided, twice) };
            let _left = tokio::time::timeout(std::time::Duration::from_millis(1), both).await;
            assert_eq!(auth.under_way.lock().unwrap().len(), 0, "{n}");
        }
    }

    #[test]
    fn the_decoy_costs_what_a_real_hash_costs() {
        let decoy = phc::PasswordHash::new(DECOY).unwrap();
        let real = hash_password("correct horse").unwrap();
        let real = phc::PasswordHash::new(&real).unwrap();
        assert_eq!(decoy.params, real.params);
        assert_eq!(
            (decoy.algorithm, decoy.version),
            (real.algorithm, real.version)
        );
    }
}
