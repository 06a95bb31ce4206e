//! Certificates stay good without a restart, and what cannot be used changes nothing.

use std::fs;

use evenkeel_identity::{Ca, NodeKey, Validity};
use evenkeel_rest::{CertificateFacts, first_certificate};

use crate::field::{Field, Host, join_body};
use crate::pair;

fn until(host: &Host) -> u64 {
    let pem = fs::read(host.pki("node.pem")).unwrap();
    let der = first_certificate(&pem).unwrap();
    CertificateFacts::of_der(&der).unwrap().not_after
}

#[test]
fn a_certificate_that_is_soon_over_is_renewed_by_itself_and_on_demand() {
    let field = Field::new();
    let (n1, mut n2) = pair(&field);
    let good = until(&n2);
    n2.kill();
    // As it is when eleven months have passed.
    let key = NodeKey::open(&n2.pki("node.key")).unwrap().public();
    let ca = Ca::open("Evenkeel cluster CA", &n2.pki("ca.key")).unwrap();
    let validity = Validity {
        from: good - 400 * 24 * 3600,
        until: good - 330 * 24 * 3600,
    };
    let old = ca
        .sign("n2", vec!["n2".to_owned()], &key, Some(validity))
        .unwrap();
    fs::write(n2.pki("node.pem"), old).unwrap();
    n2.start();
    n2.until("the renewal", || (until(&n2) >= good).then_some(()));
    n1.sees(2);
    let before = fs::read(n1.pki("node.pem")).unwrap();
    n1.must("/renew", &serde_json::Value::Null);
    assert_ne!(fs::read(n1.pki("node.pem")).unwrap(), before);
    n1.sees(2);
    n2.sees(2);
    // A key that was lost is not replaced by one that nobody knows this node by.
    fs::remove_file(n1.pki("node.key")).unwrap();
    let why = n1.refused("/renew", &serde_json::Value::Null);
    assert!(why.contains("node.key"), "{why}");
    assert!(!n1.pki("node.key").exists());
}

/// Puts a file of the node's in place as a whole.
fn put(host: &Host, name: &str, text: &str) {
    let new = host.pki("put");
    fs::write(&new, text).unwrap();
    fs::rename(new, host.pki(name)).unwrap();
}

/// Does something to a node's files, and waits until it has taken them up.
fn taken_up(host: &Host, change: impl FnOnce()) {
    let times = || host.log().matches("took the node's certificate up").count();
    let before = times();
    change();
    host.until("its taking up", || (times() > before).then_some(()));
}

/// As operations.md has it.
#[test]
fn the_clusters_ca_is_replaced_by_hand_in_three_rounds() {
    let field = Field::new();
    let (mut n1, mut n2) = pair(&field);
    let (file, key) = (field.dir.join("new.pem"), field.dir.join("new.key"));
    Ca::open_or_make("Evenkeel cluster CA", &file, &key, None).unwrap();
    let old = fs::read_to_string(n1.pki("ca.pem")).unwrap();
    let (new, key) = (
        fs::read_to_string(file).unwrap(),
        fs::read_to_string(key).unwrap(),
    );
    // Both are believed everywhere.
    let both = format!("{old}{new}");
    for host in [&n1, &n2] {
        taken_up(host, || put(host, "ca.pem", &both));
    }
    // The new one signs; a node that is yet to be done speaks with one that is, also over new connections.
    let both = format!("{new}{old}");
    let sign_by_it = |host: &Host| {
        put(host, "ca.pem", &both);
        put(host, "ca.key", &key);
        host.must("/renew", &serde_json::Value::Null);
    };
    sign_by_it(&n1);
    n2.kill();
    n2.start();
    n2.sees(2);
    n1.sees(2);
    sign_by_it(&n2);
    // The old one is believed no more.
    for host in [&n1, &n2] {
        taken_up(host, || put(host, "ca.pem", &new));
    }
    for host in [&mut n1, &mut n2] {
        host.kill();
        host.start();
    }
    n1.sees(2);
    n2.sees(2);
    let n3 = field.host("n3").up();
    n3.must("/join", &join_body(&n1.token(), Some("n4")));
    n3.becomes("candidate");
    assert_eq!(fs::read_to_string(n3.pki("ca.pem")).unwrap(), new);
}

#[test]
fn what_cannot_be_used_is_said_and_the_old_certificate_stays() {
    let field = Field::new();
    let (n1, n2) = pair(&field);
    let (pem, key) = (
        fs::read(n1.pki("node.pem")).unwrap(),
        fs::read(n1.pki("node.key")).unwrap(),
    );
    fs::write(n1.pki("node.pem"), &pem[..pem.len() / 2]).unwrap();
    n1.until("a word of it", || {
        n1.log().contains("the old one stays").then_some(())
    });
    n2.sees(2);
    fs::write(n1.pki("node.pem"), &pem).unwrap();
    n1.until("its taking up", || {
        n1.log()
            .contains("took the node's certificate up")
            .then_some(())
    });
    // A pair that fits, for a key that the cluster does not know this node by.
    let other = field.dir.join("other.key");
    let public = NodeKey::open_or_make(&other).unwrap().public();
    let ca = Ca::open("Evenkeel cluster CA", &n1.pki("ca.key")).unwrap();
    let foreign = ca.sign("n1", vec!["n1".to_owned()], &public, None).unwrap();
    fs::copy(&other, n1.pki("node.key")).unwrap();
    fs::write(n1.pki("node.pem"), foreign).unwrap();
    n1.until("a word of it", || {
        n1.log().contains("another key than the one").then_some(())
    });
    n2.sees(2);
    fs::write(n1.pki("node.key"), key).unwrap();
    fs::write(n1.pki("node.pem"), pem).unwrap();
}
