//! A way to one etcd server that answers some calls itself: as other releases of etcd do, or late.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, Setup, free_host};

/// What it does about a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Does {
    /// Answers with this code of gRPC; etcd does not see the call.
    Refuses(u32),
    /// Lets etcd do it, and answers with this code of gRPC then.
    RefusesWhatIsDone(u32),
    /// Lets etcd do it after this time.
    Waits(Duration),
}

/// Of calls whose path begins so, those whose body has this in it.
type Rule = (&'static str, &'static str, Does);

pub(crate) struct Front {
    pub(crate) url: String,
    rules: Arc<Mutex<Vec<Rule>>>,
    target: Arc<Mutex<Option<SocketAddr>>>,
    task: JoinHandle<()>,
}

impl Front {
    /// One member, which says to everybody that it is to be asked here.
    pub(crate) async fn of_one() -> (Self, Cluster) {
        let front = Self::listen().await;
        let cluster = Cluster::start(Setup {
            members: 1,
            is_secured: false,
            arguments: vec![format!("--advertise-client-urls={}", front.url)],
        });
        let target = cluster.url(0);
        let target = target.strip_prefix("http://").unwrap().parse().unwrap();
        *front.target.lock().unwrap() = Some(target);
        (front, cluster)
    }

    pub(crate) fn set(&self, rules: &[Rule]) {
        *self.rules.lock().unwrap() = rules.to_vec();
    }

    async fn listen() -> Self {
        let listener = TcpListener::bind((free_host(), 2379)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (rules, target) = (Arc::<Mutex<Vec<Rule>>>::default(), Arc::default());
        let (of_all, to) = (Arc::clone(&rules), Arc::<Mutex<_>>::clone(&target));
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let target: Option<SocketAddr> = *to.lock().unwrap();
                tokio::spawn(stand_between(client, target.unwrap(), Arc::clone(&of_all)));
            }
        });
        Self {
            url,
            rules,
            target,
            task,
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What etcd answers on one connection, and who gets it.
struct Answers {
    client: tokio::sync::Mutex<OwnedWriteHalf>,
    are_swallowed: Mutex<bool>,
    swallowed: Notify,
}

async fn stand_between(client: TcpStream, target: SocketAddr, rules: Arc<Mutex<Vec<Rule>>>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let answers = Arc::new(Answers {
        client: tokio::sync::Mutex::new(to_client),
        are_swallowed: Mutex::new(false),
        swallowed: Notify::new(),
    });
    let answering = tokio::spawn(answer(from_server, Arc::clone(&answers)));
    while let Some(request) = request(&mut from_client).await {
        let text = String::from_utf8_lossy(&request);
        let is_meant = |(path, part, _): &&Rule| {
            text.starts_with(&format!("POST /v3/{path}")) && text.contains(part)
        };
        let rule = rules.lock().unwrap().iter().find(is_meant).copied();
        match rule.map(|(_, _, does)| does) {
            Some(Does::Refuses(code)) => refuse(&answers, code).await,
            Some(Does::RefusesWhatIsDone(code)) => {
                *answers.are_swallowed.lock().unwrap() = true;
                to_server.write_all(&request).await.unwrap();
                answers.swallowed.notified().await;
                *answers.are_swallowed.lock().unwrap() = false;
                refuse(&answers, code).await;
            }
            Some(Does::Waits(time)) => {
                tokio::time::sleep(time).await;
                to_server.write_all(&request).await.unwrap();
            }
            None => to_server.write_all(&request).await.unwrap(),
        }
    }
    answering.abort();
}

/// As the gateway of etcd 3.6 does.
async fn refuse(answers: &Answers, code: u32) {
    let body = format!(r#"{{"code":{code},"message":"etcdserver: refused","details":[]}}"#);
    let length = body.len();
    let answer = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {length}\r\n\r\n{body}");
    let mut client = answers.client.lock().await;
    let _gone = client.write_all(answer.as_bytes()).await;
}

async fn answer(mut server: OwnedReadHalf, answers: Arc<Answers>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = server.read(&mut buffer).await {
        if *answers.are_swallowed.lock().unwrap() {
            answers.swallowed.notify_one();
            continue;
        }
        let mut client = answers.client.lock().await;
        if client.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _gone = answers.client.lock().await.shutdown().await;
}

/// The next whole request; none when the connection is over. There is one at a time.
async fn request(client: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let (mut request, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let read = client.read(&mut buffer).await.ok().filter(|it| *it > 0)?;
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if body.len() >= length {
            return Some(request);
        }
    }
}
