//! Two real daemons with their record on a pool that both could mount: here a folder. A hand in the place of the HA engine moves the
//! seat as the resource agent does.

use std::fs;
use std::path::PathBuf;

use evenkeel_record::lock_path;
use serde_json::json;

use crate::stand::{Daemon, Stand, pair};

/// What the agent's `start` does.
fn give(stand: &Stand) {
    let seat = stand.dir.join("record-seat");
    let new = stand.dir.join("record-seat.new");
    fs::write(&new, format!("{}\n", pool_of(stand).display())).unwrap();
    fs::rename(new, seat).unwrap();
}

/// What the agent's `stop` does.
fn take(stand: &Stand) {
    let seat = stand.dir.join("record-seat");
    fs::remove_file(&seat).unwrap();
    stand.until("the file to be closed", || is_closed(stand).then_some(()));
}

fn is_closed(stand: &Stand) -> bool {
    match fs::File::open(lock_path(&stand.dir.join("record-seat"))) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(_never_made) => true,
    }
}

fn pool_of(stand: &Stand) -> PathBuf {
    let config = fs::read_to_string(stand.dir.join("evenkeeld.toml")).unwrap();
    let line = config.lines().find_map(|it| it.strip_prefix("path = \""));
    line.unwrap().trim_end_matches('"').into()
}

/// Changes something in the record by way of that node, and says whether it could.
fn make_user(stand: &Stand, name: &str) -> u16 {
    let user = json!({"name": name, "role": "admin", "password": "long enough"});
    let body = Some(("application/json", user.to_string().into_bytes()));
    stand.call("POST", "/evenkeel/v1/users", body).0
}

fn users(stand: &Stand) -> Vec<String> {
    let (status, answer) = stand.call("GET", "/evenkeel/v1/users", None);
    let records = answer["records"].as_array().filter(|_| status == 200);
    let names = records.into_iter().flatten();
    names
        .filter_map(|user| Some(user["name"].as_str()?.to_owned()))
        .collect()
}

fn must_make_user(stand: &Stand, name: &str) {
    stand.until("a change of the record", || {
        matches!(make_user(stand, name), 201 | 409).then_some(())
    });
}

fn must_see(stand: &Stand, names: &[&str]) {
    stand.until("the users", || {
        let seen = users(stand);
        names
            .iter()
            .all(|name| seen.iter().any(|it| it == name))
            .then_some(())
    });
}

#[test]
fn the_record_moves_between_two_daemons_and_outlives_the_one_that_had_it() {
    let [one, two] = pair();
    // The second one starts first, with nothing in its mirror, and without the seat: it knows its partner by the configuration.
    let second = two.start();
    assert_ne!(two.call("GET", "/api/cluster", None).0, 200);
    let first = one.start();
    give(&one);
    must_make_user(&one, "u1");
    must_see(&two, &["admin", "u1"]);
    must_make_user(&two, "u2");
    must_see(&one, &["u1", "u2"]);

    // A planned move.
    take(&one);
    assert_eq!(make_user(&one, "never"), 503, "nobody holds it");
    give(&two);
    must_make_user(&one, "u3");
    must_see(&two, &["u1", "u2", "u3"]);

    // The holder dies with the file open, and its machine with it.
    second.kill();
    assert!(is_closed(&two), "a dead daemon has let go");
    fs::remove_file(two.dir.join("record-seat")).unwrap();
    give(&one);
    must_make_user(&one, "u4");
    let second: Daemon = two.start();
    must_see(&two, &["u1", "u2", "u3", "u4"]);
    assert!(first.terminate().success());
    assert!(is_closed(&one));
    assert!(second.terminate().success());
    assert!(
        one.log()
            .contains("this node holds the record on the pair's pool"),
        "{}",
        one.log()
    );
}

/// Fencing did not hold: both nodes have the seat, one of them before its daemon starts.
#[test]
fn a_daemon_that_starts_on_the_seat_asks_its_partner_before_it_opens_the_file() {
    let [one, two] = pair();
    give(&one);
    let first = one.start();
    must_make_user(&one, "u1");
    give(&two);
    let second = two.start();
    two.until("the partner's word", || {
        let said = "n1 says that it has the record open";
        two.log().contains(said).then_some(())
    });
    must_make_user(&two, "u2");
    assert!(
        !two.log().contains("this node holds the record"),
        "{}",
        two.log()
    );
    assert!(first.terminate().success());
    two.until("the file to be open", || {
        two.log()
            .contains("this node holds the record")
            .then_some(())
    });
    assert!(second.terminate().success());
}

/// The first events come from the node that does not hold the record: its partner knows no members yet, and hears it all the same.
#[test]
fn a_cluster_begins_from_the_node_that_does_not_hold_the_record() {
    let [one, two] = pair();
    let config = fs::read_to_string(one.dir.join("evenkeeld.toml")).unwrap();
    let (config, _) = config.split_once("[cluster]").unwrap();
    fs::write(one.dir.join("evenkeeld.toml"), config).unwrap();
    give(&one);
    let first = one.start();
    one.until("the record to be open", || (!is_closed(&one)).then_some(()));
    let second = two.start();
    must_see(&two, &["admin"]);
    must_see(&one, &["admin"]);
    assert!(first.terminate().success());
    assert!(second.terminate().success());
}
