//! The package replaced by a newer one: while the daemon runs, while a takeover stands, over a database of the release before.

use crate::container::Container;
use crate::keeper::Keeper;
use crate::{NEWER, is_back};

/// While it runs.
pub(crate) fn is_upgraded(host: &Container, newer: &str) {
    let pid = host.property("evenkeeld", "MainPID");
    host.until("nothing open", || {
        (host.tries("evenkeeld may-restart").0 == Some(0)).then_some(())
    });
    host.runs(&format!("dpkg -i {newer}"));
    host.until_property("evenkeeld", "ActiveState", |state| state == "active");
    let next = host.property("evenkeeld", "MainPID");
    assert_ne!(next, pid);
    assert_eq!(host.property("evenkeeld", "NRestarts"), "0");
    let started =
        host.runs("journalctl --no-pager -o cat -u evenkeeld -b --grep 'ready' | tail -3");
    assert!(started.contains("ready"));
    assert_eq!(host.runs("dpkg-query -W -f '${Version}' evenkeel"), NEWER);
    is_back(host);
}

/// A takeover stands: the files are replaced, and the daemon runs on until it is over.
pub(crate) fn is_upgraded_later(host: &Container, keeper: &Keeper, package: &str) {
    let pid = host.property("evenkeeld", "MainPID");
    keeper.take_over();
    host.until("the takeover", || keeper.is_taken_over().then_some(()));
    let said = host.runs(&format!("dpkg -i {package} 2>&1"));
    assert!(said.contains("restarted later"), "{said}");
    assert_eq!(host.property("evenkeeld", "MainPID"), pid);
    host.until_property("evenkeel-restart", "StatusText", |text| {
        text.contains("takeover to be over")
    });
    let refused = host.refuses("dpkg -r evenkeel 2>&1");
    assert!(refused.contains("not removed now"), "{refused}");
    assert!(!refused.contains("restarted later"), "{refused}");
    assert_eq!(host.property("evenkeeld", "MainPID"), pid);
    host.until("the giveback", || keeper.give_back().then_some(()));
    host.until_property("evenkeeld", "MainPID", |next| next != pid && next != "0");
    is_back(host);
}

/// What the release before left behind: the same database, without what this one added.
pub(crate) fn migrates(host: &Container, newer: &str) {
    host.runs("systemctl stop evenkeeld");
    let path = host.root.join("var/lib/evenkeel/node.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    let version = |it: &rusqlite::Connection| -> i64 {
        it.query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap()
    };
    let latest = version(&database);
    assert!(latest > 1, "there is no release before");
    database
        .execute_batch("DROP TABLE device_step; PRAGMA user_version = 1")
        .unwrap();
    database
        .execute("INSERT INTO small (key, value) VALUES ('kept', '1')", [])
        .unwrap();
    drop(database);
    host.runs(&format!("dpkg -i {newer}"));
    // Whoever stopped it wants it stopped.
    assert_eq!(host.property("evenkeeld", "ActiveState"), "inactive");
    host.runs("systemctl start evenkeeld");
    is_back(host);
    host.runs("systemctl stop evenkeeld");
    let database = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(version(&database), latest);
    let kept = "SELECT count(*) FROM small WHERE key = 'kept'";
    let count = |sql: &str| -> i64 { database.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(
        (count(kept), count("SELECT count(*) FROM device_step")),
        (1, 0)
    );
    println!("    node.db: schema 1 became {latest}, and kept its rows");
    drop(database);
    host.runs("systemctl start evenkeeld");
    is_back(host);
}
