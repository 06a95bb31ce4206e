//! Calls to the REST API.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evenkeel_api::{Code, ErrorBody, Job, JobLink};
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, AsSendBody, Body};

use crate::clock::Stopwatch;
use crate::local;
use crate::target::{Login, Target, Trust};

/// Time for one call without a body of note: above the server's own bounds.
const CALL: Duration = Duration::from_secs(60);
/// Time to reach a server that is there: no network is slower.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a cluster may be unreachable before a command gives up: above an election after the
/// coordinator's machine lost power.
const PATIENCE: Duration = Duration::from_secs(60);
/// After so long a person is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(3);
/// Pause between two tries.
const RETRY: Duration = Duration::from_millis(250);
/// Pause between two looks at a job.
const JOB_POLL: Duration = Duration::from_millis(200);
/// Longest answer that is read into memory.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the certificates to trust cannot be read: {0}")]
    Trust(String),
    #[error("the client certificate cannot be used: {0}")]
    ClientCertificate(String),
    /// Waiting would not help: it is another cluster, or another file is meant.
    #[error("the server is not one that --ca, or this machine, vouches for: {0}")]
    Untrusted(String),
    #[error("the cluster cannot be reached: {0}")]
    Unreachable(String),
    #[error(
        "the cluster's answer was lost ({0}); whether it did what was asked, `evenkeel image show` \
             tells, and of what is asked of this controller alone `evenkeel cluster show`"
    )]
    NoAnswer(String),
    #[error("{message} (code {code})")]
    Refused {
        status: u16,
        code: String,
        message: String,
    },
    #[error(
        "the cluster gave an answer that cannot be understood: status {status} without an error object"
    )]
    NoErrorObject { status: u16 },
    #[error("the cluster gave an answer that cannot be understood: {0}")]
    Unreadable(String),
}

/// Speaks to one cluster. Tries its addresses in turn while the coordinator moves.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    target: Target,
    authorization: Option<String>,
    patience: Duration,
}

/// A try that had no effect may be repeated; one whose effect is unknown only if it reads.
enum Try {
    Answered(Response<Body>),
    NotSent(String),
    Untrusted(String),
    Lost(String),
}

impl Client {
    pub(crate) fn new(target: Target) -> Result<Self, CallError> {
        let tls = match &target.trust {
            Trust::Ca(pem) => TlsConfig::builder().root_certs(roots(pem)?),
            Trust::System => TlsConfig::builder().root_certs(system_roots(&target)?),
            Trust::Anyone => TlsConfig::builder().disable_verification(true),
        };
        let tls = tls
            .client_cert(client_certificate(&target.login)?)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(true)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("evenkeel/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build()
            .new_agent();
        let authorization = match &target.login {
            Login::Password { user, password } => {
                let credentials = STANDARD.encode(format!("{user}:{password}"));
                Some(format!("Basic {credentials}"))
            }
            Login::Certificate { .. } | Login::Local => None,
        };
        Ok(Self {
            agent,
            target,
            authorization,
            patience: PATIENCE,
        })
    }

    /// The same, giving up after this long: for those who try again themselves.
    pub(crate) fn patient_for(&self, patience: Duration) -> Self {
        Self {
            patience,
            ..self.clone()
        }
    }

    /// The object at `path`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        read_json(self.call(&Method::GET, path, None)?)
    }

    /// All records of a collection, page by page, as one collection.
    pub(crate) fn get_all(&self, path: &str) -> Result<Value, CallError> {
        let mut all: Value = self.get(path)?;
        while let Some(next) = all.pointer("/_links/next/href").and_then(Value::as_str) {
            let mut page: Value = self.get(next)?;
            let more = page["records"].take();
            let links = page["_links"].take();
            if let (Some(records), Value::Array(more)) = (all["records"].as_array_mut(), more) {
                records.extend(more);
            }
            all["_links"]["next"] = links.get("next").cloned().unwrap_or(Value::Null);
        }
        if let Some(links) = all["_links"].as_object_mut() {
            links.remove("next");
        }
        let count = all["records"].as_array().map_or(0, Vec::len);
        all["num_records"] = count.into();
        Ok(all)
    }

    /// Asks for a change that is done when it is answered, with the object that it made or changed.
    pub(crate) fn object<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, CallError> {
        read_json(self.call(method, path, body)?)
    }

    /// Asks for a change and waits until its job has ended. A job that failed is an error.
    pub(crate) fn change(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Job, CallError> {
        let link = self.begin(method, path, body)?;
        self.wait_job(&link.job.uuid)
    }

    /// Asks for a change and returns when it is accepted.
    pub(crate) fn begin(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<JobLink, CallError> {
        read_json(self.call(method, path, body)?)
    }

    /// Waits until the job has ended. The wait itself has no bound: the cluster bounds its jobs.
    pub(crate) fn wait_job(&self, uuid: &str) -> Result<Job, CallError> {
        self.wait_job_with(uuid, || {})
    }

    /// The same; `meanwhile` is called while the job goes on.
    pub(crate) fn wait_job_with(
        &self,
        uuid: &str,
        mut meanwhile: impl FnMut(),
    ) -> Result<Job, CallError> {
        loop {
            let job: Job = self.get(&format!("/api/cluster/jobs/{uuid}?fields=*"))?;
            if !job.state.is_terminal() {
                meanwhile();
                thread::sleep(JOB_POLL);
                continue;
            }
            return match job.error {
                None => Ok(job),
                Some(error) => {
                    let (code, message) = (error.code, error.message);
                    Err(CallError::Refused {
                        status: 200,
                        code,
                        message,
                    })
                }
            };
        }
    }

    /// Sends a body of known length once: it cannot be read a second time.
    pub(crate) fn send(
        &self,
        path: &str,
        content_type: &str,
        length: u64,
        body: impl Read + 'static,
    ) -> Result<JobLink, CallError> {
        // An address that answers is found first, with a call that may be repeated.
        let (url, _) = self.reach(&Method::GET, "/api/cluster", None)?;
        let request = self
            .request(&Method::POST, &url, path)
            .header("content-type", content_type)
            .header("content-length", length)
            .body(ureq::SendBody::from_owned_reader(body));
        match self.once(request, None) {
            Try::Answered(response) => read_json(accept(response)?),
            Try::NotSent(why) => Err(CallError::Unreachable(why)),
            Try::Untrusted(why) => Err(CallError::Untrusted(why)),
            Try::Lost(why) => Err(CallError::NoAnswer(why)),
        }
    }

    /// Lines of an answer that has no end of its own, until the connection ends.
    pub(crate) fn lines(
        &self,
        path: &str,
    ) -> Result<impl Iterator<Item = std::io::Result<String>>, CallError> {
        let (url, _) = self.reach(&Method::GET, "/api/cluster", None)?;
        let request = self.request(&Method::GET, &url, path).body(());
        match self.once(request, None) {
            Try::Answered(response) => {
                Ok(BufReader::new(accept(response)?.into_body().into_reader()).lines())
            }
            Try::Untrusted(why) => Err(CallError::Untrusted(why)),
            Try::NotSent(why) | Try::Lost(why) => Err(CallError::Unreachable(why)),
        }
    }

    fn call(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Body>, CallError> {
        Ok(self.reach(method, path, body)?.1)
    }

    /// Tries the addresses in turn, until one answers with something else than "not now". An answer that it
    /// returns is a success.
    fn reach(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(String, Response<Body>), CallError> {
        if let Some(socket) = &self.target.local {
            let response = call_locally(socket, method, path, body)?;
            return Ok((String::new(), accept(response)?));
        }
        let waited = Stopwatch::start();
        let mut is_told = false;
        loop {
            let mut last = String::new();
            for url in &self.target.urls {
                let request = self.request(method, url, path);
                let outcome = match body {
                    Some(value) => {
                        let request = request.header("content-type", "application/json");
                        self.once(request.body(value.to_string()), Some(CALL))
                    }
                    None => self.once(request.body(()), Some(CALL)),
                };
                match outcome {
                    Try::Answered(response) => match accept(response) {
                        Ok(response) => return Ok((url.clone(), response)),
                        Err(refused)
                            if waited.elapsed() < self.patience
                                && may_be_repeated(method, &refused) =>
                        {
                            last = "no node can serve the call now".to_owned();
                        }
                        Err(refused) => return Err(refused),
                    },
                    Try::NotSent(why) => last = why,
                    Try::Untrusted(why) => return Err(CallError::Untrusted(why)),
                    Try::Lost(why) if method.is_safe() => last = why,
                    Try::Lost(why) => return Err(CallError::NoAnswer(why)),
                }
            }
            if waited.elapsed() >= self.patience {
                return Err(CallError::Unreachable(last));
            }
            // Nobody should wait without knowing for what.
            if !is_told && waited.elapsed() >= TELL_AFTER && self.patience > TELL_AFTER {
                let patience = self.patience.as_secs();
                eprintln!("evenkeel: no answer yet ({last}); trying for {patience} s");
                is_told = true;
            }
            thread::sleep(RETRY);
        }
    }

    fn request(&self, method: &Method, url: &str, path: &str) -> ureq::http::request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(format!("{url}{path}"))
            .header("accept", "application/hal+json");
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }

    fn once<B: AsSendBody>(
        &self,
        request: ureq::http::Result<Request<B>>,
        limit: Option<Duration>,
    ) -> Try {
        let request = match request {
            Ok(request) => request,
            Err(error) => return Try::NotSent(error.to_string()),
        };
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(limit)
            .allow_non_standard_methods(true)
            .build();
        match self.agent.run(request) {
            Ok(response) => Try::Answered(response),
            Err(error) if is_untrusted(&error) => Try::Untrusted(error.to_string()),
            Err(error) if sent_nothing(&error) => Try::NotSent(error.to_string()),
            Err(error) => Try::Lost(error.to_string()),
        }
    }
}

/// Whether the same call may be made again after this refusal. One that changes something only if the cluster says
/// that nothing was changed: a 503 of something in between says nothing of that.
fn may_be_repeated(method: &Method, refused: &CallError) -> bool {
    let not_begun = [Code::CannotCreateTask, Code::TemporarilyUnavailable];
    match refused {
        CallError::Refused {
            status: 503, code, ..
        } => {
            let says_so = not_begun.iter().any(|it| it.number().to_string() == *code);
            method.is_safe() || says_so
        }
        CallError::NoErrorObject { status: 503 } => method.is_safe(),
        CallError::Refused { .. }
        | CallError::NoErrorObject { .. }
        | CallError::Trust(_)
        | CallError::ClientCertificate(_)
        | CallError::Untrusted(_)
        | CallError::Unreachable(_)
        | CallError::NoAnswer(_)
        | CallError::Unreadable(_) => false,
    }
}

/// A root that is not there will not come, so it is tried once.
fn call_locally(
    socket: &Path,
    method: &Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Response<Body>, CallError> {
    let body = body.map(Value::to_string);
    let answer = local::call(socket, method.as_str(), path, body.as_deref());
    answer.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound
        | std::io::ErrorKind::PermissionDenied
        | std::io::ErrorKind::ConnectionRefused => {
            let socket = socket.display();
            CallError::Unreachable(format!(
                "{socket}: {error}; does evenkeeld run here, and are you root?"
            ))
        }
        _ => CallError::NoAnswer(error.to_string()),
    })
}

/// The server showed a certificate that is not believed.
fn is_untrusted(error: &ureq::Error) -> bool {
    let tls = match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        _ => None,
    };
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

/// Errors from before the request was on its way.
fn sent_nothing(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::ConnectionFailed
        | ureq::Error::HostNotFound
        | ureq::Error::Tls(_)
        | ureq::Error::Rustls(_)
        | ureq::Error::BadUri(_)
        | ureq::Error::RequireHttpsOnly(_)
        | ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => true,
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        // Whatever else happened, the server may have read the request.
        _ => false,
    }
}

/// What this machine trusts.
fn system_roots(target: &Target) -> Result<RootCerts, CallError> {
    if target.local.is_some() {
        return Ok(RootCerts::new_with_certs(&[]));
    }
    let found = rustls_native_certs::load_native_certs();
    let certificates: Vec<Certificate<'static>> = found
        .certs
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect();
    if certificates.is_empty() {
        let why = "this machine has none of its own: name some with --ca";
        return Err(CallError::Trust(why.to_owned()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn client_certificate(login: &Login) -> Result<Option<ClientCert>, CallError> {
    let Login::Certificate { certificate, key } = login else {
        return Ok(None);
    };
    let chain: Result<Vec<_>, _> = parse_pem(certificate)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
        .collect();
    let unusable = |error: ureq::Error| CallError::ClientCertificate(error.to_string());
    let key = PrivateKey::from_pem(key).map_err(unusable)?;
    let chain = chain.map_err(unusable)?;
    Ok(Some(ClientCert::new_with_certs(&chain, key)))
}

fn roots(pem: &[u8]) -> Result<RootCerts, CallError> {
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(CallError::Trust(error.to_string())),
        }
    }
    if certificates.is_empty() {
        return Err(CallError::Trust("there is none in the file".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// The answer, or the API's error in it.
fn accept(response: Response<Body>) -> Result<Response<Body>, CallError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let text = read_text(response)?;
    let body: ErrorBody =
        serde_json::from_str(&text).map_err(|_| CallError::NoErrorObject { status })?;
    let (code, message) = (body.error.code, body.error.message);
    Err(CallError::Refused {
        status,
        code,
        message,
    })
}

fn read_text(mut response: Response<Body>) -> Result<String, CallError> {
    let body = response.body_mut().with_config().limit(MAX_ANSWER);
    body.read_to_string()
        .map_err(|error| CallError::Unreadable(error.to_string()))
}

fn read_json<T: DeserializeOwned>(response: Response<Body>) -> Result<T, CallError> {
    let text = read_text(response)?;
    serde_json::from_str(&text).map_err(|error| CallError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_repeated_only_where_nothing_was_begun() {
        let refused = |status, code: Code| CallError::Refused {
            status,
            code: code.number().to_string(),
            message: "so".to_owned(),
        };
        for (refused, reads, changes) in [
            (refused(503, Code::CannotCreateTask), true, true),
            (refused(503, Code::TemporarilyUnavailable), true, true),
            (refused(503, Code::UpdateInProgress), true, false),
            (CallError::NoErrorObject { status: 503 }, true, false),
            (refused(500, Code::OutcomeUnknown), false, false),
            (CallError::NoErrorObject { status: 500 }, false, false),
            (refused(409, Code::CannotCreateTask), false, false),
        ] {
            assert_eq!(may_be_repeated(&Method::GET, &refused), reads, "{refused}");
            for method in [Method::PATCH, Method::POST, Method::DELETE] {
                assert_eq!(may_be_repeated(&method, &refused), changes, "{refused}");
            }
        }
    }
}
