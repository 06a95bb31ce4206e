//! What must hold for any body of an upload, in any pieces: an answer, a refusal that names its cause, and
//! of a well-formed part every byte and no other. The fuzz target feeds this, and so does a test of the front
//! end, with everything that fuzzing has kept.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use crate::support::{Client, END, part};

/// The first byte says how the body is cut, and whether the rest is a part's content or the whole body.
pub(crate) async fn multipart(client: &Client, bytes: &[u8]) {
    let Some((mode, rest)) = bytes.split_first() else {
        return;
    };
    let piece_bytes = usize::from(mode >> 1).max(1);
    let is_content = mode & 1 == 1;
    let body = match is_content {
        true => [&part("file", rest)[..], END].concat(),
        false => rest.to_vec(),
    };
    let pieces: Vec<_> = body
        .chunks(piece_bytes)
        .map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)))
        .collect();
    client.fake.edit(|state| state.uploaded = 0);
    // The fake lets only so many uploads in.
    client.fake.gate.add_permits(1);
    let reply = client
        .upload("", Body::from_stream(stream::iter(pieces)))
        .await;
    if !reply.status.is_success() {
        let (status, code, _) = reply.error();
        // The API calls a body that cannot be read an error of the server's.
        assert!(
            status < 500 || code == "10551803",
            "{status}: {}",
            reply.text
        );
    }
    // The fake takes some words for a bad package; and what looks like a boundary is one.
    let holds = |word: &[u8]| rest.windows(word.len()).any(|w| w == word);
    if is_content
        && ![&b"bad"[..], b"full", b"--XX"]
            .iter()
            .any(|word| holds(word))
    {
        assert!(reply.status.is_success(), "{}", reply.text);
        assert_eq!(client.fake.edit(|state| state.uploaded), rest.len());
    }
    client.fake.edit(|state| {
        state.jobs.clear();
        state.packages.clear();
    });
}
