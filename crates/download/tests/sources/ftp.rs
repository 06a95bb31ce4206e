//! FTP: logins, resumption, and servers that know less.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_download::{Event, SourceError, StartsOver, Transfer};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::ftp_server::{FtpServer, SENT, Shelf};
use crate::support::{Fetched, client, content, drive, limits, source};

fn shelf() -> Shelf {
    Shelf {
        file: content(300_000, 1),
        modified: "20261123101112",
        password: None,
        knows_rest: true,
        is_secretive: false,
        holds_back: None,
        cuts: vec![],
    }
}

async fn get(server: &FtpServer, login: &str, path: &str) -> Result<Fetched, SourceError> {
    let url = format!("ftp://{login}127.0.0.1:{}/{path}", server.port);
    drive(Transfer::new(client(limits()), source(&url))).await
}

#[tokio::test]
async fn whoever_names_no_user_is_anonymous() {
    let server = FtpServer::start(shelf()).await;
    let fetched = get(&server, "", "dir/file.tgz").await.unwrap();
    assert_eq!(fetched.bytes, shelf().file);
    let asked = server.asked();
    assert_eq!(asked[..3], ["USER anonymous", "PASS evenkeel@", "TYPE I"]);
    assert!(get(&server, "ftp@", "dir/file.tgz").await.is_ok());
}

#[tokio::test]
async fn a_password_is_sent_and_a_wrong_one_ends_at_once() {
    let guarded = Shelf {
        password: Some("s3cret"),
        ..shelf()
    };
    let server = FtpServer::start(guarded).await;
    assert!(get(&server, "me:s3cret@", "dir/file.tgz").await.is_ok());
    let error = get(&server, "me:wr0ng@", "dir/file.tgz").await.unwrap_err();
    assert!(
        matches!(error, SourceError::NotAllowed { status: 530, .. }),
        "{error}"
    );
    let said = format!("{error} {error:?}");
    assert!(
        !said.contains("wr0ng"),
        "the server quotes it, we do not: {said}"
    );
    let logins = server.asked();
    assert_eq!(
        logins
            .iter()
            .filter(|line| line.starts_with("PASS"))
            .count(),
        2
    );
}

#[tokio::test]
async fn what_is_not_there_ends_at_once() {
    let server = FtpServer::start(shelf()).await;
    let error = get(&server, "", "dir/other.tgz").await.unwrap_err();
    assert!(
        matches!(error, SourceError::NotThere { status: 550, .. }),
        "{error}"
    );
    let asked = server.asked();
    assert_eq!(
        asked.iter().filter(|line| line.starts_with("USER")).count(),
        1
    );
}

#[tokio::test]
async fn a_server_that_tells_no_size_is_asked_for_the_file_all_the_same() {
    let secretive = Shelf {
        is_secretive: true,
        ..shelf()
    };
    let server = FtpServer::start(secretive).await;
    let fetched = get(&server, "", "dir/file.tgz").await.unwrap();
    assert_eq!(fetched.bytes, shelf().file);
}

#[tokio::test]
async fn the_end_counts_only_when_it_was_confirmed() {
    let held = Arc::new(Semaphore::new(0));
    let slow = Shelf {
        holds_back: Some(held.clone()),
        is_secretive: true,
        ..shelf()
    };
    let server = FtpServer::start(slow).await;
    let url = format!("ftp://127.0.0.1:{}/dir/file.tgz", server.port);
    let mut transfer = Transfer::new(client(limits()), source(&url));
    while transfer.position() < 300_000 {
        transfer.next().await.unwrap();
    }
    while !server.asked().iter().any(|line| line == SENT) {
        tokio::task::yield_now().await;
    }
    // Given up in the middle of waiting for the confirmation, which makes it unknown for ever.
    let waited = timeout(Duration::from_millis(200), transfer.next()).await;
    assert!(waited.is_err());
    held.close();
    let event = transfer.next().await.unwrap();
    assert!(matches!(event, Event::Failed { .. }), "{event:?}");
}

#[tokio::test]
async fn after_a_final_error_there_is_no_end() {
    let server = FtpServer::start(shelf()).await;
    let url = format!("ftp://127.0.0.1:{}/dir/other.tgz", server.port);
    let mut transfer = Transfer::new(client(limits()), source(&url));
    let error = transfer.next().await.unwrap_err();
    assert!(matches!(error, SourceError::NotThere { .. }), "{error}");
    assert!(transfer.next().await.is_err());
}

#[tokio::test]
async fn what_broke_off_goes_on_where_it_was() {
    let broken = Shelf {
        cuts: vec![100_000, 100_000],
        ..shelf()
    };
    let server = FtpServer::start(broken).await;
    let fetched = get(&server, "", "dir/file.tgz").await.unwrap();
    assert_eq!(fetched.bytes, shelf().file);
    assert_eq!(fetched.started_over, []);
    let asked = server.asked();
    let rests: Vec<_> = asked
        .iter()
        .filter(|line| line.starts_with("REST"))
        .collect();
    assert_eq!(rests, ["REST 100000", "REST 200000"]);
}

#[tokio::test]
async fn a_server_without_rest_is_asked_for_the_whole_file() {
    let old = Shelf {
        cuts: vec![100_000],
        knows_rest: false,
        ..shelf()
    };
    let server = FtpServer::start(old).await;
    let fetched = get(&server, "", "dir/file.tgz").await.unwrap();
    assert_eq!(fetched.bytes, shelf().file);
    assert_eq!(fetched.started_over, [StartsOver::NoRanges]);
}

#[tokio::test]
async fn another_file_is_begun_anew() {
    let broken = Shelf {
        cuts: vec![100_000],
        ..shelf()
    };
    let server = FtpServer::start(broken).await;
    let url = format!("ftp://127.0.0.1:{}/dir/file.tgz", server.port);
    let mut transfer = Transfer::new(client(limits()), source(&url));
    while !matches!(transfer.next().await.unwrap(), Event::Failed { .. }) {}
    let new = content(300_000, 2);
    {
        let mut shelf = server.shelf.lock().unwrap();
        (shelf.file, shelf.modified) = (new.clone(), "20261123101113");
    }
    let fetched = drive(transfer).await.unwrap();
    assert_eq!(fetched.bytes, new);
    assert_eq!(fetched.started_over, [StartsOver::Changed]);
}
