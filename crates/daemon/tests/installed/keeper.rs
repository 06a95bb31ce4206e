//! Simulated hardware, kept by this test, in place of the container's own: for what needs a partner.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use evenkeel_model::*;
use evenkeel_platform::sim::{Hardware, HardwareSettings, Machine, Request, Response};

/// Where the hardware's socket is, in the container.
const SOCKET: &str = "/var/lib/hardware/socket";

/// A pair: `n1` in the container, and its partner `n2`, which is hardware alone.
pub(crate) struct Keeper {
    pub(crate) machine: Arc<Machine>,
    _runtime: tokio::runtime::Runtime,
}

impl Keeper {
    /// Serves it at a socket in the container's tree.
    pub(crate) fn start(root: &Path) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let machine = runtime.block_on(async { hardware(&topology()) });
        let effects = Arc::clone(&machine);
        runtime.spawn(async move {
            loop {
                effects.next_effects().await;
            }
        });
        let socket = root.join(&SOCKET[1..]);
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let listener = UnixListener::bind(socket).unwrap();
        let (served, handle) = (Arc::clone(&machine), runtime.handle().clone());
        std::thread::spawn(move || serve(&listener, &served, &handle));
        Self {
            machine,
            _runtime: runtime,
        }
    }

    /// An admin has `n1` taken over.
    pub(crate) fn take_over(&self) {
        let taken = self
            .machine
            .with(|hardware, now| hardware.take_over_by_hand(&name("n1"), now));
        taken.unwrap().unwrap().unwrap();
    }

    /// Whether an admin could have everything given back to it.
    pub(crate) fn give_back(&self) -> bool {
        let given = self
            .machine
            .with(|hardware, now| hardware.give_back_by_hand(&name("n1"), now));
        matches!(given, Ok(Ok(Ok(()))))
    }

    /// Whether it waits for giveback.
    pub(crate) fn is_taken_over(&self) -> bool {
        let ha = self
            .machine
            .with(|hardware, _| hardware.ha(&name("n1")))
            .unwrap();
        ha == Some(MemberHa::WaitingForGiveback)
    }
}

fn serve(listener: &UnixListener, machine: &Machine, handle: &tokio::runtime::Handle) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut line = String::new();
        if BufReader::new(&stream).read_line(&mut line).is_err() {
            continue;
        }
        let _entered = handle.enter();
        let response = match serde_json::from_str(&line) {
            Ok(Request::Hello) => Response::Hello {
                node: name("n1"),
                slots: "/slots".into(),
            },
            Ok(Request::Call { command }) => match machine.call(&name("n1"), None, &command) {
                Ok(reply) => Response::Reply { reply },
                Err(error) => Response::Failed { error },
            },
            // Who asked was killed amid it.
            Err(_) => continue,
        };
        let mut answer = serde_json::to_vec(&response).unwrap();
        answer.push(b'\n');
        let _ = stream.write_all(&answer);
    }
}

fn name(node: &str) -> NodeName {
    node.parse().unwrap()
}

fn hardware(topology: &Topology) -> Arc<Machine> {
    let settings = HardwareSettings {
        minute_ms: 1,
        ..HardwareSettings::default()
    };
    let mut hardware = Hardware::new(topology, settings);
    let image = SlotImage {
        digest: Digest([7; 32]),
        version: "1.0".parse().unwrap(),
    };
    for node in topology.names() {
        let image = Some(image.clone());
        hardware.set_image(node, Slot::A, image).unwrap();
    }
    hardware.cold_start(0);
    Machine::new(hardware)
}

fn topology() -> Topology {
    let node = |own: &str, partner: &str, id: &str, port: u16| NodeConfig {
        id: NodeId(id.parse().unwrap()),
        name: name(own),
        partner: Some(name(partner)),
        interconnect: format!("127.0.0.1:{port}"),
        rest: format!("127.0.0.1:{}", port + 1),
        variant: None,
        features: Vec::new(),
        site: None,
        platform: "lab-x86_64".parse().unwrap(),
        lifs: Vec::new(),
    };
    let nodes = vec![
        node("n1", "n2", "6a1f1d2e-0f3b-4d57-9c31-0d5a1c2b3e4f", 4430),
        node("n2", "n1", "7a1f1d2e-0f3b-4d57-9c31-0d5a1c2b3e4f", 5430),
    ];
    let id = ClusterId("0b8d1f0e-5a53-4a58-8c4c-0a1b2c3d4e5f".parse().unwrap());
    Topology::new(id, "one".to_owned(), nodes).unwrap()
}

/// Has the node see this hardware instead of its machine. What its configuration said before is given back.
pub(crate) fn configure(root: &Path) -> String {
    let file = root.join("etc/evenkeel/evenkeeld.toml");
    let own = fs::read_to_string(&file).unwrap();
    let (before, _) = own.split_once("[platform]").unwrap();
    let simulated = format!("{before}[platform]\nbackend = \"sim\"\nsocket = \"{SOCKET}\"\n");
    fs::write(file, simulated).unwrap();
    own
}
