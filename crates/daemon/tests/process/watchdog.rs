//! What systemd's watchdog hears.

use std::thread::sleep;
use std::time::Duration;

use evenkeel_package_store::SecretKey;
use nix::sys::signal::Signal;

use crate::stand::Stand;

/// systemd's bound here, in microseconds: a unit's is a hundred times as long.
const WATCHDOG_USEC: &str = "400000";
/// Longer than that.
const LONGER: Duration = Duration::from_millis(800);

/// The record is out of reach all the time, its folder does not exist: that is no hang.
#[test]
fn the_watchdog_is_fed_without_a_record_and_not_while_the_daemon_is_frozen() {
    let key = SecretKey::generate().unwrap();
    let stand = Stand::new(&key.public().to_pem());
    let daemon = stand.begin_with(&[("WATCHDOG_USEC", WATCHDOG_USEC)]);
    let fed = || stand.times_told("WATCHDOG=1");
    stand.until("READY", || stand.was_told("READY=1").then_some(()));
    stand.until("food, again and again", || (fed() > 10).then_some(()));

    daemon.signal(Signal::SIGSTOP);
    // What was on its way has arrived by then.
    sleep(LONGER);
    let frozen = fed();
    sleep(LONGER);
    assert_eq!(fed(), frozen, "who is frozen feeds nothing");

    daemon.signal(Signal::SIGCONT);
    stand.until("more food", || (fed() > frozen).then_some(()));
    assert!(
        stand.log().contains("the daemon stood still"),
        "{}",
        stand.log()
    );
    assert!(daemon.terminate().success());
}

/// Started by hand, or by a unit without a watchdog, it tells nobody.
#[test]
fn nobody_is_fed_who_does_not_ask_for_it() {
    let key = SecretKey::generate().unwrap();
    let stand = Stand::new(&key.public().to_pem());
    let daemon = stand.start();
    stand.until("the status text", || {
        stand.was_told("STATUS=").then_some(())
    });
    assert_eq!(stand.times_told("WATCHDOG"), 0);
    assert!(daemon.terminate().success());
}
