//! What systemd is told. Outside of systemd all of this does nothing.

use std::sync::Arc;

use evenkeel_model::Standing;
use evenkeel_record::{Contact, Follower, View};
use sd_notify::NotifyState;

use crate::cluster::{Belonging, said};

/// Tells systemd.
pub(crate) fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

/// Keeps the status text up to date.
pub(crate) async fn follow(follower: Arc<Follower>, belonging: Belonging) {
    let mut belongs = belonging.belongs();
    let (mut views, mut contacts) = (follower.views(), follower.contacts());
    let mut last = String::new();
    loop {
        let text = match belonging.standing() {
            None | Some(Standing::Member) => status(&follower.view(), &follower.contact()),
            Some(standing) => said(&standing),
        };
        if text != last {
            notify(&[NotifyState::Status(&text)]);
            last = text;
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            changed = contacts.changed() => if changed.is_err() { return },
            changed = belongs.changed() => if changed.is_err() { return },
        }
    }
}

fn status(view: &View, contact: &Contact) -> String {
    let control = view.control();
    let coordinator = match &control.coordinator {
        Some(coordinator) => format!("coordinator {}", coordinator.node),
        None => "no coordinator".to_owned(),
    };
    let open: Vec<&str> = control.open.values().map(|kind| kind.as_str()).collect();
    let doing = match open.is_empty() {
        true => "nothing open".to_owned(),
        false => format!("open: {}", open.join(", ")),
    };
    match &contact.trouble {
        None => format!("{coordinator}; {doing}"),
        Some(trouble) => format!("{coordinator}; {doing}; {trouble}"),
    }
}
