//! Nodes come and leave: whatever is asked in whatever order, what is left is a cluster, and a token lets one node in.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::BTreeSet;

use evenkeel_model::*;
use proptest::prelude::*;

fn at(seconds: u64) -> WallTime {
    WallTime::from_unix_seconds(1_800_000_000 + seconds)
}

fn name(n: u8) -> NodeName {
    format!("n{n}").parse().unwrap()
}

fn key(n: u8) -> Digest {
    Digest([n; 32])
}

fn node(n: u8, id: u128, partner: Option<u8>) -> NodeConfig {
    NodeConfig {
        id: NodeId(uuid::Uuid::from_u128(id)),
        name: name(n),
        partner: partner.map(name),
        interconnect: format!("10.0.0.{n}:4430"),
        rest: format!("10.0.0.{n}:443"),
        platform: "p".parse().unwrap(),
        variant: None,
        features: Vec::new(),
        site: None,
        lifs: Vec::new(),
    }
}

fn first() -> Topology {
    let id = ClusterId(uuid::Uuid::from_u128(1));
    let mut topology = Topology::new(id, "c".to_owned(), vec![node(1, 1, None)]).unwrap();
    topology.membership.keys.insert(name(1), key(1));
    topology
}

fn offer(token: u8, node: Option<u8>, replaces: Option<u128>) -> Offer {
    Offer {
        token: key(token),
        until: at(3600),
        by: "root".parse().unwrap(),
        node: node.map(name),
        replaces: replaces.map(|id| NodeId(uuid::Uuid::from_u128(id))),
        used: None,
    }
}

fn offered(topology: &Topology, token: u8) -> Topology {
    topology
        .with_offer(offer(token, None, None), at(0))
        .unwrap()
}

fn entrant(token: u8, node: NodeConfig, own: u8) -> Entrant {
    Entrant {
        token: key(token),
        node,
        key: key(own),
    }
}

fn admitted(topology: &Topology, entrant: &Entrant) -> Topology {
    match topology.admit(entrant, at(1)).unwrap() {
        Admitted::Now(next) => *next,
        Admitted::Again => panic!("it is new"),
    }
}

fn partner(topology: &Topology, n: u8) -> Option<String> {
    topology.partner_of(&name(n)).map(ToString::to_string)
}

/// n1 and n2.
fn pair() -> Topology {
    admitted(&offered(&first(), 102), &entrant(102, node(2, 2, None), 2))
}

#[test]
fn the_second_node_is_the_firsts_partner_and_its_token_is_used_up() {
    let pair = pair();
    assert_eq!(partner(&pair, 1).as_deref(), Some("n2"));
    assert_eq!(partner(&pair, 2).as_deref(), Some("n1"));
    let again = pair.admit(&entrant(102, node(2, 9, None), 2), at(1));
    assert_eq!(again, Ok(Admitted::Again));
    // Somebody else who has seen the token, under the same name or another.
    let thief = pair.admit(&entrant(102, node(2, 2, None), 66), at(1));
    assert_eq!(thief, Err(MembershipError::Used(name(2))));
    let thief = pair.admit(&entrant(102, node(3, 3, None), 3), at(1));
    assert_eq!(thief, Err(MembershipError::Used(name(2))));
}

#[test]
fn who_used_a_token_is_heard_for_a_day_and_nobody_else_is_let_in() {
    let one = offered(&first(), 102);
    let is_open = |topology: &Topology, when| {
        let mut offers = topology.membership.offers.iter();
        (
            offers.any(|it| it.is_open(at(when))),
            topology.hears_newcomers(at(when)),
        )
    };
    assert_eq!(is_open(&one, 3599), (true, true));
    assert_eq!(is_open(&one, 3600), (false, false));
    assert_eq!(is_open(&pair(), 1), (false, true));
    let day = 24 * 3600;
    assert_eq!(is_open(&pair(), 3599 + day), (false, true));
    assert_eq!(is_open(&pair(), 3600 + day), (false, false));
}

#[test]
fn what_does_not_fit_is_refused() {
    let one = offered(&first(), 102);
    let refused = |topology: &Topology, entrant: Entrant, when| {
        topology.admit(&entrant, at(when)).unwrap_err()
    };
    let unknown = refused(&one, entrant(7, node(2, 2, None), 2), 1);
    assert_eq!(unknown, MembershipError::UnknownToken);
    let late = refused(&one, entrant(102, node(2, 2, None), 2), 3600);
    assert_eq!(late, MembershipError::Expired);
    let taken = refused(&one, entrant(102, node(1, 2, None), 2), 1);
    assert!(
        matches!(taken, MembershipError::AddressTaken { .. }),
        "{taken}"
    );
    let lif = |name: &str| LifConfig {
        name: name.parse().unwrap(),
        address: "192.0.2.9:2049".to_owned(),
    };
    let mut with_lif = one.clone();
    with_lif.nodes[0].lifs = vec![lif("data1")];
    let mut same_lif = node(2, 2, None);
    same_lif.lifs = vec![lif("data2"), lif("data1")];
    let taken = refused(&with_lif, entrant(102, same_lif, 2), 1);
    assert_eq!(taken.to_string(), "node n1 has a LIF data1 already");
    let mut same_name = node(1, 2, None);
    (same_name.interconnect, same_name.rest) = ("a:1".to_owned(), "a:2".to_owned());
    let taken = refused(&one, entrant(102, same_name, 2), 1);
    assert_eq!(taken, MembershipError::NameTaken(name(1)));
    let copied = refused(&one, entrant(102, node(2, 2, None), 1), 1);
    assert_eq!(copied, MembershipError::KeyTaken(name(1)));
    let other = first()
        .with_offer(offer(102, Some(5), None), at(0))
        .unwrap();
    let other = refused(&other, entrant(102, node(2, 2, None), 2), 1);
    assert!(matches!(other, MembershipError::NotFor { .. }), "{other}");
    let wish = refused(&one, entrant(102, node(2, 2, Some(9)), 2), 1);
    assert_eq!(wish, MembershipError::NoNode(name(9)));
    let full = (0..16).fold(first(), |topology, n| offered(&topology, 100 + n));
    let many = full.with_offer(offer(200, None, None), at(0));
    assert_eq!(many, Err(MembershipError::TooManyOffers));
    assert!(full.with_offer(offer(200, None, None), at(3600)).is_ok());
}

#[test]
fn a_pair_comes_in_together_and_waits_for_each_other_until_then() {
    let two = pair();
    let waiting = admitted(&offered(&two, 103), &entrant(103, node(3, 3, None), 3));
    assert_eq!(waiting.nodes.len(), 2);
    let standing = waiting.standing(&name(3), Some(key(3)));
    assert_eq!(standing, Standing::Candidate { partner: None });
    let waiting = offered(&waiting, 104);
    let stranger = waiting.admit(&entrant(104, node(4, 4, Some(1)), 4), at(1));
    assert!(
        matches!(stranger, Err(MembershipError::HasPartner { .. })),
        "{stranger:?}"
    );
    let four = admitted(&waiting, &entrant(104, node(4, 4, Some(3)), 4));
    assert_eq!(four.nodes.len(), 4);
    assert_eq!(partner(&four, 3).as_deref(), Some("n4"));
    assert!(four.membership.candidates.is_empty());
    assert_eq!(four.standing(&name(3), Some(key(3))), Standing::Member);
    // The first of them may name the second, which then need not.
    let waiting = admitted(&offered(&two, 103), &entrant(103, node(3, 3, Some(4)), 3));
    let four = admitted(&offered(&waiting, 104), &entrant(104, node(4, 4, None), 4));
    assert_eq!(partner(&four, 4).as_deref(), Some("n3"));
    let third = offered(&waiting, 105).admit(&entrant(105, node(5, 5, Some(3)), 5), at(1));
    assert!(
        matches!(third, Err(MembershipError::OtherWish { .. })),
        "{third:?}"
    );
}

#[test]
fn pairs_leave_together_or_down_to_one_node() {
    let two = pair();
    let one = two.without(&BTreeSet::from([name(2)])).unwrap();
    assert_eq!(one.nodes.len(), 1);
    assert_eq!(partner(&one, 1), None);
    let removed = Standing::Stranger {
        why: Estranged::Removed,
    };
    assert_eq!(one.standing(&name(2), Some(key(2))), removed);
    // Its token is as good as never made: it does not come back with it.
    let back = one.admit(&entrant(102, node(2, 2, None), 2), at(1));
    assert_eq!(back, Err(MembershipError::UnknownToken));
    let waiting = admitted(&offered(&two, 103), &entrant(103, node(3, 3, None), 3));
    let four = admitted(
        &offered(&waiting, 104),
        &entrant(104, node(4, 4, Some(3)), 4),
    );
    assert!(four.without(&BTreeSet::from([name(3)])).is_err());
    assert_eq!(
        four.without(&BTreeSet::from([name(3), name(4)]))
            .unwrap()
            .nodes
            .len(),
        2
    );
    assert!(four.without(&four.names().cloned().collect()).is_err());
    assert!(four.without(&BTreeSet::from([name(9)])).is_err());
    assert!(
        waiting
            .without(&BTreeSet::from([name(3)]))
            .unwrap()
            .membership
            .candidates
            .is_empty()
    );
}

#[test]
fn a_machine_that_calls_itself_otherwise_is_told_its_name() {
    let two = pair();
    let renamed = Standing::Stranger {
        why: Estranged::Renamed { is: name(2) },
    };
    // By nobody's name, and by its partner's.
    assert_eq!(two.standing(&name(9), Some(key(2))), renamed);
    assert_eq!(two.standing(&name(1), Some(key(2))), renamed);
    assert_eq!(two.standing(&name(2), Some(key(2))), Standing::Member);
}

#[test]
fn another_machine_takes_a_place_and_the_old_one_is_a_stranger() {
    let mut two = pair();
    two.nodes[1].lifs.push(LifConfig {
        name: "l".parse().unwrap(),
        address: "10.0.0.9:1".to_owned(),
    });
    assert!(
        two.with_offer(offer(150, Some(2), Some(99)), at(0))
            .is_err()
    );
    let open = two.with_offer(offer(150, Some(2), Some(2)), at(0)).unwrap();
    let new = admitted(&open, &entrant(150, node(2, 22, None), 222));
    assert_eq!(new.nodes.len(), 2);
    let placed = new.node(&name(2)).unwrap();
    assert_eq!(placed.id, NodeId(uuid::Uuid::from_u128(22)));
    assert_eq!(
        (placed.partner.clone(), placed.lifs.len()),
        (Some(name(1)), 1)
    );
    let replaced = Standing::Stranger {
        why: Estranged::Replaced,
    };
    assert_eq!(new.standing(&name(2), Some(key(2))), replaced);
    assert_eq!(new.standing(&name(2), Some(key(222))), Standing::Member);
    // A second token that was made for the old one's place is too late.
    let both = open
        .with_offer(offer(151, Some(2), Some(2)), at(0))
        .unwrap();
    let first = admitted(&both, &entrant(150, node(2, 22, None), 222));
    let second = first.admit(&entrant(151, node(2, 23, None), 223), at(1));
    assert_eq!(second, Err(MembershipError::ReplacedMeanwhile(name(2))));
}

#[test]
fn a_topology_of_an_older_release_is_read_and_written_as_it_was() {
    let id = ClusterId(uuid::Uuid::from_u128(1));
    let plain = Topology::new(id, "c".to_owned(), vec![node(1, 1, None)]).unwrap();
    let text = serde_json::to_string(&plain).unwrap();
    assert!(!text.contains("membership"), "{text}");
    assert_eq!(serde_json::from_str::<Topology>(&text).unwrap(), plain);
    let whole = pair();
    let text = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<Topology>(&text).unwrap(), whole);
    // By name alone, where no key is known.
    assert_eq!(plain.standing(&name(1), Some(key(5))), Standing::Member);
}

/// One thing that somebody asks for.
#[derive(Clone, Debug)]
enum Ask {
    Offer {
        token: u8,
        replaces: Option<u8>,
    },
    Admit {
        token: u8,
        node: u8,
        key: u8,
        partner: Option<u8>,
    },
    Remove(Vec<u8>),
}

fn ask() -> impl Strategy<Value = Ask> {
    let partner = proptest::option::of(1u8..8);
    prop_oneof![
        (100u8..110, proptest::option::weighted(0.2, 1u8..8))
            .prop_map(|(token, replaces)| Ask::Offer { token, replaces }),
        (100u8..110, 1u8..8, 1u8..40, partner).prop_map(|(token, node, key, partner)| Ask::Admit {
            token,
            node,
            key,
            partner
        }),
        proptest::collection::vec(1u8..8, 1..3).prop_map(Ask::Remove),
    ]
}

fn next(topology: &Topology, ask: &Ask, turn: u64) -> Option<Topology> {
    let id = u128::from(turn) + 100;
    match ask {
        Ask::Offer { token, replaces } => {
            let old = replaces.and_then(|n| topology.node(&name(n)));
            let old = old.map(|it| it.id.0.as_u128());
            let made = offer(*token, replaces.filter(|_| old.is_some()), old);
            topology.with_offer(made, at(turn)).ok()
        }
        Ask::Admit {
            token,
            node: n,
            key,
            partner,
        } => {
            let asked = entrant(*token, node(*n, id, *partner), *key);
            match topology.admit(&asked, at(turn)).ok()? {
                Admitted::Again => None,
                Admitted::Now(next) => Some(*next),
            }
        }
        Ask::Remove(names) => topology
            .without(&names.iter().map(|n| name(*n)).collect())
            .ok(),
    }
}

proptest! {
    #[test]
    fn whatever_is_asked_what_is_left_is_a_cluster(asks in proptest::collection::vec(ask(), 1..60)) {
        let mut topology = first();
        for (turn, ask) in asks.iter().enumerate() {
            let Some(next) = next(&topology, ask, turn as u64) else { continue };
            // As anybody checks it who reads it.
            let mut checked = Topology::new(next.id, next.name.clone(), next.nodes.clone()).unwrap();
            checked.membership = next.membership.clone();
            prop_assert_eq!(&checked, &next);
            let members: BTreeSet<_> = next.names().collect();
            prop_assert!(next.membership.keys.keys().all(|it| members.contains(it)));
            prop_assert!(next.membership.candidates.iter().all(|it| !members.contains(&it.node.name)));
            let candidates = next.membership.candidates.iter().map(|it| it.key);
            let keys: Vec<_> = next.membership.keys.values().copied().chain(candidates).collect();
            prop_assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
            // What was used stays used by whom it was, or is forgotten.
            for old in topology.membership.offers.iter().filter(|it| it.used.is_some()) {
                let later = next.membership.offers.iter().find(|it| it.token == old.token);
                prop_assert!(later.is_none_or(|it| it.used == old.used));
            }
            topology = next;
        }
    }
}
