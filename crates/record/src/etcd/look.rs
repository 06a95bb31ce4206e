//! A look at etcd's members: who they are, who votes, who answers. In the background, and bounded.

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
use super::trouble::{Failed, advice};
use super::wire::{AlarmsAnswer, MemberAnswer, MembersAnswer, Num, StatusAnswer};

/// What a member, or nobody, said at an address.
type Said = Result<StatusAnswer, String>;

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
        Err(failed) => knowledge.trouble = Some(failed.to_string()),
    }
}

async fn look_around(inner: &Arc<Inner>) -> Result<Seen, Failed> {
    let client = &inner.client;
    let asked = client.call("cluster/member/list", &json!({})).await;
    let MembersAnswer { mut members } = asked?;
    members.sort_by(|one, other| one.name.cmp(&other.name));
    let all = json!({"action": "GET"});
    let AlarmsAnswer { alarms } = client.call("maintenance/alarm", &all).await?;
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
    let body = Bytes::from_static(b"{}");
    let known = inner.client.endpoints().iter().find(|it| it.url == url);
    let path = "maintenance/status";
    let asked = match known {
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
    asked.map_err(|trouble| trouble.to_string())
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
        if let Some(Ok(status)) = said.get(&url) {
            learned.insert(node.clone(), status.header.member_id);
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

/// Why the member does not count; none if it answers somewhere and knows a leader.
fn trouble(member: &MemberAnswer, said: &BTreeMap<String, Said>) -> Option<String> {
    let mut answers = said.values().filter_map(|said| said.as_ref().ok());
    match answers.find(|status| status.header.member_id == member.id) {
        Some(status) if status.leader == Num(0) => Some("knows no leader".to_owned()),
        Some(_) => None,
        None => {
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
    }
}

fn plain(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}
