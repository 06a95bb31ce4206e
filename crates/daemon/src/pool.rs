//! The record on the pair's shared pool: the way to the partner, and what the HA engine says of who could hold it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_interconnect::{
    CallError, Members, RecordClient, RecordService, RecordServing, TlsClient,
};
use evenkeel_model::{MemberHa, NodeName, NodeSettings, PairState, SharedPoolSettings};
use evenkeel_platform::SharedPlatform;
use evenkeel_record::{
    MountRule, PeerError, PoolOptions, RecordPeer, SharedPoolRecord, StandIn, machine_boot_id,
};
use evenkeel_seam::{Clock, watch};
use tokio::sync::SetOnce;
use tokio::time::{Instant, sleep, timeout};

/// How long a question to the partner waits for the daemon's start to get so far: below every bound of the record's own calls but
/// that of the partner's word on the seat. A node of no cluster never gets so far.
const STARTS_WITHIN: Duration = Duration::from_secs(2);
/// This node remembers below its data which record it knows.
const MEMORY: &str = "record-known.json";
/// How often the HA engine is asked: it answers the planner's question whether the record survives a takeover, which is asked
/// again immediately before each.
const ASK_ENGINE: Duration = Duration::from_secs(5);
/// How long it may take for an answer.
const ENGINE_ANSWERS: Duration = Duration::from_secs(10);
/// An answer that is older says nothing of now.
const ENGINE_AGE: Duration = Duration::from_secs(30);

/// The record, and what the interconnect needs of it and it of the interconnect.
#[derive(Clone)]
pub(crate) struct PoolRecord {
    pub(crate) record: Arc<SharedPoolRecord>,
    line: Arc<Line>,
}

impl PoolRecord {
    /// Begins to follow the seat. Asks nobody before [`connect`](Self::connect).
    pub(crate) fn start(
        settings: &NodeSettings,
        shared: &SharedPoolSettings,
        clock: &Arc<dyn Clock>,
        platform: &SharedPlatform,
    ) -> std::io::Result<Self> {
        let line = Arc::new(Line {
            partner: shared.partner.clone(),
            address: shared.partner_address.clone(),
            way: SetOnce::new(),
        });
        let options = PoolOptions {
            node: settings.node.clone(),
            partner: shared.partner.clone(),
            path: shared.path.clone(),
            seat: shared.seat.clone(),
            memory: settings.data.join(MEMORY),
            mount: match shared.must_be_mounted {
                true => MountRule::Mounted,
                false => MountRule::Anywhere,
            },
            clock: Arc::clone(clock),
            machine_boot: machine_boot_id()?,
            stand_in: Some(Engine::ask(Arc::clone(platform))),
        };
        let peer = Arc::clone(&line) as Arc<dyn RecordPeer>;
        let record = Arc::new(SharedPoolRecord::start(options, peer)?);
        Ok(Self { record, line })
    }

    /// From now on the partner is asked. Only the first call counts.
    pub(crate) fn connect(&self, client: &Arc<TlsClient>, members: &watch::Receiver<Members>) {
        let _ = self.line.way.set((Arc::clone(client), members.clone()));
    }

    /// What the node-to-node server serves.
    pub(crate) fn serving(&self) -> RecordServing {
        RecordServing {
            service: Arc::new(Served(Arc::clone(&self.record))),
            partner: self.line.partner.clone(),
        }
    }
}

/// Answers the partner.
struct Served(Arc<SharedPoolRecord>);

#[async_trait]
impl RecordService for Served {
    async fn answer(&self, _from: &NodeName, request: Bytes) -> Vec<u8> {
        self.0.serve(&request).await
    }
}

/// The way to the partner.
struct Line {
    partner: NodeName,
    /// As the configuration says.
    address: String,
    /// Set later: the members are known from the record.
    way: SetOnce<(Arc<TlsClient>, watch::Receiver<Members>)>,
}

impl Line {
    /// The topology's address, and the configuration's if that is another: one of them may be older than the last move of an
    /// address, and a node that has not read the record yet has the second alone.
    fn addresses(&self, members: &Members) -> Vec<String> {
        let mut addresses = vec![self.address.clone()];
        match members.get(&self.partner) {
            Some(member) if member.address != self.address => {
                addresses.insert(0, member.address.clone());
            }
            Some(_) | None => {}
        }
        addresses
    }
}

#[async_trait]
impl RecordPeer for Line {
    async fn call(&self, request: Vec<u8>) -> Result<Vec<u8>, PeerError> {
        // A seat may be there before the daemon has got so far: the partner is asked all the same.
        let way = timeout(STARTS_WITHIN, self.way.wait()).await;
        let (client, members) = way.map_err(|_| {
            PeerError::Unreachable(
                "this daemon is starting, or belongs to no cluster yet".to_owned(),
            )
        })?;
        let addresses = self.addresses(&members.borrow());
        let mut unreachable = String::new();
        for address in &addresses {
            let asked = client.record(&self.partner, Some(address), request.clone());
            match asked.await {
                Ok(answer) => return Ok(answer.into()),
                // The request had no effect.
                Err(CallError::Unreachable { why, .. }) => unreachable = why,
                Err(CallError::NoAnswer { why, .. }) => return Err(PeerError::NoAnswer(why)),
            }
        }
        Err(PeerError::Unreachable(unreachable))
    }
}

/// What the HA engine said last.
struct Engine(Mutex<Heard>);

struct Heard {
    at: Instant,
    said: Result<Option<PairState>, String>,
}

impl Engine {
    /// Asks it from now on, for as long as somebody wants to know.
    fn ask(platform: SharedPlatform) -> Arc<dyn StandIn> {
        let engine = Arc::new(Self(Mutex::new(Heard {
            at: Instant::now(),
            said: Err("it has not been asked yet".to_owned()),
        })));
        let asking = Arc::downgrade(&engine);
        tokio::spawn(async move {
            loop {
                let said = match timeout(ENGINE_ANSWERS, platform.pair()).await {
                    Ok(answer) => answer.map_err(|error| error.to_string()),
                    Err(_) => Err(format!("it did not answer within {ENGINE_ANSWERS:?}")),
                };
                let Some(engine) = asking.upgrade() else {
                    return;
                };
                engine.hear(said);
                drop(engine);
                sleep(ASK_ENGINE).await;
            }
        });
        engine
    }

    fn hear(&self, said: Result<Option<PairState>, String>) {
        let at = Instant::now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Heard { at, said };
    }
}

impl StandIn for Engine {
    fn can_take(&self, node: &NodeName) -> Result<(), String> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.at.elapsed() > ENGINE_AGE {
            let seconds = heard.at.elapsed().as_secs();
            return Err(format!("the HA engine has said nothing for {seconds} s"));
        }
        match &heard.said {
            Ok(Some(pair)) => can_take(pair, node),
            Ok(None) => Err("the HA engine knows of no pair".to_owned()),
            Err(why) => Err(format!("the HA engine does not say so: {why}")),
        }
    }
}

/// Only who serves is given further pools.
fn can_take(pair: &PairState, node: &NodeName) -> Result<(), String> {
    let members = [&pair.local, &pair.partner];
    match members.into_iter().find(|member| member.node == *node) {
        Some(member) => match member.ha {
            MemberHa::Serving => Ok(()),
            MemberHa::WaitingForGiveback
            | MemberHa::PartialGiveback
            | MemberHa::Booting
            | MemberHa::Down
            | MemberHa::Fenced => Err(member.ha.text().to_owned()),
        },
        None => Err("the HA engine does not know it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_model::MemberState;

    fn pair(local: MemberHa, partner: MemberHa) -> PairState {
        let member = |node: &str, ha| MemberState {
            node: node.parse().unwrap(),
            ha,
            boot_id: None,
        };
        PairState {
            enabled: true,
            local: member("n1", local),
            partner: member("n2", partner),
            takeover_veto: None,
            takeover_veto_passes: false,
            giveback_veto: None,
            giveback_veto_passes: false,
            transition: None,
        }
    }

    #[test]
    fn a_partner_is_asked_where_the_topology_says_and_where_the_configuration_does() {
        let line = Line {
            partner: "n2".parse().unwrap(),
            address: "b:1".to_owned(),
            way: SetOnce::new(),
        };
        let members = |address: &str| -> Members {
            Arc::new([("n2".parse().unwrap(), address.to_owned().into())].into())
        };
        assert_eq!(line.addresses(&Members::default()), ["b:1"]);
        assert_eq!(line.addresses(&members("b:1")), ["b:1"]);
        assert_eq!(line.addresses(&members("a:1")), ["a:1", "b:1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_waits_for_the_way_to_the_partner_and_not_for_ever() {
        let line = Line {
            partner: "n2".parse().unwrap(),
            address: "127.0.0.1:1".to_owned(),
            way: SetOnce::new(),
        };
        let asked = line.call(Vec::new());
        let mut asked = std::pin::pin!(asked);
        let early = timeout(Duration::from_secs(1), asked.as_mut()).await;
        assert!(early.is_err(), "it is not refused while the daemon starts");
        let late = asked.await.unwrap_err();
        assert!(late.to_string().contains("starting"), "{late}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_serves_by_a_fresh_word_of_the_engine_can_take_the_pool() {
        let engine = Engine(Mutex::new(Heard {
            at: Instant::now(),
            said: Err("not yet".to_owned()),
        }));
        let (n1, n2) = ("n1".parse().unwrap(), "n2".parse().unwrap());
        assert!(engine.can_take(&n1).is_err());
        engine.hear(Ok(Some(pair(
            MemberHa::Serving,
            MemberHa::WaitingForGiveback,
        ))));
        assert_eq!(engine.can_take(&n1), Ok(()));
        let why = engine.can_take(&n2).unwrap_err();
        assert!(why.contains("waiting for giveback"), "{why}");
        assert!(engine.can_take(&"n3".parse().unwrap()).is_err());
        sleep(ENGINE_AGE + Duration::from_secs(1)).await;
        let why = engine.can_take(&n1).unwrap_err();
        assert!(why.contains("said nothing for 31 s"), "{why}");
        engine.hear(Ok(None));
        assert!(engine.can_take(&n1).is_err());
    }
}
