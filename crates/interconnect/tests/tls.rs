//! Mutual TLS between nodes: who is heard, what is carried, what a broken link means.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evenkeel_interconnect::{
    AgentClient, AgentRequest, AgentResponse, AgentService, CallError, ClientParts, FetchError,
    Member, Members, PackageBody, PackageClient, PackageSource, RecordClient, RecordService,
    RecordServing, ServerParts, TlsClient, TlsIdentity, Wanted, serve,
};
use evenkeel_model::{BootId, Digest, Generation, Link, NodeName, PackagesStatus};
use evenkeel_seam::watch;
use futures_util::{StreamExt, stream};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

fn name(s: &str) -> NodeName {
    NodeName::new(s).unwrap()
}

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// An identity of that name by this CA, believing `roots`.
    fn identity(&self, node: &str, roots: &Ca) -> TlsIdentity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![node.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let (root, certificate) = (roots.0.pem(), certificate.pem());
        let key = key.serialize_pem();
        TlsIdentity::from_pem(root.as_bytes(), certificate.as_bytes(), key.as_bytes()).unwrap()
    }
}

/// An agent that remembers who asked, and can be made to think for ever.
#[derive(Default)]
struct Echo {
    asked: Mutex<Vec<NodeName>>,
    thinks: Mutex<Option<Arc<Notify>>>,
}

#[async_trait]
impl AgentService for Echo {
    async fn answer(&self, from: &NodeName, request: AgentRequest) -> AgentResponse {
        self.asked.lock().unwrap().push(from.clone());
        let thinks = self.thinks.lock().unwrap().clone();
        if let Some(asked) = thinks {
            asked.notify_one();
            std::future::pending::<()>().await;
        }
        match request {
            AgentRequest::Ping => AgentResponse::Pong {
                node: name("b"),
                boot_id: BootId(uuid::Uuid::nil()),
                protocol: 1,
            },
            _ => AgentResponse::Refused {
                reason: "no".to_owned(),
                stale: Some(Generation(3)),
            },
        }
    }
}

const PACKAGE: Digest = Digest([7; 32]);
const ARCHIVE: Digest = Digest([8; 32]);

fn wanted(package: Digest, offset: u64) -> Wanted {
    Wanted {
        package,
        archive: None,
        offset,
    }
}

/// A package of numbered bytes, in small chunks; breaks off where it is told to.
struct Numbers {
    total: u64,
    breaks_at: AtomicUsize,
    suspected_by: Mutex<Vec<NodeName>>,
}

#[async_trait]
impl PackageSource for Numbers {
    async fn open(&self, wanted: Wanted) -> io::Result<Option<PackageBody>> {
        let offset = wanted.offset;
        if wanted.package != PACKAGE || wanted.archive.is_some_and(|archive| archive != ARCHIVE) {
            return Ok(None);
        }
        if offset > self.total {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "beyond the end",
            ));
        }
        let breaks_at = self.breaks_at.load(Ordering::SeqCst) as u64;
        let chunks = (offset..self.total).step_by(1000).map(move |start| {
            if start >= breaks_at {
                return Err(io::Error::other("the disk failed"));
            }
            let end = start + 1000;
            Ok(Bytes::from(
                (start..end).map(|n| n as u8).collect::<Vec<_>>(),
            ))
        });
        let total = self.total;
        let bytes = stream::iter(chunks.collect::<Vec<_>>());
        Ok(Some(PackageBody {
            total,
            bytes: Box::pin(bytes),
        }))
    }

    async fn chunks(&self, package: Digest, _: Option<Digest>) -> io::Result<Option<Bytes>> {
        Ok((package == PACKAGE).then(|| Bytes::from(vec![9; 64])))
    }

    async fn status(&self) -> PackagesStatus {
        PackagesStatus {
            held: vec![PACKAGE],
            room: Some(5),
            ..PackagesStatus::default()
        }
    }

    async fn suspect(&self, package: Digest, by: &NodeName) {
        assert_eq!(package, PACKAGE);
        self.suspected_by.lock().unwrap().push(by.clone());
    }
}

/// Answers requests for the record with their length and their beginning, and can be made to think until it is let go on.
struct Keeper {
    asked: Mutex<Vec<NodeName>>,
    thinks: AtomicBool,
    go_on: Semaphore,
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            asked: Mutex::default(),
            thinks: AtomicBool::new(false),
            go_on: Semaphore::new(0),
        }
    }
}

#[async_trait]
impl RecordService for Keeper {
    async fn answer(&self, from: &NodeName, request: Bytes) -> Vec<u8> {
        self.asked.lock().unwrap().push(from.clone());
        if self.thinks.load(Ordering::SeqCst) {
            self.go_on.acquire().await.unwrap().forget();
        }
        let mut answer = format!("{}:", request.len()).into_bytes();
        answer.extend_from_slice(&request[..request.len().min(5)]);
        answer
    }
}

struct Served {
    ca: Ca,
    identity: TlsIdentity,
    echo: Arc<Echo>,
    numbers: Arc<Numbers>,
    members: watch::Sender<Members>,
    link: watch::Sender<Link>,
    address: String,
    server: tokio::task::JoinHandle<()>,
}

/// Node `b` on a loopback port, in a cluster of `a` and `b`.
async fn served() -> Served {
    served_with(None, 50_000).await
}

/// The same, with the record of the pair.
async fn served_with_record() -> (Served, Arc<Keeper>) {
    let keeper = Arc::new(Keeper::default());
    let record = RecordServing {
        service: Arc::clone(&keeper) as _,
        partner: name("a"),
    };
    (served_of(None, 50_000, Some(record)).await, keeper)
}

async fn served_with(package_bytes_per_second: Option<NonZeroU64>, total: u64) -> Served {
    served_of(package_bytes_per_second, total, None).await
}

async fn served_of(
    package_bytes_per_second: Option<NonZeroU64>,
    total: u64,
    record: Option<RecordServing>,
) -> Served {
    let ca = Ca::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let all = BTreeMap::from([
        (name("a"), address.clone().into()),
        (name("b"), address.clone().into()),
    ]);
    let members = watch::Sender::new(Arc::new(all));
    let (echo, link) = (
        Arc::new(Echo::default()),
        watch::Sender::new(Link::default()),
    );
    let numbers = Arc::new(Numbers {
        total,
        breaks_at: AtomicUsize::new(usize::MAX),
        suspected_by: Mutex::default(),
    });
    let identity = ca.identity("b", &ca);
    let parts = ServerParts {
        listener,
        identity: identity.clone(),
        members: members.subscribe(),
        agent: Arc::clone(&echo) as _,
        packages: Arc::clone(&numbers) as _,
        record,
        package_bytes_per_second,
        link: link.subscribe(),
        joins: None,
    };
    let server = tokio::spawn(serve(parts, std::future::pending()));
    Served {
        ca,
        identity,
        echo,
        numbers,
        members,
        link,
        address,
        server,
    }
}

impl Served {
    fn client_with(&self, identity: TlsIdentity, link: &watch::Sender<Link>) -> Arc<TlsClient> {
        TlsClient::new(ClientParts {
            node: name("a"),
            identity,
            members: self.members.subscribe(),
            link: link.subscribe(),
        })
    }

    fn client(&self) -> Arc<TlsClient> {
        self.client_with(
            self.ca.identity("a", &self.ca),
            &watch::Sender::new(Link::default()),
        )
    }

    fn asked(&self) -> Vec<NodeName> {
        self.echo.asked.lock().unwrap().clone()
    }
}

async fn ping(client: &TlsClient) -> Result<AgentResponse, CallError> {
    client.call(&name("b"), AgentRequest::Ping).await
}

#[tokio::test]
async fn a_member_is_heard_by_the_name_in_its_certificate() {
    let served = served().await;
    let client = served.client();
    for _ in 0..3 {
        let answer = ping(&client).await.unwrap();
        assert!(matches!(answer, AgentResponse::Pong { .. }), "{answer:?}");
    }
    assert_eq!(served.asked(), vec![name("a"); 3]);
    let install = AgentRequest::Install {
        generation: Generation(1),
        coordinator: name("a"),
    };
    let answer = client.call(&name("b"), install).await.unwrap();
    assert!(matches!(
        answer,
        AgentResponse::Refused {
            stale: Some(Generation(3)),
            ..
        }
    ));
}

#[tokio::test]
async fn strangers_are_not_heard() {
    let served = served().await;
    let other = Ca::new();
    let link = watch::Sender::new(Link::default());
    let strangers = [
        // Of another CA, though it believes ours.
        other.identity("a", &served.ca),
        // Of our CA, but no member.
        served.ca.identity("c", &served.ca),
    ];
    for identity in strangers {
        let refused = ping(&served.client_with(identity, &link))
            .await
            .unwrap_err();
        assert!(
            matches!(
                refused,
                CallError::Unreachable { .. } | CallError::NoAnswer { .. }
            ),
            "{refused}"
        );
    }
    // A client that believes another CA does not speak with the server.
    let unbelieving = served.ca.identity("a", &other);
    let refused = ping(&served.client_with(unbelieving, &link))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, CallError::Unreachable { .. }),
        "{refused}"
    );
    assert_eq!(served.asked(), []);
}

#[tokio::test]
async fn a_server_of_another_name_is_not_spoken_with() {
    let served = served().await;
    let members = BTreeMap::from([(name("x"), served.address.clone().into())]);
    served.members.send_replace(Arc::new(members));
    let refused = served
        .client()
        .call(&name("x"), AgentRequest::Ping)
        .await
        .unwrap_err();
    assert!(
        matches!(refused, CallError::Unreachable { .. }),
        "{refused}"
    );
    assert_eq!(served.asked(), []);
}

#[tokio::test]
async fn who_leaves_the_cluster_is_not_heard_any_more_on_an_open_connection() {
    let served = served().await;
    let client = served.client();
    ping(&client).await.unwrap();
    let members = BTreeMap::from([(name("b"), served.address.clone().into())]);
    served.members.send_replace(Arc::new(members));
    let refused = ping(&client).await.unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("names no member of the cluster"),
        "{refused}"
    );
    assert_eq!(served.asked().len(), 1);
}

#[tokio::test]
async fn an_unknown_or_absent_node_is_unreachable() {
    let served = served().await;
    let client = served.client();
    let unknown = client
        .call(&name("z"), AgentRequest::Ping)
        .await
        .unwrap_err();
    assert!(
        matches!(unknown, CallError::Unreachable { .. }),
        "{unknown}"
    );
    served.server.abort();
    let _ = served.server.await;
    let gone = ping(&client).await.unwrap_err();
    assert!(matches!(gone, CallError::Unreachable { .. }), "{gone}");
    // Its own agent is not reached through the network, and does not run here.
    let own = client
        .call(&name("a"), AgentRequest::Ping)
        .await
        .unwrap_err();
    assert!(matches!(own, CallError::Unreachable { .. }), "{own}");
}

#[tokio::test]
async fn a_server_that_was_restarted_is_reached_over_a_new_connection() {
    let served = served().await;
    let client = served.client();
    ping(&client).await.unwrap();
    served.server.abort();
    let _ = served.server.await;
    let listener = TcpListener::bind(&served.address).await.unwrap();
    let parts = ServerParts {
        listener,
        identity: served.ca.identity("b", &served.ca),
        members: served.members.subscribe(),
        agent: Arc::clone(&served.echo) as _,
        packages: Arc::clone(&served.numbers) as _,
        record: None,
        package_bytes_per_second: None,
        link: served.link.subscribe(),
        joins: None,
    };
    let _server = tokio::spawn(serve(parts, std::future::pending()));
    ping(&client).await.unwrap();
}

#[tokio::test]
async fn a_cut_while_the_answer_is_awaited_leaves_the_effect_open() {
    let served = served().await;
    let link = watch::Sender::new(Link::default());
    let client = served.client_with(served.ca.identity("a", &served.ca), &link);
    let asked = Arc::new(Notify::new());
    *served.echo.thinks.lock().unwrap() = Some(Arc::clone(&asked));
    let cut = async {
        asked.notified().await;
        link.send_replace(Link {
            cut: true,
            delay_ms: 0,
        });
    };
    let (answer, ()) = tokio::join!(ping(&client), cut);
    let error = answer.unwrap_err();
    assert!(matches!(error, CallError::NoAnswer { .. }), "{error}");
    // While it is cut nothing is sent at all.
    let error = ping(&client).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert_eq!(served.asked().len(), 1);
    // The other side's cut: the server hears nobody.
    *served.echo.thinks.lock().unwrap() = None;
    link.send_replace(Link::default());
    served.link.send_replace(Link {
        cut: true,
        delay_ms: 0,
    });
    ping(&client).await.unwrap_err();
    served.link.send_replace(Link::default());
    ping(&client).await.unwrap();
}

#[tokio::test]
async fn a_link_that_is_slow_delays_and_nothing_else() {
    let served = served().await;
    served.link.send_replace(Link {
        cut: false,
        delay_ms: 60,
    });
    let before = tokio::time::Instant::now();
    ping(&served.client()).await.unwrap();
    assert!(before.elapsed() >= Duration::from_millis(60));
}

async fn collect(body: PackageBody) -> (Vec<u8>, Option<io::Error>) {
    let (mut bytes, mut all) = (body.bytes, Vec::new());
    while let Some(chunk) = bytes.next().await {
        match chunk {
            Ok(chunk) => all.extend_from_slice(&chunk),
            Err(error) => return (all, Some(error)),
        }
    }
    (all, None)
}

#[tokio::test]
async fn a_package_is_carried_and_goes_on_from_where_it_broke_off() {
    let served = served().await;
    let client = served.client();
    served.numbers.breaks_at.store(20_000, Ordering::SeqCst);
    let body = client.fetch(&name("b"), wanted(PACKAGE, 0)).await.unwrap();
    assert_eq!(body.total, 50_000);
    let (mut first, broken) = collect(body).await;
    assert!(broken.is_some());
    assert!(first.len() <= 20_000);

    served.numbers.breaks_at.store(usize::MAX, Ordering::SeqCst);
    let rest = client
        .fetch(&name("b"), wanted(PACKAGE, first.len() as u64))
        .await
        .unwrap();
    let (rest, broken) = collect(rest).await;
    assert!(broken.is_none(), "{broken:?}");
    first.extend_from_slice(&rest);
    let whole: Vec<u8> = (0..50_000_u32).map(|n| n as u8).collect();
    assert!(first == whole);
}

#[tokio::test]
async fn a_package_that_is_not_held_or_an_offset_beyond_the_end_is_said_to_be_so() {
    let served = served().await;
    let client = served.client();
    let missing = client
        .fetch(&name("b"), wanted(Digest([0; 32]), 0))
        .await
        .err()
        .unwrap();
    assert!(matches!(missing, FetchError::NotHeld { .. }), "{missing}");
    let beyond = client
        .fetch(&name("b"), wanted(PACKAGE, 50_001))
        .await
        .err()
        .unwrap();
    assert!(matches!(beyond, FetchError::Refused { .. }), "{beyond}");
    let at_end = client
        .fetch(&name("b"), wanted(PACKAGE, 50_000))
        .await
        .unwrap();
    assert_eq!(collect(at_end).await.0.len(), 0);
}

#[tokio::test]
async fn what_a_node_says_of_its_packages_is_carried() {
    let served = served().await;
    let (client, b) = (served.client(), name("b"));
    let status = client.status(&b).await.unwrap();
    assert_eq!((status.held, status.room), (vec![PACKAGE], Some(5)));
    let list = client.chunks(&b, PACKAGE, Some(ARCHIVE)).await.unwrap();
    assert_eq!(list, vec![9; 64]);
    let other = client.chunks(&b, ARCHIVE, None).await.unwrap_err();
    assert!(matches!(other, FetchError::NotHeld { .. }), "{other}");
    client.suspect(&b, PACKAGE).await.unwrap();
    assert_eq!(*served.numbers.suspected_by.lock().unwrap(), [name("a")]);
    let of = |archive| Wanted {
        package: PACKAGE,
        archive: Some(archive),
        offset: 10,
    };
    client.fetch(&b, of(ARCHIVE)).await.unwrap();
    let other = client.fetch(&b, of(PACKAGE)).await.err().unwrap();
    assert!(matches!(other, FetchError::NotHeld { .. }), "{other}");
}

#[tokio::test]
async fn transfers_have_their_own_bound_and_leave_the_agent_reachable() {
    // Slower than anybody waits for.
    let served = served_with(NonZeroU64::new(1), 1_000_000).await;
    let client = served.client();
    let mut bodies = Vec::new();
    let refused = loop {
        match client.fetch(&name("b"), wanted(PACKAGE, 0)).await {
            Ok(body) => bodies.push(body),
            Err(refused) => break refused,
        }
        assert!(bodies.len() < 100);
    };
    assert!(matches!(refused, FetchError::Busy { .. }), "{refused}");
    ping(&client).await.unwrap();
    client.status(&name("b")).await.unwrap();
    // Whoever hangs up makes room.
    bodies.clear();
    let again = async {
        while client.fetch(&name("b"), wanted(PACKAGE, 0)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), again)
        .await
        .unwrap();
}

#[tokio::test]
async fn packages_are_sent_no_faster_than_the_uplink_allows() {
    let served = served_with(NonZeroU64::new(1_000_000), 400_000).await;
    let (client, b) = (served.client(), name("b"));
    let before = tokio::time::Instant::now();
    let both = [0, 0].map(|offset| client.fetch(&b, wanted(PACKAGE, offset)));
    let bodies = futures_util::future::try_join_all(both).await.unwrap();
    let got = futures_util::future::join_all(bodies.into_iter().map(collect)).await;
    assert!(
        got.iter()
            .all(|(bytes, broken)| bytes.len() == 400_000 && broken.is_none())
    );
    let took = before.elapsed().as_secs_f64();
    assert!((0.6..3.0).contains(&took), "{took} s for 800 kB at 1 MB/s");
}

#[tokio::test]
async fn a_peer_that_never_shakes_hands_does_not_keep_others_out() {
    let served = served().await;
    let _mute = TcpStream::connect(&served.address).await.unwrap();
    ping(&served.client()).await.unwrap();
}

#[tokio::test]
async fn names_as_operators_give_them_stand_in_certificates() {
    let link = watch::Sender::new(Link::default());
    for unusual in ["cluster1-01", "node_2", "N3", "n4.rack-1", "x1"] {
        let served = served().await;
        let mut members = BTreeMap::clone(&served.members.borrow());
        members.insert(name(unusual), served.address.clone().into());
        served.members.send_replace(Arc::new(members));
        let client = served.client_with(served.ca.identity(unusual, &served.ca), &link);
        ping(&client).await.unwrap();
        assert_eq!(served.asked(), [name(unusual)]);
    }
}

#[tokio::test]
async fn a_renewed_identity_counts_for_new_connections_and_open_ones_live_on() {
    let served = served().await;
    let (client, late) = (served.client(), served.client());
    ping(&client).await.unwrap();
    // One that no new connection would believe: what still works is the connection that was open.
    let stranger = Ca::new();
    served.identity.replace(&stranger.identity("b", &stranger));
    ping(&client).await.unwrap();
    ping(&late).await.unwrap_err();
    let renewed = served.ca.identity("b", &served.ca);
    assert_ne!(served.identity.key(), renewed.key());
    served.identity.replace(&renewed);
    assert_eq!(served.identity.key(), renewed.key());
    ping(&late).await.unwrap();
    ping(&client).await.unwrap();
}

#[tokio::test]
async fn who_is_known_by_a_key_is_not_believed_with_another() {
    let served = served().await;
    let member = |key| Member {
        address: served.address.clone(),
        key,
    };
    let set = |a, b| {
        let members = BTreeMap::from([(name("a"), member(a)), (name("b"), member(b))]);
        served.members.send_replace(Arc::new(members));
    };
    let own = served.ca.identity("a", &served.ca);
    let link = watch::Sender::new(Link::default());
    let client = served.client_with(own.clone(), &link);
    set(Some(own.key()), Some(served.identity.key()));
    ping(&client).await.unwrap();
    // The CA signs for whoever has its key: a machine that was replaced makes itself a certificate in its old name.
    let forged = served.client_with(served.ca.identity("a", &served.ca), &link);
    let refused = ping(&forged).await.unwrap_err().to_string();
    assert!(
        refused.contains("not the machine that the cluster knows as a"),
        "{refused}"
    );
    set(Some(own.key()), Some(own.key()));
    let fresh = served.client_with(own, &link);
    let refused = ping(&fresh).await.unwrap_err();
    assert!(
        matches!(refused, CallError::Unreachable { .. }),
        "{refused}"
    );
    assert_eq!(served.asked().len(), 1);
}

#[tokio::test]
async fn nobody_joins_where_nobody_lets_in() {
    let served = served().await;
    let fingerprint = served.identity.pin();
    let asked = evenkeel_interconnect::ask_to_join(&served.address, fingerprint, |_| {
        unreachable!("nothing is said to one that does not listen")
    });
    let refused = asked.await.err().unwrap().to_string();
    assert!(refused.contains("hears nobody who joins"), "{refused}");
}

#[tokio::test]
async fn requests_for_the_record_are_carried_as_they_are() {
    let (served, keeper) = served_with_record().await;
    let client = served.client();
    let b = name("b");
    let small = client.record(&b, None, b"{\"x\":1}".to_vec()).await;
    assert_eq!(small.unwrap(), &b"7:{\"x\":"[..]);
    // A value of 16 MiB as base64.
    let long = vec![b'A'; 23 << 20];
    let answer = client.record(&b, None, long).await.unwrap();
    assert_eq!(answer, format!("{}:AAAAA", 23 << 20));
    let too_long = client.record(&b, None, vec![b'A'; 33 << 20]).await;
    assert!(too_long.is_err(), "{too_long:?}");
    assert_eq!(*keeper.asked.lock().unwrap(), vec![name("a"); 2]);
    // By the address of the configuration, whatever the topology says.
    let elsewhere = BTreeMap::from([
        (name("a"), Member::from("127.0.0.1:1".to_owned())),
        (name("b"), Member::from("127.0.0.1:1".to_owned())),
    ]);
    served.members.send_replace(Arc::new(elsewhere));
    let unreachable = client.record(&b, None, b"x".to_vec()).await.unwrap_err();
    assert!(
        matches!(unreachable, CallError::Unreachable { .. }),
        "{unreachable}"
    );
    let address = Some(served.address.as_str());
    assert_eq!(
        client.record(&b, address, b"x".to_vec()).await.unwrap(),
        &b"1:x"[..]
    );
    // Nobody is asked who has left the cluster, though the configuration still names it and its certificate is good.
    let left = BTreeMap::from([(name("a"), Member::from("127.0.0.1:1".to_owned()))]);
    served.members.send_replace(Arc::new(left));
    let refused = client.record(&b, address, b"x".to_vec()).await.unwrap_err();
    assert!(refused.to_string().contains("no known member"), "{refused}");
}

#[tokio::test]
async fn the_partner_is_heard_for_the_record_while_the_topology_is_not_known_and_nobody_else() {
    let (served, keeper) = served_with_record().await;
    served.members.send_replace(Members::default());
    let (client, b) = (served.client(), name("b"));
    let address = Some(served.address.as_str());
    let answer = client.record(&b, address, b"x".to_vec()).await.unwrap();
    assert_eq!(answer, &b"1:x"[..]);
    let link = watch::Sender::new(Link::default());
    let other = served.client_with(served.ca.identity("c", &served.ca), &link);
    let refused = other.record(&b, address, b"x".to_vec()).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    // Its agent does not hear it, then.
    let known = BTreeMap::from([(b.clone(), Member::from(served.address.clone()))]);
    let known = watch::Sender::new(Arc::new(known));
    let calls = TlsClient::new(ClientParts {
        node: name("a"),
        identity: served.ca.identity("a", &served.ca),
        members: known.subscribe(),
        link: link.subscribe(),
    });
    let refused = ping(&calls).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    // A topology without it: it has left the cluster.
    let without = BTreeMap::from([(b.clone(), Member::from(served.address.clone()))]);
    served.members.send_replace(Arc::new(without));
    let refused = client.record(&b, address, b"x".to_vec()).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");
    assert_eq!(*keeper.asked.lock().unwrap(), vec![name("a")]);
}

#[tokio::test]
async fn a_node_without_a_record_of_its_pair_says_so() {
    let served = served().await;
    let (client, b) = (served.client(), name("b"));
    let refused = client.record(&b, None, b"x".to_vec()).await.unwrap_err();
    assert!(
        matches!(refused, CallError::Unreachable { .. }),
        "it had no effect: {refused}"
    );
    assert!(
        refused
            .to_string()
            .contains("it serves no record of a pair"),
        "{refused}"
    );
}

#[tokio::test]
async fn no_more_requests_for_the_record_wait_than_a_node_has_room_for() {
    let (served, keeper) = served_with_record().await;
    keeper.thinks.store(true, Ordering::SeqCst);
    let b = name("b");
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (client, b) = (served.client(), b.clone());
        waiting.spawn(async move { client.record(&b, None, b"x".to_vec()).await });
    }
    while keeper.asked.lock().unwrap().len() < 32 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let refused = served
        .client()
        .record(&b, None, b"x".to_vec())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    keeper.go_on.add_permits(32);
    for answered in waiting.join_all().await {
        assert_eq!(answered.unwrap(), &b"1:x"[..]);
    }
    keeper.thinks.store(false, Ordering::SeqCst);
    let again = served.client().record(&b, None, b"x".to_vec()).await;
    assert!(again.is_ok(), "{again:?}");
}
