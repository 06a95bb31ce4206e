//! What clients and Pacemaker tell of takeovers: how long each address was silent, and what that time was made of.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use anyhow::Result;
use evenkeel_hosts::{Cluster, Gap, Host, Probe, tell};

const ASK_EVERY: Duration = Duration::from_millis(10);
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What Pacemaker did: service, host, operation → how long that took, newest last.
type Steps = BTreeMap<(String, String, String), u64>;

/// Clients that read through the addresses of all hosts, until it is dropped.
pub(crate) struct Watch {
    probes: Vec<(String, Probe)>,
    steps: Arc<Mutex<Steps>>,
    over: Arc<AtomicBool>,
    looker: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn begin(cluster: &Cluster) -> Result<Self> {
        let mut probes = Vec::new();
        for (index, host) in cluster.hosts().iter().enumerate() {
            let probe = cluster.probe(&cluster.address(index), ASK_EVERY)?;
            probes.push((host.name().to_owned(), probe));
        }
        let (steps, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let hosts = cluster.hosts().to_vec();
        let (told, ended) = (Arc::clone(&steps), Arc::clone(&over));
        let looker = spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                hosts.chunks(2).for_each(|pair| look(pair, &told));
                sleep(LOOK_EVERY);
            }
        });
        Ok(Self {
            probes,
            steps,
            over,
            looker: Some(looker),
        })
    }

    /// Says how long each address was silent whenever it moved, and gives the longest such silence of all. Every address must have
    /// moved to its partner and come back.
    pub(crate) fn tell(&self) -> Duration {
        let mut longest = Duration::ZERO;
        for (home, probe) in &self.probes {
            let gaps = probe.gaps();
            let moves: Vec<&Gap> = gaps.iter().filter(|gap| gap.before != gap.after).collect();
            let stayed = gaps.iter().filter(|gap| gap.before == gap.after);
            let stayed = stayed.map(|gap| gap.length).max().unwrap_or_default();
            tell(&format!(
                "{home}'s address: {} answers, {} moves, silent for {} ms at most while it stayed",
                probe.answers(),
                moves.len(),
                stayed.as_millis()
            ));
            for gap in &moves {
                tell(&self.parts(home, gap));
            }
            let longest_move = moves.iter().map(|gap| gap.length).max();
            longest = longest.max(longest_move.unwrap_or_default()).max(stayed);
            assert!(
                moves.len() >= 2,
                "{home}'s address moved {} times",
                moves.len()
            );
            assert_eq!(probe.newest().as_deref(), Some(home.as_str()));
        }
        longest
    }

    /// One silence, and what of it Pacemaker spent in which service.
    fn parts(&self, home: &str, gap: &Gap) -> String {
        let letter = home.rsplit('-').next().unwrap_or_default();
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = Vec::new();
        let mut sum = 0;
        for (host, operation) in [(&gap.before, "stop"), (&gap.after, "start")] {
            for service in [
                format!("{letter}_lif"),
                "record".to_owned(),
                format!("{letter}_root_disk"),
            ] {
                let key = (service.clone(), host.clone(), operation.to_owned());
                if let Some(took) = steps
                    .get(&key)
                    .filter(|_| service != "record" || letter == "a")
                {
                    sum += took;
                    parts.push(format!("{operation} {service} {took} ms"));
                }
            }
        }
        let total = gap.length.as_millis() as u64;
        format!(
            "{} -> {}: silent for {total} ms: {}, decisions, messages and ARP {} ms",
            gap.before,
            gap.after,
            parts.join(", "),
            total.saturating_sub(sum)
        )
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(looker) = self.looker.take() {
            let _panicked = looker.join();
        }
    }
}

/// One look into the history that Pacemaker keeps, by whichever host of a pair answers.
fn look(pair: &[Host], told: &Mutex<Steps>) {
    let status = |host: &Host| {
        let words = ["--query", "--scope", "status"];
        host.output("cibadmin", words).ok()
    };
    let Some(text) = pair.iter().find_map(status) else {
        return;
    };
    let Ok(document) = roxmltree::Document::parse(&text) else {
        return;
    };
    let mut steps = told.lock().unwrap_or_else(PoisonError::into_inner);
    for op in document.descendants() {
        if !op.has_tag_name("lrm_rsc_op") {
            continue;
        }
        let said = |name: &str| op.attribute(name).map(str::to_owned);
        let service = op.parent_element().and_then(|it| it.attribute("id"));
        let known = (
            service,
            said("on_node"),
            said("operation"),
            said("exec-time"),
        );
        let (Some(service), Some(host), Some(operation), Some(took)) = known else {
            continue;
        };
        if let Ok(took) = took.parse() {
            steps.insert((service.to_owned(), host, operation), took);
        }
    }
}
