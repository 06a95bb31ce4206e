//! Calls to whichever member answers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::endpoint::Endpoint;
use super::options::{ATTEMPT, CALL, EtcdOptions, ROUND_PAUSE};
use super::token::Token;
use super::trouble::{Code, Failed, Trouble, advice};
use super::wire::{AlarmsAnswer, AnyAnswer, Num};

/// All endpoints, and which of them answered last.
#[derive(Debug)]
pub(super) struct Client {
    endpoints: Vec<Endpoint>,
    current: AtomicUsize,
    token: Token,
    /// The cluster that answered first.
    cluster: OnceLock<Num>,
}

/// How often a call may be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// Doing it twice is as good as once.
    Harmless,
    /// After a try that may have been carried out there is none.
    Never,
}

impl Client {
    /// Contacts nobody. The error is for people.
    pub(super) fn new(options: &EtcdOptions) -> Result<Self, String> {
        if options.endpoints.is_empty() {
            return Err("record.endpoints is empty".to_owned());
        }
        let tls = options.tls.clone().map(Arc::new);
        let endpoints = options.endpoints.iter();
        let endpoints: Result<_, _> = endpoints
            .map(|url| Endpoint::new(url, tls.as_ref()))
            .collect();
        Ok(Self {
            endpoints: endpoints?,
            current: AtomicUsize::new(0),
            token: Token::new(options.user.clone()),
            cluster: OnceLock::new(),
        })
    }

    /// As they are configured.
    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// A call that may be repeated, at each endpoint and for as long as [`CALL`].
    pub(super) async fn call<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<A, Failed> {
        self.call_until(path, body, Instant::now() + CALL).await
    }

    /// The same with a bound of the caller's.
    pub(super) async fn call_until<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        until: Instant,
    ) -> Result<A, Failed> {
        self.run(path, body, until, Repeat::Harmless).await
    }

    /// A call that must not be repeated blindly: it ends with the first try that may have been carried out.
    pub(super) async fn call_once<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        until: Instant,
    ) -> Result<A, Failed> {
        self.run(path, body, until, Repeat::Never).await
    }

    async fn run<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
        until: Instant,
        repeat: Repeat,
    ) -> Result<A, Failed> {
        let body = Bytes::from(body.to_string());
        let mut failed = Failed::none();
        loop {
            for _ in 0..self.endpoints.len() {
                if Instant::now() >= until {
                    return Err(failed);
                }
                let index = self.current.load(Ordering::Relaxed) % self.endpoints.len();
                let bound = until.min(Instant::now() + ATTEMPT);
                let trouble = match self.ask(&self.endpoints[index], path, &body, bound).await {
                    Ok(answer) => return Ok(answer),
                    Err(trouble) => trouble,
                };
                let goes_on = trouble.is_worth_another()
                    && (repeat == Repeat::Harmless || !trouble.may_have_happened());
                let another = trouble.is_worth_another();
                failed.note(index, self.explained(index, trouble).await);
                if another {
                    self.leave(index);
                }
                if !goes_on {
                    return Err(failed);
                }
            }
            sleep(ROUND_PAUSE).await;
        }
    }

    /// The next endpoint's turn, unless someone has turned already.
    fn leave(&self, index: usize) {
        let next = (index + 1) % self.endpoints.len();
        let order = Ordering::Relaxed;
        // It fails where another call has moved on, which is as good.
        let _moved = self.current.compare_exchange(index, next, order, order);
    }

    /// One try at one endpoint. A token that etcd knows no more is renewed once.
    pub(super) async fn ask<A: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        path: &str,
        body: &Bytes,
        until: Instant,
    ) -> Result<A, Trouble> {
        let token = self.token.get(endpoint, until).await?;
        let posted = endpoint.post(path, body.clone(), token.as_deref(), until);
        let answer = match (posted.await, token) {
            (Err(trouble), Some(token)) if is_about_token(&trouble) => {
                self.token.drop_if(&token);
                let token = self.token.get(endpoint, until).await?;
                endpoint
                    .post(path, body.clone(), token.as_deref(), until)
                    .await?
            }
            (posted, _) => posted?,
        };
        self.check_cluster(endpoint, &answer)?;
        serde_json::from_slice(&answer).map_err(|error| Trouble::NotEtcd {
            endpoint: endpoint.url.clone(),
            why: error.to_string(),
        })
    }

    /// A call whose answer goes on, at the endpoint whose turn it is.
    pub(super) async fn stream(&self, path: &str, body: &Value) -> Result<Incoming, Trouble> {
        let until = Instant::now() + ATTEMPT;
        let index = self.current.load(Ordering::Relaxed) % self.endpoints.len();
        let endpoint = &self.endpoints[index];
        let body = Bytes::from(body.to_string());
        let token = self.token.get(endpoint, until).await?;
        let begun = endpoint.stream(path, body, token.as_deref(), until).await;
        if let Err(trouble) = &begun {
            if let Some(token) = token.filter(|_| is_about_token(trouble)) {
                self.token.drop_if(&token);
            }
            if trouble.is_worth_another() {
                self.leave(index);
            }
        }
        begun
    }

    /// Forgets the token and turns to the next endpoint: for a stream that was ended.
    pub(super) fn move_on(&self) {
        if let Some(token) = self.token.known() {
            self.token.drop_if(&token);
        }
        self.leave(self.current.load(Ordering::Relaxed) % self.endpoints.len());
    }

    /// All endpoints must lead to one truth.
    fn check_cluster(&self, endpoint: &Endpoint, answer: &[u8]) -> Result<(), Trouble> {
        let Ok(AnyAnswer {
            header: Some(header),
        }) = serde_json::from_slice(answer)
        else {
            return Ok(());
        };
        if header.cluster_id == Num(0) {
            return Ok(());
        }
        let was = *self.cluster.get_or_init(|| header.cluster_id);
        if was == header.cluster_id {
            return Ok(());
        }
        Err(Trouble::OtherCluster {
            endpoint: endpoint.url.clone(),
            is: header.cluster_id.0,
            was: was.0,
        })
    }

    /// A refusal that an alarm may be behind is told as the alarm, with what to do. Whether it may have happened stays.
    async fn explained(&self, index: usize, trouble: Trouble) -> Trouble {
        let is_suspect = match trouble.code() {
            Some(Code::ResourceExhausted | Code::DataLoss) => true,
            Some(
                Code::InvalidArgument
                | Code::NotFound
                | Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::Unimplemented
                | Code::Unauthenticated
                | Code::Unsettled(_),
            )
            | None => false,
        };
        if !is_suspect {
            return trouble;
        }
        let body = Bytes::from(json!({"action": "GET"}).to_string());
        let until = Instant::now() + ATTEMPT;
        let asked = self.ask(&self.endpoints[index], "maintenance/alarm", &body, until);
        match asked.await {
            Ok(AlarmsAnswer { alarms }) => match advice(&alarms) {
                Some(why) => Trouble::Alarmed {
                    why,
                    may_have_happened: trouble.may_have_happened(),
                },
                None => trouble,
            },
            Err(_) => trouble,
        }
    }
}

/// etcd says `invalid argument` where its users have changed since the token was given, or where the token is missing.
fn is_about_token(trouble: &Trouble) -> bool {
    matches!(
        trouble.code(),
        Some(Code::Unauthenticated | Code::InvalidArgument)
    )
}
