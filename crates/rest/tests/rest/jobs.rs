//! What may be asked of a job.

use crate::support::Client;

async fn job(client: &Client) -> String {
    let uri = "/api/cluster/software?action=pause";
    let started = client.patch(uri, "{}").await.json();
    started["job"]["uuid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn no_job_of_ours_can_be_stopped_by_itself() {
    let client = Client::new();
    let job = job(&client).await;
    let act = async |action: &str| {
        let uri = format!("/api/cluster/jobs/{job}?action={action}");
        let (status, code, target) = client.patch(&uri, "{}").await.error();
        assert_eq!(target.as_deref(), Some("action"));
        (status, code)
    };
    assert_eq!(act("pause").await, (400, "458783".to_owned()));
    assert_eq!(act("cancel").await, (400, "458784".to_owned()));
    assert_eq!(act("resume").await, (409, "458771".to_owned()));
    assert_eq!(act("stop").await, (400, "262197".to_owned()));
    assert_eq!(act("").await, (400, "262278".to_owned()));
    let uri = format!("/api/cluster/jobs/{job}?action=pause");
    for (body, code) in [
        (r#"{"state":"paused"}"#, "262196"),
        (r#"{"x":1}"#, "262203"),
    ] {
        assert_eq!(client.patch(&uri, body).await.error().1, code);
    }
    client.fake.end_job(&job, None);
    for action in ["pause", "resume", "cancel"] {
        assert_eq!(act(action).await, (409, "458762".to_owned()), "{action}");
    }
}

#[tokio::test]
async fn a_job_that_is_not_there_cannot_be_stopped_either() {
    let uri = "/api/cluster/jobs/44444444-4444-4444-8444-444444444444?action=cancel";
    let reply = Client::new().patch(uri, "").await;
    let expected = (404, "4".to_owned(), Some("uuid".to_owned()));
    assert_eq!(reply.error(), expected);
}
