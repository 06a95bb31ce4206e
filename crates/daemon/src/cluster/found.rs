//! `evenkeel cluster init`: the CA, this node's certificate, a cluster of one node, its first user.
//!
//! In this order: everything is written beside its place, then the record is appended to, which can succeed once in its life,
//! then the folder takes its place. Whoever is killed in between repeats the command: what the record then says tells
//! whether the beginning was this one.

use evenkeel_api::{ApiError, Code, InitCluster};
use evenkeel_identity::PublicKey;
use evenkeel_model::{Bootstrap, ClusterId, NodeId, Seq, StreamId, Topology, UserName, code};
use evenkeel_record::{AppendError, View};

use super::answer::{conflict, trouble};
use super::describe::{WORD_MAX, describe, is_shown_whole};
use super::lobby::Lobby;
use super::pki::Pki;
use crate::bootstrap;

/// Begins a cluster. Safe to repeat.
pub(super) async fn found(lobby: &Lobby, asked: &InitCluster) -> Result<(), ApiError> {
    check_name(&asked.name)?;
    let user = evenkeel_rest::new_user_name(&asked.user).map_err(|error| error.target("user"))?;
    evenkeel_rest::check_new_password(&asked.password.0)?;
    let view = lobby.record().await?;
    let pki = Pki::of(&lobby.settings);
    let staged = pki.staged().map_err(|error| trouble("begin", &error))?;
    let left = staged
        .read_founding()
        .map_err(|error| trouble("begin", &error))?;
    if is_begun_by(&view, left.as_ref())? {
        as_begun(&view, asked)?;
    } else {
        let hash = hash(asked.password.0.clone()).await?;
        let start = stage(lobby, asked, &staged, left.as_ref(), (user, hash))?;
        append(lobby, asked, &start, &view).await?;
    }
    pki.publish(&staged)
        .map_err(|error| trouble("begin", &error))?;
    let name = &asked.name;
    tracing::info!(
        cluster = name,
        "began cluster {name}, of which this is the first node"
    );
    Ok(())
}

/// Refuses what differs from the beginning that the record has: it would be ignored, the password with it.
fn as_begun(view: &View, asked: &InitCluster) -> Result<(), ApiError> {
    let control = view.control();
    let name = control.topology.as_ref().map(|it| it.name.as_str());
    same_beginning(name, control.users.keys(), asked)
}

/// Whether a beginning of that name and with these users is what is asked for.
pub(super) fn same_beginning<'a>(
    name: Option<&str>,
    users: impl IntoIterator<Item = &'a UserName>,
    asked: &InitCluster,
) -> Result<(), ApiError> {
    let users: Vec<&str> = users.into_iter().map(UserName::as_str).collect();
    if name == Some(asked.name.trim()) && users.contains(&asked.user.as_str()) {
        return Ok(());
    }
    Err(conflict(format!(
        "This node has begun the cluster \"{}\" already, with the user {} and the password that was given then. Repeat `evenkeel \
         cluster init` with that name and user: it goes on from there, and changes neither. Another password is set by `evenkeel user \
         password --local` afterwards.",
        name.unwrap_or("?"),
        users.join(", ")
    )))
}

/// Whether `init` has begun this cluster: an answer that got lost is given again, to whoever asks for the same. None where
/// nothing was begun here. Another password is refused: it would be taken for the first user's, and is not.
pub(super) async fn repeated(pki: &Pki, asked: &InitCluster) -> Result<Option<()>, ApiError> {
    let begun = pki
        .read_founding()
        .map_err(|error| trouble("read", &error))?;
    let Some(begun) = begun else {
        return Ok(None);
    };
    let users = begun.users.iter().map(|(name, _)| name);
    same_beginning(Some(&begun.topology.name), users, asked)?;
    let own = begun
        .users
        .iter()
        .find(|(name, _)| name.as_str() == asked.user);
    let hash = own.map(|(_, hash)| hash.clone()).unwrap_or_default();
    let password = asked.password.0.clone();
    let is_same =
        tokio::task::spawn_blocking(move || evenkeel_rest::is_password_of(&password, &hash)).await;
    match is_same {
        Ok(true) => Ok(Some(())),
        Ok(false) => Err(conflict(format!(
            "This node has begun the cluster \"{}\" already, with another password for {}. Another one is set by `evenkeel user \
             password --local`.",
            begun.topology.name, asked.user
        ))),
        Err(error) => Err(trouble("compare the password", &error)),
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    match is_shown_whole(name) {
        true => Ok(()),
        false => {
            let text = format!(
                "A cluster's name is one line of 1 to {WORD_MAX} characters that can be seen."
            );
            Err(ApiError::with(Code::InvalidField, text).target("name"))
        }
    }
}

/// Whether the record begins with what an earlier try has left here. One that begins otherwise is another cluster's.
fn is_begun_by(view: &View, left: Option<&Bootstrap>) -> Result<bool, ApiError> {
    if view.head(StreamId::Control) == Seq(0) {
        return Ok(false);
    }
    let known = view.control().topology.as_ref();
    if known.map(|it| it.id) == left.map(|it| it.topology.id) && known.is_some() {
        return Ok(true);
    }
    let name = known.map_or("?", |it| it.name.as_str());
    Err(conflict(format!(
        "The record that evenkeeld.toml names holds the cluster \"{name}\" already. Join it (`evenkeel cluster token` on one of \
         its nodes, `evenkeel cluster join` here), or name another record. Nothing was changed."
    )))
}

async fn hash(password: String) -> Result<String, ApiError> {
    let hashed = tokio::task::spawn_blocking(move || evenkeel_rest::hash_password(&password)).await;
    match hashed {
        Ok(Ok(hash)) => Ok(hash),
        Ok(Err(error)) => Err(trouble("keep the password", &error)),
        Err(error) => Err(trouble("keep the password", &error)),
    }
}

/// Writes all that makes this node the first of its cluster. An id that an earlier try chose stays: its append may be on
/// its way yet.
fn stage(
    lobby: &Lobby,
    asked: &InitCluster,
    staged: &Pki,
    left: Option<&Bootstrap>,
    user: (UserName, String),
) -> Result<Bootstrap, ApiError> {
    let id = left.map_or_else(|| ClusterId(lobby.ids.uuid()), |it| it.topology.id);
    let node = describe(&lobby.settings, &asked.node, None, NodeId(lobby.ids.uuid()))?;
    let name = node.name.clone();
    let now = lobby.clock.wall();
    // What is there without a beginning of its own is of a `join`, and its CA another cluster's.
    if left.is_none() {
        staged.clear().map_err(|error| trouble("begin", &error))?;
    }
    let key =
        prepare(staged, &name, now).map_err(|error| trouble("make the certificates", &error))?;
    let mut topology = Topology::new(id, asked.name.trim().to_owned(), vec![node])
        .map_err(|error| trouble("begin", &error))?;
    topology.membership.keys.insert(name, key.digest());
    let start = Bootstrap {
        topology,
        users: vec![user],
        trusted_keys: Vec::new(),
    };
    staged
        .write_founding(&start)
        .map_err(|error| trouble("begin", &error))?;
    Ok(start)
}

fn prepare(
    staged: &Pki,
    name: &evenkeel_model::NodeName,
    now: evenkeel_model::WallTime,
) -> Result<PublicKey, super::pki::PkiError> {
    let key = staged.make_node_key()?.public();
    staged.make_ca(now)?;
    staged.write_certificate(&staged.sign(name, &key, now)?)?;
    Ok(key)
}

async fn append(
    lobby: &Lobby,
    asked: &InitCluster,
    start: &Bootstrap,
    view: &View,
) -> Result<(), ApiError> {
    match bootstrap::append(start, view, &lobby.writer, &lobby.clock).await {
        Ok(()) => Ok(()),
        // Somebody was first: another node, or an earlier try of this one that was on its way.
        Err(AppendError::Conflict { .. }) => {
            let view = lobby.record().await?;
            match is_begun_by(&view, Some(start))? {
                true => as_begun(&view, asked),
                false => Err(conflict(
                    "The record was written to by somebody else. Try again.",
                )),
            }
        }
        Err(error) => {
            let text = format!(
                "The record did not take the cluster's first events: {error}. Repeat the command: it goes on from here."
            );
            Err(ApiError::from_number(code::CANNOT_CREATE_TASK, text))
        }
    }
}
