//! The lab's fault seam: a file says whether this node's links are cut or slow.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_model::Link;
use evenkeel_seam::LinkState;
use evenkeel_seam::watch;

/// How often the file is looked at: a fault takes effect within this time. A thread of its own does it, since for the
/// runtime's timers each look is several times the work.
const POLL: Duration = Duration::from_millis(100);

/// The state of this node's links, in the forms that its users take.
pub(crate) struct Links {
    pub(crate) peers: watch::Receiver<Link>,
    pub(crate) record: watch::Receiver<LinkState>,
}

/// Follows the file; without one the links never fail.
pub(crate) fn follow(file: Option<PathBuf>) -> std::io::Result<Links> {
    let mut stamp = file.as_deref().and_then(stamp_of);
    let first = match &file {
        Some(path) => read(path).unwrap_or_default(),
        None => Link::default(),
    };
    let (peers, record) = (watch::Sender::new(first), watch::Sender::new(state(first)));
    let links = Links {
        peers: peers.subscribe(),
        record: record.subscribe(),
    };
    let Some(path) = file else {
        // The senders live as long as somebody looks: a closed channel reads as trouble.
        tokio::spawn(async move {
            peers.closed().await;
            drop(record);
        });
        return Ok(links);
    };
    let looking = std::thread::Builder::new().name("link".to_owned());
    let looking = looking.spawn(move || {
        while !(peers.is_closed() && record.is_closed()) {
            std::thread::sleep(POLL);
            let newer = stamp_of(&path);
            if newer == stamp {
                continue;
            }
            stamp = newer;
            // A file that is being replaced, or gone, changes nothing.
            if let Some(link) = read(&path) {
                peers.send_if_modified(|old| std::mem::replace(old, link) != link);
                record.send_if_modified(|old| std::mem::replace(old, state(link)) != state(link));
            }
        }
    });
    looking?;
    Ok(links)
}

/// What tells one content of the file from another without reading it.
fn stamp_of(path: &Path) -> Option<[i128; 4]> {
    let known = std::fs::metadata(path).ok()?;
    let (inode, size) = (known.ino().into(), known.size().into());
    Some([inode, size, known.mtime().into(), known.mtime_nsec().into()])
}

fn read(path: &Path) -> Option<Link> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn state(link: Link) -> LinkState {
    match (link.cut, link.delay_ms) {
        (true, _) => LinkState::Cut,
        (false, 0) => LinkState::Up,
        (false, delay) => LinkState::Slow(Duration::from_millis(delay)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_of_the_file_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("link.json");
        let mut links = follow(Some(path.clone())).unwrap();
        assert_eq!(*links.record.borrow(), LinkState::Up);
        std::fs::write(&path, r#"{"delay_ms": 20}"#).unwrap();
        let slow = LinkState::Slow(Duration::from_millis(20));
        links.record.wait_for(|state| *state == slow).await.unwrap();
        std::fs::write(&path, r#"{"cut": true}"#).unwrap();
        links.peers.wait_for(|link| link.cut).await.unwrap();
    }
}
