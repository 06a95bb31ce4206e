//! Processes that go on until whoever started them closes their standard input.

use std::io::Read;

use tokio::sync::oneshot;

/// Ends when standard input does. A thread of its own reads it: tokio's would hold up the process's end.
pub(crate) fn input_ended() -> impl Future<Output = ()> {
    let (ended, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        // Failing is an end, too; and nobody may wait any more.
        let _outcome = std::io::stdin().read_to_end(&mut rest);
        let _unheard = ended.send(());
    });
    async {
        let _ended = wait.await;
    }
}
