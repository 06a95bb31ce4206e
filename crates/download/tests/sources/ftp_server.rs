//! As much of an FTP server as a download meets, with faults.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Noted among the commands when a file has been sent whose end is not confirmed yet.
pub(crate) const SENT: &str = "(sent)";

/// What the server has, and what is wrong with it.
#[derive(Clone, Default)]
pub(crate) struct Shelf {
    pub(crate) file: Vec<u8>,
    /// The answer to `MDTM`.
    pub(crate) modified: &'static str,
    pub(crate) password: Option<&'static str>,
    pub(crate) knows_rest: bool,
    /// Answers `SIZE` and `MDTM` as if there were no file.
    pub(crate) is_secretive: bool,
    /// Does not confirm the end of the file before this is closed.
    pub(crate) holds_back: Option<Arc<tokio::sync::Semaphore>>,
    /// After how many bytes each transfer breaks off.
    pub(crate) cuts: Vec<usize>,
}

pub(crate) struct FtpServer {
    pub(crate) port: u16,
    pub(crate) shelf: Arc<Mutex<Shelf>>,
    /// Every command.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for FtpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FtpServer {
    pub(crate) async fn start(shelf: Shelf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shelf = Arc::new(Mutex::new(shelf));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let session = (Arc::clone(&shelf), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Whoever hangs up in a middle is the next one's business.
                drop(talk(stream, &session.0, &session.1).await);
            }
        });
        Self {
            port,
            shelf,
            asked,
            task,
        }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn talk(
    stream: TcpStream,
    shelf: &Mutex<Shelf>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 ready\r\n").await?;
    let (mut offset, mut data) = (0, None);
    while let Some(line) = lines.next_line().await? {
        asked.lock().unwrap().push(line.clone());
        let (command, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let now = shelf.lock().unwrap().clone();
        let is_there = argument == "dir/file.tgz";
        let reply = match command {
            "USER" => "331 Password required".to_owned(),
            "PASS" if now.password.is_none_or(|password| password == argument) => {
                "230 in".to_owned()
            }
            "PASS" => format!("530 \"{argument}\" is wrong"),
            "TYPE" => "200 ok".to_owned(),
            "SIZE" | "MDTM" if now.is_secretive => "550 not told".to_owned(),
            "SIZE" if is_there => format!("213 {}", now.file.len()),
            "MDTM" if is_there => format!("213 {}", now.modified),
            "PASV" => {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                let port = listener.local_addr()?.port();
                data = Some(listener);
                // Another host's address, which must not be believed.
                format!(
                    "227 Entering Passive Mode (192,0,2,1,{},{})",
                    port >> 8,
                    port & 255
                )
            }
            "REST" if now.knows_rest => {
                offset = argument.parse().unwrap();
                "350 from there".to_owned()
            }
            "RETR" if is_there => {
                write.write_all(b"150 coming\r\n").await?;
                let (mut stream, _) = data.take().unwrap().accept().await?;
                let cut = cut(shelf);
                let end = cut.map_or(now.file.len(), |cut| (offset + cut).min(now.file.len()));
                stream.write_all(&now.file[offset..end]).await?;
                stream.shutdown().await?;
                offset = 0;
                if let Some(held) = &now.holds_back {
                    asked.lock().unwrap().push(SENT.to_owned());
                    // Closed: an error, and the way on.
                    let _ = held.acquire().await;
                }
                match cut {
                    Some(_) => "426 broken off".to_owned(),
                    None => "226 done".to_owned(),
                }
            }
            "RETR" | "SIZE" | "MDTM" => "550 no such file".to_owned(),
            _ => "502 what?".to_owned(),
        };
        write.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

fn cut(shelf: &Mutex<Shelf>) -> Option<usize> {
    let mut shelf = shelf.lock().unwrap();
    match shelf.cuts.is_empty() {
        true => None,
        false => Some(shelf.cuts.remove(0)),
    }
}
