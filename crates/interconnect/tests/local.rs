//! The network in memory: what its faults mean to a caller.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use evenkeel_interconnect::{
    AgentClient, AgentRequest, AgentResponse, AgentService, CallError, LocalNetwork, Loss,
};
use evenkeel_model::{Link, NodeName};
use tokio::time::Instant;

fn name(s: &str) -> NodeName {
    NodeName::new(s).unwrap()
}

/// Counts what it was asked, after thinking for a while.
struct Counter {
    asked: AtomicUsize,
    done: AtomicUsize,
    thinks: Duration,
}

#[async_trait]
impl AgentService for Counter {
    async fn answer(&self, _from: &NodeName, _request: AgentRequest) -> AgentResponse {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.thinks).await;
        self.done.fetch_add(1, Ordering::SeqCst);
        AgentResponse::Ok
    }
}

fn network(thinks: Duration) -> (LocalNetwork, Arc<Counter>) {
    let counter = Counter {
        asked: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        thinks,
    };
    let (network, counter) = (LocalNetwork::new(), Arc::new(counter));
    network.attach(name("b"), Arc::clone(&counter) as _);
    (network, counter)
}

async fn ask(network: &LocalNetwork, by: &str) -> Result<AgentResponse, CallError> {
    network
        .client(name(by))
        .call(&name("b"), AgentRequest::Ping)
        .await
}

fn is_unreachable(result: &Result<AgentResponse, CallError>) -> bool {
    matches!(result, Err(CallError::Unreachable { .. }))
}

fn is_unanswered(result: &Result<AgentResponse, CallError>) -> bool {
    matches!(result, Err(CallError::NoAnswer { .. }))
}

const CUT: Link = Link {
    cut: true,
    delay_ms: 0,
};

#[tokio::test(start_paused = true)]
async fn a_cut_link_or_path_carries_nothing_but_a_node_always_reaches_itself() {
    let (network, counter) = network(Duration::ZERO);
    for node in ["a", "b"] {
        network.set_link(&name(node), CUT);
        assert!(is_unreachable(&ask(&network, "a").await));
        assert_eq!(ask(&network, "b").await, Ok(AgentResponse::Ok));
        network.set_link(&name(node), Link::default());
    }
    network.set_path(&name("a"), &name("b"), CUT);
    assert!(is_unreachable(&ask(&network, "a").await));
    assert_eq!(counter.done.load(Ordering::SeqCst), 2);
    network.set_path(&name("a"), &name("b"), Link::default());
    // Only the way back is cut: the effect happened.
    network.set_path(&name("b"), &name("a"), CUT);
    assert!(is_unanswered(&ask(&network, "a").await));
    assert_eq!(counter.done.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn lost_messages_are_counted_off() {
    let (network, counter) = network(Duration::ZERO);
    let loss = Loss {
        requests: 1,
        answers: 1,
    };
    network.lose(&name("a"), &name("b"), loss);
    assert!(is_unreachable(&ask(&network, "a").await));
    assert_eq!(counter.asked.load(Ordering::SeqCst), 0);
    assert!(is_unanswered(&ask(&network, "a").await));
    assert_eq!(counter.asked.load(Ordering::SeqCst), 1);
    assert_eq!(ask(&network, "a").await, Ok(AgentResponse::Ok));
}

#[tokio::test(start_paused = true)]
async fn who_dies_while_it_works_does_not_go_on_working() {
    let (network, counter) = network(Duration::from_secs(5));
    let kill = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        network.detach(&name("b"));
    };
    let (answer, ()) = tokio::join!(ask(&network, "a"), kill);
    assert!(is_unanswered(&answer), "{answer:?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(counter.asked.load(Ordering::SeqCst), 1);
    assert_eq!(counter.done.load(Ordering::SeqCst), 0);
    assert!(is_unreachable(&ask(&network, "a").await));
}

#[tokio::test(start_paused = true)]
async fn delays_add_up_each_way() {
    let (network, _) = network(Duration::ZERO);
    let delay = |delay_ms| Link {
        cut: false,
        delay_ms,
    };
    network.set_link(&name("a"), delay(10));
    network.set_link(&name("b"), delay(20));
    network.set_path(&name("a"), &name("b"), delay(100));
    let before = Instant::now();
    ask(&network, "a").await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_millis(130 + 30));
}
