//! A web server with one file, which sends as much of it as it is told to.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// `Basic` of `me:s3cret-of-the-server`.
const LOGIN: &str = "Basic bWU6czNjcmV0LW9mLXRoZS1zZXJ2ZXI=";

pub(crate) struct Web {
    pub(crate) port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

struct State {
    file: Vec<u8>,
    /// Bytes of the file up to which it is sent; the rest has to wait.
    until: usize,
    /// The first byte of every answer.
    begun: Vec<usize>,
    served: usize,
    needs_login: bool,
}

impl Web {
    pub(crate) fn serve(file: Vec<u8>, needs_login: bool) -> Self {
        Self::serve_by(TcpListener::bind("127.0.0.1:0").unwrap(), file, needs_login)
    }

    pub(crate) fn serve_by(listener: TcpListener, file: Vec<u8>, needs_login: bool) -> Self {
        let port = listener.local_addr().unwrap().port();
        let state = State {
            until: file.len(),
            file,
            begun: Vec::new(),
            served: 0,
            needs_login,
        };
        let state = Arc::new((Mutex::new(state), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                // Whoever hangs up has its reasons.
                thread::spawn(move || drop(answer(stream, &shared)));
            }
        });
        Self { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/images/new.tgz", self.port)
    }

    /// Sends no byte behind this one until told otherwise.
    pub(crate) fn hold_at(&self, byte: usize) {
        self.state.0.lock().unwrap().until = byte;
        self.state.1.notify_all();
    }

    pub(crate) fn served(&self) -> usize {
        self.state.0.lock().unwrap().served
    }

    pub(crate) fn begun(&self) -> Vec<usize> {
        self.state.0.lock().unwrap().begun.clone()
    }
}

fn answer(mut stream: TcpStream, shared: &(Mutex<State>, Condvar)) -> std::io::Result<()> {
    let mut from = None;
    let mut login = String::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        if name.eq_ignore_ascii_case("range") {
            let first = value.strip_prefix("bytes=").unwrap().strip_suffix('-');
            from = Some(first.unwrap().parse::<usize>().unwrap());
        }
        if name.eq_ignore_ascii_case("authorization") {
            login = value.to_owned();
        }
    }
    let mut state = shared.0.lock().unwrap();
    if state.needs_login && login != LOGIN {
        let head = "HTTP/1.1 401 Who are you\r\nContent-Length: 0\r\n\r\n";
        return stream.write_all(head.as_bytes());
    }
    let total = state.file.len();
    let mut at = from.unwrap_or(0);
    state.begun.push(at);
    let mine = state.begun.len();
    let mut head = match from {
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
        Some(first) => format!(
            "HTTP/1.1 206 Rest\r\nContent-Range: bytes {first}-{}/{total}\r\n",
            total - 1
        ),
    };
    head += &format!("ETag: \"new\"\r\nContent-Length: {}\r\n\r\n", total - at);
    stream.write_all(head.as_bytes())?;
    while at < total {
        state = shared
            .1
            .wait_while(state, |state| state.until <= at)
            .unwrap();
        // Whoever asked for this has asked anew: what is sent to a dead client serves nobody.
        if state.begun.len() > mine {
            return Ok(());
        }
        let end = state.until.min(at + (64 << 10)).min(total);
        let piece = state.file[at..end].to_vec();
        drop(state);
        stream.write_all(&piece)?;
        at = end;
        state = shared.0.lock().unwrap();
        state.served += piece.len();
    }
    Ok(())
}
