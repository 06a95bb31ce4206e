//! Transfers from a server that does everything wrong, one thing at a time.

use std::time::Duration;

use crate::support::{
    Answer, Fetched, Server, client, content, drive, fetch, limits, source, trusting,
};
use evenkeel_download::{Event, SourceError, StartsOver, Transfer, Validator};

/// The whole file, with what it takes to resume it.
fn whole(body: &[u8]) -> Answer {
    Answer::ok(body).header("ETag", "\"one\"")
}

#[tokio::test]
async fn a_file_comes_whole() {
    let body = content(300_000, 1);
    let server = Server::start(vec![whole(&body)]).await;
    let fetched = fetch(&server.url("/p.tgz")).await;
    assert_eq!(fetched.bytes, body);
    let asked = &server.asked()[0];
    assert!(asked.starts_with("GET /p.tgz HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("accept-encoding: identity"), "{asked}");
    assert!(!asked.contains("authorization"), "{asked}");
}

#[tokio::test]
async fn what_broke_off_goes_on_where_it_was() {
    let body = content(300_000, 1);
    let server = Server::start(vec![
        whole(&body).cut_after(100_000),
        Answer::status(503),
        Answer::part(&body, 100_000).header("ETag", "\"one\""),
    ])
    .await;
    let fetched = fetch(&server.url("/p")).await;
    assert_eq!(fetched.bytes, body);
    assert_eq!((fetched.failed, fetched.started_over), (2, vec![]));
    let asked = server.asked();
    assert!(asked[1].contains("range: bytes=100000-"), "{}", asked[1]);
    assert!(asked[1].contains("if-range: \"one\""), "{}", asked[1]);
    assert_eq!(server.served(), body.len(), "no byte twice");
}

#[tokio::test]
async fn a_later_transfer_goes_on_from_what_was_kept() {
    let body = content(10_000, 1);
    let modified = "Mon, 23 Nov 2026 10:00:00 GMT";
    let server = Server::start(vec![
        Answer::part(&body, 4_000).header("Last-Modified", modified),
    ])
    .await;
    let kept = Validator {
        etag: None,
        modified: Some(modified.to_owned()),
        total: Some(10_000),
    };
    let json = serde_json::to_string(&kept).unwrap();
    let kept = serde_json::from_str(&json).unwrap();
    let transfer = Transfer::resume(client(limits()), source(&server.url("/p")), 4_000, kept);
    let fetched = drive(transfer).await.unwrap();
    assert_eq!(fetched.bytes, body[4_000..]);
    assert!(server.asked()[0].contains(&format!("if-range: {modified}")));
}

#[tokio::test]
async fn what_is_all_here_is_not_asked_for() {
    let kept = Validator {
        etag: Some("\"one\"".to_owned()),
        modified: None,
        total: Some(5),
    };
    let mut transfer = Transfer::resume(client(limits()), source("http://127.0.0.1:1/p"), 5, kept);
    assert!(matches!(transfer.next().await.unwrap(), Event::End));
}

async fn started_over(second: Answer, third: Option<Answer>, first: Answer) -> (Fetched, Server) {
    let answers = [first.cut_after(100_000), second].into_iter().chain(third);
    let server = Server::start(answers.collect()).await;
    (fetch(&server.url("/p")).await, server)
}

#[tokio::test]
async fn another_file_is_begun_anew() {
    let (old, new) = (content(300_000, 1), content(200_000, 2));
    // The server knows the condition, ignores it, or cannot send that range of the new file.
    let unsatisfiable = || Answer::status(416).header("Content-Range", "bytes */200000");
    for (second, third) in [
        (Answer::ok(&new).header("ETag", "\"two\""), None),
        (
            Answer::part(&new, 100_000).header("ETag", "\"two\""),
            Some(Answer::ok(&new).header("ETag", "\"two\"")),
        ),
        (
            unsatisfiable(),
            Some(Answer::ok(&new).header("ETag", "\"two\"")),
        ),
        // The same tag, but another size: somebody lies, and nothing is mixed.
        (
            Answer::part(&new, 100_000).header("ETag", "\"one\""),
            Some(Answer::ok(&new).header("ETag", "\"one\"")),
        ),
        // Another range than the one asked for.
        (
            Answer::part(&old, 50_000).header("ETag", "\"one\""),
            Some(Answer::ok(&new).header("ETag", "\"one\"")),
        ),
    ] {
        let (fetched, _) = started_over(second, third, whole(&old)).await;
        assert_eq!(fetched.bytes, new);
        assert_eq!(fetched.started_over, [StartsOver::Changed]);
    }
}

#[tokio::test]
async fn a_server_of_whole_files_is_asked_for_the_whole_file() {
    let body = content(300_000, 1);
    let (fetched, _) = started_over(whole(&body), None, whole(&body)).await;
    assert_eq!(fetched.bytes, body);
    assert_eq!(fetched.started_over, [StartsOver::NoRanges]);
    let nameless = Answer::ok(&body);
    let (fetched, server) = started_over(nameless.clone(), None, nameless).await;
    assert_eq!(fetched.bytes, body);
    assert_eq!(fetched.started_over, [StartsOver::NoValidator]);
    assert!(!server.asked()[1].contains("range:"));
    // A weak tag does not prove that the bytes are the same.
    let weak = Answer::ok(&body).header("ETag", "W/\"one\"");
    let (fetched, _) = started_over(weak.clone(), None, weak).await;
    assert_eq!(fetched.started_over, [StartsOver::NoValidator]);
}

async fn error_of(answers: Vec<Answer>) -> (SourceError, usize) {
    let server = Server::start(answers).await;
    let transfer = Transfer::new(client(limits()), source(&server.url("/p?sig=s3cret")));
    let error = drive(transfer).await.unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(!said.contains("s3cret"), "{said}");
    (error, server.asked().len())
}

#[tokio::test]
async fn what_will_not_change_ends_at_once() {
    for (status, kind) in [
        (404, 0),
        (410, 0),
        (401, 1),
        (403, 1),
        (400, 2),
        (204, 2),
        (304, 2),
    ] {
        let (error, asked) = error_of(vec![Answer::status(status)]).await;
        let found = match &error {
            SourceError::NotThere { .. } => 0,
            SourceError::NotAllowed { .. } => 1,
            SourceError::Refused { .. } => 2,
            other => panic!("{status}: {other}"),
        };
        assert_eq!((found, asked), (kind, 1), "{status}");
        assert!(!error.is_transient());
    }
    let packed = Answer::ok(b"x").header("Content-Encoding", "br");
    let (error, _) = error_of(vec![packed]).await;
    assert!(matches!(error, SourceError::Encoded { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_calls_an_archive_packed_is_understood() {
    let body = content(1_000, 1);
    let server = Server::start(vec![whole(&body).header("Content-Encoding", "x-gzip")]).await;
    assert_eq!(fetch(&server.url("/p.tgz")).await.bytes, body);
}

#[tokio::test]
async fn tries_without_progress_are_bounded() {
    let (error, asked) = error_of(vec![Answer::status(500); 9]).await;
    assert!(matches!(error, SourceError::Unavailable { .. }), "{error}");
    assert_eq!(asked, 4);
    // The same first bytes again and again are no progress either.
    let body = content(200_000, 1);
    let (error, asked) = error_of(vec![Answer::ok(&body).cut_after(1_000); 9]).await;
    assert!(matches!(error, SourceError::Broke { .. }), "{error}");
    assert_eq!(asked, 4);
    // Nor is a length that is never reached.
    let (error, asked) = error_of(vec![whole(&body[..100]).says_length(200); 9]).await;
    assert!(error.is_transient(), "{error}");
    assert_eq!(asked, 4);
}

#[tokio::test]
async fn progress_is_worth_more_tries() {
    let body = content(1_000_000, 1);
    let mut answers = vec![whole(&body).cut_after(100_000)];
    for at in (100_000..1_000_000).step_by(100_000) {
        answers.push(
            Answer::part(&body, at)
                .header("ETag", "\"one\"")
                .cut_after(100_000),
        );
    }
    let server = Server::start(answers).await;
    let fetched = fetch(&server.url("/p")).await;
    assert_eq!(fetched.bytes, body);
    assert_eq!(server.served(), body.len());
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let body = content(300_000, 1);
    let server = Server::start(vec![
        whole(&body).silent_after(100_000),
        Answer::part(&body, 100_000).header("ETag", "\"one\""),
    ])
    .await;
    let mut limits = limits();
    limits.stall = Duration::from_millis(200);
    let transfer = Transfer::new(client(limits), source(&server.url("/p")));
    let fetched = drive(transfer).await.unwrap();
    assert_eq!(fetched.bytes, body);
    assert_eq!(fetched.failed, 1);
}

#[tokio::test]
async fn redirects_are_followed_so_far_and_no_further() {
    let body = content(1_000, 1);
    let to = |place: &str| Answer::status(302).header("Location", place);
    let mut answers: Vec<Answer> = (0..5).map(|n| to(&format!("/{n}"))).collect();
    answers.push(whole(&body));
    let server = Server::start(answers).await;
    assert_eq!(fetch(&server.url("/p")).await.bytes, body);
    assert!(server.asked()[5].starts_with("GET /4 "));
    let (error, asked) = error_of(vec![to("/again"); 9]).await;
    assert!(
        matches!(error, SourceError::TooManyRedirects { limit: 5 }),
        "{error}"
    );
    assert_eq!(asked, 6);
    let (error, _) = error_of(vec![to("ftp://127.0.0.1/p")]).await;
    assert!(matches!(error, SourceError::BadRedirect { .. }), "{error}");
    let (error, _) = error_of(vec![Answer::status(301)]).await;
    assert!(matches!(error, SourceError::BadRedirect { .. }), "{error}");
}

#[tokio::test]
async fn a_password_goes_to_its_host_and_to_no_other() {
    let body = content(1_000, 1);
    let other = Server::start(vec![whole(&body)]).await;
    let away = Answer::status(302).header("Location", &other.url("/elsewhere"));
    let near = Answer::status(302).header("Location", "/near");
    let server = Server::start(vec![near, away]).await;
    let url = server.url("/p").replace("http://", "http://me:s3cret@");
    assert_eq!(fetch(&url).await.bytes, body);
    // "me:s3cret"
    assert!(
        server
            .asked()
            .iter()
            .all(|asked| asked.contains("authorization: Basic bWU6czNjcmV0"))
    );
    assert!(!other.asked()[0].contains("authorization"));
}

#[tokio::test]
async fn tls_is_believed_by_the_ca_that_is_configured_and_never_left() {
    let body = content(1_000, 1);
    let down = Answer::status(302).header("Location", "http://127.0.0.1:1/p");
    let (server, ca) = Server::start_tls(vec![whole(&body), down]).await;
    let url = server.url("/p");
    let strict = Transfer::new(client(limits()), source(&url));
    let error = drive(strict).await.unwrap_err();
    assert!(matches!(error, SourceError::Untrusted { .. }), "{error}");
    let trusting = trusting(&ca);
    let fetched = drive(Transfer::new(trusting.clone(), source(&url))).await;
    assert_eq!(fetched.unwrap().bytes, body);
    let error = drive(Transfer::new(trusting, source(&url)))
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::BadRedirect { .. }), "{error}");
}
