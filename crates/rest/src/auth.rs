//! HTTP Basic authentication against argon2id hashes.

use std::collections::HashMap;
use std::sync::Mutex;

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc};
use argon2::{Algorithm, Argon2, Params, Version};
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_api::{ApiError, Code};
use evenkeel_model::UserName;
use evenkeel_seam::Ids;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::cluster::{Cluster, PasswordHash};

/// Verifications at once: each takes tens of milliseconds of a core and 19 MiB, so that guessing
/// cannot take the daemon's memory or all of its cores.
const VERIFICATIONS: usize = 2;

/// A password longer than this is not one; it bounds the work of hashing it.
const MAX_PASSWORD_BYTES: usize = 1024;

/// A password that could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct HashError(String);

/// The PHC string (argon2id) to put in the record for a user.
pub fn hash_password(password: &str) -> Result<String, HashError> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT);
    let hash = argon2.hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(|error| HashError(error.to_string()))
}

/// Knows who is asking. Credentials once verified are remembered as a digest under a key of this
/// process, so that argon2 does not run on each request; a changed hash forgets them.
pub(crate) struct Auth {
    key: [u8; 32],
    verified: Mutex<HashMap<UserName, [u8; 32]>>,
    turns: Semaphore,
}

impl Auth {
    pub(crate) fn new(ids: &dyn Ids) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(ids.uuid().as_bytes());
        key[16..].copy_from_slice(ids.uuid().as_bytes());
        Self {
            key,
            verified: Mutex::default(),
            turns: Semaphore::new(VERIFICATIONS),
        }
    }

    pub(crate) async fn check(
        &self,
        cluster: &dyn Cluster,
        headers: &HeaderMap,
    ) -> Result<UserName, ApiError> {
        let unauthorized = || ApiError::new(Code::NotAuthorized);
        let (user, password) = credentials(headers).ok_or_else(unauthorized)?;
        // An unknown user costs as much as a wrong password, so that names cannot be told by time.
        let (known, hash) = match cluster.password_hash(&user).await? {
            PasswordHash::Of(hash) => (true, hash),
            PasswordHash::NoSuchUser(Some(other)) => (false, other),
            PasswordHash::NoSuchUser(None) => return Err(unauthorized()),
        };
        if known && self.remembers(&user, &password, &hash) {
            return Ok(user);
        }
        let digest = self.digest(&user, &password, &hash);
        let matches = self.verify(password, hash).await;
        if !matches || !known {
            return Err(unauthorized());
        }
        self.verified
            .lock()
            .expect("no panic while held")
            .insert(user.clone(), digest);
        Ok(user)
    }

    fn remembers(&self, user: &UserName, password: &str, hash: &str) -> bool {
        let digest = self.digest(user, password, hash);
        let verified = self.verified.lock().expect("no panic while held");
        verified
            .get(user)
            .is_some_and(|known| equal_in_constant_time(known, &digest))
    }

    fn digest(&self, user: &UserName, password: &str, hash: &str) -> [u8; 32] {
        let mut digest = Sha256::new_with_prefix(self.key);
        for part in [user.as_str(), password, hash] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    async fn verify(&self, password: String, hash: String) -> bool {
        let _turn = self.turns.acquire().await.expect("never closed");
        let verify = move || {
            phc::PasswordHash::new(&hash).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            })
        };
        tokio::task::spawn_blocking(verify).await.unwrap_or(false)
    }
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
