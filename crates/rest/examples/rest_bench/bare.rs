//! What the front end is compared with: hyper and nothing else, which has its answers ready.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Result;

/// Answers by request target.
pub(crate) type Answers = HashMap<String, (HeaderMap, Bytes)>;

pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    answers: Answers,
) -> Result<()> {
    let (acceptor, answers) = (TlsAcceptor::from(tls), Arc::new(answers));
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, answers) = (acceptor.clone(), Arc::clone(&answers));
        tokio::spawn(async move {
            // A client that is gone.
            let _ended = connection(stream, acceptor, answers).await;
        });
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, answers: Arc<Answers>) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&answers, &request);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    Ok(connection.await?)
}

fn answer(answers: &Answers, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let target = request.uri().path_and_query().map(|it| it.as_str());
    let Some((headers, body)) = target.and_then(|target| answers.get(target)) else {
        let mut missing = Response::new(Full::default());
        *missing.status_mut() = StatusCode::NOT_FOUND;
        return missing;
    };
    let mut response = Response::new(Full::new(body.clone()));
    *response.headers_mut() = headers.clone();
    response
}
