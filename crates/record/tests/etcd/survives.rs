//! Whether the record survives, by members that really are there or not.

use evenkeel_record::{Record, Survival};

use crate::support::{node, open, three, until};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs etcd"]
async fn survival_is_counted_from_members_that_answer() {
    let cluster = three();
    let mut options = cluster.options("survival");
    for (index, name) in ["n0", "n1", "n2"].into_iter().enumerate() {
        options.members.insert(node(name), cluster.url(index));
    }
    let record = open(options).await;
    let survives = |down: &[&str]| {
        let down: Vec<_> = down.iter().map(|name| node(name)).collect();
        match record.survives_without(&down) {
            Survival::Survives => Ok(()),
            Survival::Lost { why } => Err(why),
        }
    };
    assert_eq!(survives(&[]), Ok(()));
    assert_eq!(survives(&["n1"]), Ok(()));
    assert_eq!(survives(&["n1", "other"]), Ok(()));
    let why = survives(&["n0", "n1"]).unwrap_err();
    assert!(why.contains("m0 is on n0, m1 is on n1"), "{why}");

    cluster.kill(2);
    until("m2 is missed", async || survives(&["n0"]).is_err()).await;
    let why = survives(&["n0"]).unwrap_err();
    assert!(why.contains("m0 is on n0, m2 does not answer"), "{why}");
    assert_eq!(survives(&["n2"]), Ok(()), "it is down already");
    cluster.launch(2);
    until("m2 is back", async || survives(&["n0"]).is_ok()).await;

    // One that learns does not vote. It need not run for that.
    let add = [
        "member",
        "add",
        "m3",
        "--learner",
        "--peer-urls=http://127.0.0.1:1",
    ];
    // etcd changes no members until all have been connected for some seconds.
    until("it is added", async || cluster.try_etcdctl(&add).is_ok()).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(survives(&["n0"]), Ok(()));
    assert!(
        survives(&["n0", "n1"])
            .unwrap_err()
            .contains("3 voting members")
    );

    // Without a quorum nobody is told that there is one.
    cluster.kill(0);
    cluster.kill(1);
    until("the quorum is missed", async || survives(&[]).is_err()).await;
}
