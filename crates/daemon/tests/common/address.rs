//! Addresses for daemons that are to listen.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Mutex;

/// An address that nobody listens on, and that was given to nobody before.
pub(crate) fn free_address() -> String {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        if GIVEN.lock().unwrap().insert(address.port()) {
            return address.to_string();
        }
    }
}
