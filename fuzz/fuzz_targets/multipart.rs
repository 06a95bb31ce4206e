#![no_main]

#[path = "../src/multipart.rs"]
mod multipart;
#[path = "../../crates/rest/tests/rest/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the front end's tests use all of it")]
mod support;

use std::cell::OnceCell;

thread_local! {
    static CLIENT: OnceCell<(tokio::runtime::Runtime, support::Client)> = const { OnceCell::new() };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| CLIENT.with(|client| {
    let (runtime, client) = client.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        (runtime.expect("a runtime needs nothing"), support::Client::new())
    });
    runtime.block_on(multipart::multipart(client, bytes));
}));
