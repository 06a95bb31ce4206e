//! Rules that are broken on purpose: seeds must catch every one of them, or the simulation proves nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use evenkeel_model::{PauseAfter, Sabotage};
use evenkeel_platform::sim::Fault;
use evenkeel_record::MemoryFaults;
use evenkeel_simulation::storm::{Act, Gust, Script, When, draw, play};

/// Seeds within which each must be caught.
const WITHIN: u64 = 600;

/// Seeds that are known to catch one.
const KNOWN: [u64; 4] = [1, 11, 214, 274];

/// What other guards keep from doing harm, so that no story shows it. The newer coordinator sends the orders of the one
/// before it itself, with the same key, and a node answers a repeated order without accepting it. The planner takes a
/// node that its partner took over unasked for foreign before it asks whether the pair is fit, and the node that is to
/// take over looks at the pair once more, whatever it was ordered.
const HARMLESS_ALONE: [Sabotage; 4] = [
    Sabotage::StaleOrder,
    Sabotage::StaleAct,
    Sabotage::NewTransition,
    Sabotage::PartnerAway,
];

/// Stories in which what seldom matters matters. What is on its way has its time before all is healed.
fn stories() -> Vec<Script> {
    let mut calm = draw(0);
    (calm.nodes, calm.record, calm.early) = (2, MemoryFaults::default(), 0);
    (calm.pause_after, calm.only, calm.first) = (PauseAfter::None, Vec::new(), None);
    let into = |task, ms, act| Gust {
        when: When::Into { task, ms },
        act,
    };
    let end = Gust {
        when: When::After { ms: 20_000 },
        act: Act::Resume,
    };
    let of = |gusts: Vec<Gust>| Script {
        gusts,
        ..calm.clone()
    };
    let (by, ms) = (4_000, 60_000);
    // A slow machine amid which the partner's daemon restarts.
    let restarted = [0, 1].map(|node| {
        let slow = |node| into("do-activate-job", 0, Act::SlowMachine { node, by, ms });
        let kill = into("do-failover-job", 100, Act::Kill { node });
        of(vec![slow(1 - node), kill, end])
    });
    // A slow consent amid which takeover is switched off: when the order goes out depends on the round.
    let slow = [100, 800, 1_500, 2_500, 3_500, 5_000, 6_500, 8_000].map(|late| {
        let (node, fault) = (0, Fault::DisableHa);
        let delay = Act::Delay {
            node,
            by: 1_500,
            ms,
        };
        let off = Act::Fault {
            node,
            fault,
            ms: 9_000,
        };
        let gusts = vec![
            into("do-activate-job", 0, delay),
            into("do-failover-job", late, off),
            end,
        ];
        of(gusts)
    });
    // An append that arrives when its sender is gone and another coordinator, to whom all is slow, has said nothing yet.
    let turns = (0..2).flat_map(|node| [800, 1_500, 2_500].map(|killed| (node, killed)));
    let turns = turns.flat_map(|turn| (6..20).map(move |halves| (turn, halves * 500)));
    let late = turns.map(|((node, killed), by)| {
        let late = Act::LateAppends { node, by, ms };
        let slow = Act::Delay {
            node: 1 - node,
            by: 1_500,
            ms,
        };
        let kill = into("do-activate-job", killed, Act::Kill { node });
        let first = into("do-activate-job", 0, late);
        of(vec![
            first,
            kill,
            into("do-activate-job", killed, slow),
            end,
        ])
    });
    let all = restarted.into_iter().chain(slow);
    all.chain(late).collect()
}

/// The first story that something is wrong with, and what.
fn caught(broken: Sabotage) -> Option<String> {
    let known = KNOWN.into_iter().map(draw);
    // Many nodes are slow, and show nothing that few do not.
    let seeds = (1..=WITHIN).map(draw).filter(|script| script.nodes <= 4);
    for script in known.chain(stories()).chain(seeds) {
        Sabotage::set(&[broken]);
        let played = play(&script);
        Sabotage::set(&[]);
        let Some(wrong) = played.wrong else { continue };
        // A story that goes wrong anyway catches nothing.
        if play(&script).wrong.is_none() {
            let first = wrong.lines().next().unwrap_or_default();
            let first: String = first.chars().take(160).collect();
            return Some(format!("seed {}: {first}", script.seed));
        }
    }
    None
}

#[test]
fn what_is_broken_on_purpose_is_caught() {
    let harms = |one: &&Sabotage| !HARMLESS_ALONE.contains(one);
    let all: Vec<Sabotage> = Sabotage::ALL.iter().filter(harms).copied().collect();
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    let work = || {
        while let Some(broken) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            match caught(*broken) {
                Some(how) => println!("{broken:?}: {how}"),
                None => missed.lock().expect("nobody panics").push(*broken),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, |n| n.get());
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let missed = missed.into_inner().expect("nobody panics");
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
