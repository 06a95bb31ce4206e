//! A look at etcd's members: who they are, who votes, who answers. In the background, and bounded.
//!
//! Who answers is asked by a read of the record's head, which the daemon's user may do in every release, where `maintenance/status` is
//! root's from etcd 3.6.0 and 3.5.28 on, until the releases of summer 2026. The read is a linearizable one: whoever answers it has a
//! leader and a quorum and votes, since a learner refuses it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use evenkeel_model::NodeName;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::endpoint::Endpoint;
use super::open::Inner;
use super::options::ATTEMPT;
use super::survival::{Seen, Voter};
use super::trouble::{Code, Failed, advice};
use super::wire::{self, Alarm, AlarmsAnswer, MemberAnswer, MembersAnswer, Num, RangeAnswer};

/// Which member answered at an address, or why none did.
type Said = Result<Num, String>;

/// Looks for as long as the handle is there.
pub(super) async fn keep_looking(inner: Arc<Inner>) {
    loop {
        sleep(inner.look_every).await;
        look(&inner).await;
    }
}

/// One look. What it finds replaces what was known; where it fails, that gets older.
pub(super) async fn look(inner: &Arc<Inner>) {
    let looked = look_around(inner).await;
    let mut knowledge = inner.knowledge();
    match looked {
        Ok(seen) => {
            knowledge.seen = Some(seen);
            knowledge.trouble = None;
        }
        Err(why) => knowledge.trouble = Some(why),
    }
}

/// The error is for people.
async fn look_around(inner: &Arc<Inner>) -> Result<Seen, String> {
    let client = &inner.client;
    let asked = client.call("cluster/member/list", &json!({})).await;
    let MembersAnswer { mut members } = asked.map_err(unlisted)?;
    members.sort_by(|one, other| one.name.cmp(&other.name));
    let alarms = alarms(inner).await.map_err(|failed| failed.to_string())?;
    let said = ask_all(inner, &members).await;
    let at = Instant::now();
    let places = places(inner, &members, &said);
    let voters = members.iter().filter(|member| !member.is_learner);
    let voters: Vec<_> = voters
        .map(|member| Voter {
            name: match member.name.is_empty() {
                // It was added and has not started yet.
                true => format!("member {:x}", member.id.0),
                false => member.name.clone(),
            },
            node: places.get(&member.id).cloned(),
            trouble: trouble(member, &said),
        })
        .collect();
    let matched: BTreeSet<_> = places.values().collect();
    let unmatched = inner.members.keys().filter(|node| !matched.contains(node));
    Ok(Seen {
        at,
        voters,
        unmatched: unmatched.cloned().collect(),
        alarm: advice(&alarms),
    })
}

/// Without the list nobody knows how many members vote: the endpoints that are configured may be some of them only. So nothing is
/// counted then.
fn unlisted(failed: Failed) -> String {
    match failed.code() {
        Some(Code::PermissionDenied) => format!(
            "{failed}. Only that list says how many members vote. etcd 3.5.28 and 3.6.9 keep it for root, releases after them \
             do not: update etcd, or let record.user have the role (`etcdctl user grant-role evenkeel root`)"
        ),
        Some(_) | None => failed.to_string(),
    }
}

/// None are known where this user may not ask: then the next write is what tells.
async fn alarms(inner: &Inner) -> Result<Vec<Alarm>, Failed> {
    let all = json!({"action": "GET"});
    match inner.client.call("maintenance/alarm", &all).await {
        Ok(AlarmsAnswer { alarms }) => Ok(alarms),
        Err(failed) if failed.code() == Some(Code::PermissionDenied) => Ok(Vec::new()),
        Err(failed) => Err(failed),
    }
}

/// All configured endpoints, and what the members advertise beyond them.
async fn ask_all(inner: &Arc<Inner>, members: &[MemberAnswer]) -> BTreeMap<String, Said> {
    let endpoints = inner.client.endpoints().iter();
    let mut urls: BTreeSet<String> = endpoints.map(|endpoint| endpoint.url.clone()).collect();
    for member in members {
        urls.extend(member.client_urls.iter().map(|url| plain(url)));
    }
    let mut asking = JoinSet::new();
    for url in urls {
        let inner = Arc::clone(inner);
        asking.spawn(async move {
            let said = ask(&inner, &url).await;
            (url, said)
        });
    }
    asking.join_all().await.into_iter().collect()
}

async fn ask(inner: &Inner, url: &str) -> Said {
    let until = Instant::now() + ATTEMPT;
    let body = Bytes::from(wire::get(&inner.keys.head()).to_string());
    let known = inner.client.endpoints().iter().find(|it| it.url == url);
    let path = "kv/range";
    let asked: Result<RangeAnswer, _> = match known {
        Some(endpoint) => inner.client.ask(endpoint, path, &body, until).await,
        None => {
            let endpoint = Endpoint::new(url, inner.tls.as_ref())?;
            if endpoint.is_readable_by_others() && inner.tls.is_some() {
                // A token would go there in the clear.
                return Err(format!("{url}, which it advertises, is not https"));
            }
            inner.client.ask(&endpoint, path, &body, until).await
        }
    };
    let answer = asked.map_err(|trouble| trouble.to_string())?;
    Ok(answer.header.member_id)
}

/// Which member is on which node: by who answers at the node's endpoint, now or at an earlier look, else by who advertises it.
fn places(
    inner: &Inner,
    members: &[MemberAnswer],
    said: &BTreeMap<String, Said>,
) -> BTreeMap<Num, NodeName> {
    let mut learned = inner.learned();
    for (node, url) in &inner.members {
        let url = plain(url);
        if let Some(Ok(member)) = said.get(&url) {
            learned.insert(node.clone(), *member);
        } else if !learned.contains_key(node) {
            let advertises =
                |member: &&MemberAnswer| member.client_urls.iter().any(|it| plain(it) == url);
            let member = members.iter().find(advertises);
            learned.extend(member.map(|member| (node.clone(), member.id)));
        }
    }
    // One that was removed from etcd is forgotten.
    learned.retain(|_, id| members.iter().any(|member| member.id == *id));
    learned
        .iter()
        .map(|(node, id)| (*id, node.clone()))
        .collect()
}

/// Why the member does not count; none if it answers somewhere.
fn trouble(member: &MemberAnswer, said: &BTreeMap<String, Said>) -> Option<String> {
    let mut answers = said.values().filter_map(|said| said.as_ref().ok());
    if answers.any(|answered| *answered == member.id) {
        return None;
    }
    let mut refusals = member
        .client_urls
        .iter()
        .filter_map(|url| said.get(&plain(url)));
    let why = refusals.find_map(|said| said.as_ref().err());
    Some(match why {
        Some(why) => format!("does not answer ({why})"),
        None => "does not answer".to_owned(),
    })
}

fn plain(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}
