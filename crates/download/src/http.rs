//! `http` and `https`, by hyper.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{SourceError, StartsOver};
use crate::open::{Body, Client, Opened, Origin};
use crate::source::{Source, SourceScheme};
use crate::validator::Validator;

const USER_AGENT: &str = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));

/// A body, and the connection that brings it.
pub(crate) struct HttpBody {
    incoming: Incoming,
    _connection: AbortOnDropHandle<()>,
}

impl HttpBody {
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, &'static str> {
        loop {
            match self.incoming.frame().await {
                None => return Ok(None),
                Some(Err(_)) => return Err("before the end of the file"),
                // Trailers say nothing about a file.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if bytes.is_empty() => {}
                    Ok(bytes) => return Ok(Some(bytes)),
                    Err(_) => {}
                },
            }
        }
    }
}

type Answer = (Response<Incoming>, AbortOnDropHandle<()>);

pub(crate) async fn open(
    client: &Client,
    source: &Source,
    from: u64,
    known: &Validator,
) -> Result<Opened, SourceError> {
    if from == 0 {
        return open_whole(client, source, None).await;
    }
    if !known.is_usable() {
        return open_whole(client, source, Some(StartsOver::NoValidator)).await;
    }
    let (at, (response, connection)) = follow(client, source, Some((from, known))).await?;
    let now = validator(response.headers(), response.status(), from);
    match response.status() {
        StatusCode::PARTIAL_CONTENT
            if range(response.headers()).is_some_and(|range| range.first == from)
                && !known.differs_from(&now) =>
        {
            opened(client, &at, from, None, response, connection)
        }
        StatusCode::OK => {
            let why = match known.differs_from(&now) {
                true => StartsOver::Changed,
                false => StartsOver::NoRanges,
            };
            opened(client, &at, 0, Some(why), response, connection)
        }
        // Another range than the one asked for, of another file, or none: only the whole file will do.
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            open_whole(client, source, Some(StartsOver::Changed)).await
        }
        status => Err(refusal(&at, status)),
    }
}

async fn open_whole(
    client: &Client,
    source: &Source,
    why: Option<StartsOver>,
) -> Result<Opened, SourceError> {
    let (at, (response, connection)) = follow(client, source, None).await?;
    match response.status() {
        StatusCode::OK => opened(client, &at, 0, why, response, connection),
        status => Err(refusal(&at, status)),
    }
}

fn opened(
    client: &Client,
    at: &Source,
    from: u64,
    starts_over: Option<StartsOver>,
    response: Response<Incoming>,
    connection: AbortOnDropHandle<()>,
) -> Result<Opened, SourceError> {
    let headers = response.headers();
    // Servers call a .tgz packed with gzip, which it is: those bytes are the file. Anything else was
    // packed on the way, against what was asked for.
    let encoding = text(headers, &header::CONTENT_ENCODING).unwrap_or_default();
    if !["", "identity", "gzip", "x-gzip"].contains(&encoding.to_ascii_lowercase().as_str()) {
        return Err(SourceError::Encoded {
            host: at.host().to_owned(),
            encoding: word(&encoding),
        });
    }
    let validator = validator(headers, response.status(), from);
    let content_type = text(headers, &header::CONTENT_TYPE).map(|kind| word(&kind));
    let body = HttpBody {
        incoming: response.into_body(),
        _connection: connection,
    };
    Ok(Opened {
        from,
        starts_over,
        validator,
        content_type,
        body: Body::new(&client.limits, at.host(), Origin::Http(body)),
    })
}

/// Asks, and follows redirects.
async fn follow(
    client: &Client,
    source: &Source,
    rest: Option<(u64, &Validator)>,
) -> Result<(Source, Answer), SourceError> {
    let mut at = source.clone();
    for _ in 0..=client.limits.redirects {
        let answer = ask(client, &at, rest).await?;
        let status = answer.0.status();
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok((at, answer));
        }
        let bad = |why| SourceError::BadRedirect {
            host: at.host().to_owned(),
            why,
        };
        let location = text(answer.0.headers(), &header::LOCATION);
        let location = location.ok_or_else(|| bad("and does not say where"))?;
        at = at.redirected(&location).map_err(bad)?;
    }
    Err(SourceError::TooManyRedirects {
        limit: client.limits.redirects,
    })
}

async fn ask(
    client: &Client,
    at: &Source,
    rest: Option<(u64, &Validator)>,
) -> Result<Answer, SourceError> {
    let stream = client.connect(at).await?;
    let request = request(at, rest).map_err(|_| SourceError::BadRedirect {
        host: at.host().to_owned(),
        why: "to something that cannot be asked for",
    })?;
    match at.scheme() {
        SourceScheme::Https => {
            let stream = secure(client, at, stream).await?;
            send(client, at, stream, request).await
        }
        SourceScheme::Http | SourceScheme::Ftp => send(client, at, stream, request).await,
    }
}

fn request(
    at: &Source,
    rest: Option<(u64, &Validator)>,
) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    let mut request = Request::get(at.target().as_str())
        .header(header::HOST, at.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close");
    if let Some(credentials) = at.credentials() {
        let mut value = HeaderValue::from_str(&credentials.basic())?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    if let Some((from, known)) = rest {
        request = request.header(header::RANGE, format!("bytes={from}-"));
        let condition = known.etag.as_ref().or(known.modified.as_ref());
        if let Some(condition) = condition {
            request = request.header(header::IF_RANGE, condition);
        }
    }
    request.body(Empty::new())
}

async fn secure(
    client: &Client,
    at: &Source,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, SourceError> {
    let host = at.host().to_owned();
    let Ok(name) = ServerName::try_from(host.clone()) else {
        let why = "its name can be in no certificate".to_owned();
        return Err(SourceError::Untrusted { host, why });
    };
    let connector = TlsConnector::from(client.trust.config()?);
    let shaken = client
        .in_time(&host, connector.connect(name, stream))
        .await?;
    shaken.map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(rustls::Error::InvalidCertificate(why)) => SourceError::Untrusted {
                host,
                why: why.to_string(),
            },
            Some(_) | None => SourceError::Connect {
                host,
                source: error,
            },
        }
    })
}

async fn send(
    client: &Client,
    at: &Source,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Answer, SourceError> {
    let broke = |_: hyper::Error| SourceError::Broke {
        host: at.host().to_owned(),
        why: "before an answer",
    };
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(broke)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // What goes wrong with it is seen by whoever reads the answer.
        drop(connection.await);
    }));
    let answer = client
        .in_time(at.host(), sender.send_request(request))
        .await?;
    Ok((answer.map_err(broke)?, connection))
}

fn refusal(at: &Source, status: StatusCode) -> SourceError {
    let (host, number) = (at.host().to_owned(), u32::from(status.as_u16()));
    match status.as_u16() {
        404 | 410 => SourceError::NotThere {
            host,
            status: number,
        },
        401 | 403 | 407 => SourceError::NotAllowed {
            host,
            status: number,
            advice: match at.credentials() {
                Some(_) => "give another user name and password",
                None => "give a user name and password",
            },
        },
        408 | 425 | 429 | 500.. => SourceError::Unavailable {
            host,
            status: number,
        },
        _ => SourceError::Refused {
            host,
            status: number,
        },
    }
}

/// What a `Content-Range` says.
struct ContentRange {
    first: u64,
    total: Option<u64>,
}

fn range(headers: &HeaderMap) -> Option<ContentRange> {
    let value = text(headers, &header::CONTENT_RANGE)?;
    let (range, total) = value.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some(ContentRange {
        first: first.trim().parse().ok()?,
        total: total.trim().parse().ok(),
    })
}

fn validator(headers: &HeaderMap, status: StatusCode, from: u64) -> Validator {
    let length: Option<u64> = text(headers, &header::CONTENT_LENGTH).and_then(|n| n.parse().ok());
    let total = match status {
        StatusCode::PARTIAL_CONTENT => range(headers)
            .and_then(|range| range.total)
            .or_else(|| length.and_then(|length| length.checked_add(from))),
        _ => length,
    };
    let strong = |tag: &String| tag.starts_with('"');
    Validator {
        etag: text(headers, &header::ETAG).filter(strong),
        modified: text(headers, &header::LAST_MODIFIED),
        total,
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.trim().to_owned())
}

/// The first word of what a server says, if it is one: nothing else of it is repeated.
fn word(said: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || "/.+-_".contains(*c);
    said.chars().take_while(fits).take(64).collect()
}
