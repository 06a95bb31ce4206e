//! Calls through the socket of this controller's daemon, which lets root in.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ureq::Body;
use ureq::http::Response;

/// Where the daemon has it unless `data` in evenkeeld.toml says otherwise.
pub(crate) const SOCKET: &str = "/var/lib/evenkeel/local.sock";

/// Time for one call: the daemon answers at once, or waits for the record, or for the node that lets this one in.
const CALL: Duration = Duration::from_secs(120);
/// Longest answer that is read into memory.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// One call over a connection of its own.
pub(crate) fn call(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> io::Result<Response<Body>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(CALL))?;
    stream.set_write_timeout(Some(CALL))?;
    let body = body.unwrap_or_default();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/hal+json\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).map_err(in_words)?;
    let mut answer = Vec::new();
    let read = stream.take(MAX_ANSWER).read_to_end(&mut answer);
    read.map_err(in_words)?;
    parse(&answer).ok_or_else(|| io::Error::other("the daemon's answer was cut"))
}

/// A socket whose time is over says that it would block.
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            let why = format!("the daemon was silent for {} s", CALL.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, why)
        }
        _ => error,
    }
}

/// An answer whose body is as long as it says: the daemon sends no other kind here.
fn parse(answer: &[u8]) -> Option<Response<Body>> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let body = &answer[end + 4..];
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    })?;
    let body = Body::builder().data(body.get(..length)?);
    Response::builder().status(status).body(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_a_cut_one_is_not() {
        let whole = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}";
        let mut read = parse(whole).unwrap();
        assert_eq!(read.status(), 403);
        assert_eq!(read.body_mut().read_to_string().unwrap(), "{}");
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_none(), "{length}");
        }
    }
}
