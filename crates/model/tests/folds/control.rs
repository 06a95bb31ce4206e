//! Coordinators, and the lock matrix.

use OperationKind::{PackageDelete, PackageGet, PackageSync, Update, Validation};
use evenkeel_model::*;

use crate::samples::*;

fn start(id: u128, kind: OperationKind) -> ControlEvent {
    ControlEvent::OperationStarted {
        at: at(0),
        operation: operation(id),
        kind,
    }
}

fn end(id: u128) -> ControlEvent {
    ControlEvent::OperationEnded {
        at: at(1),
        operation: operation(id),
    }
}

fn elected(generation: u64, name: &str) -> ControlEvent {
    ControlEvent::CoordinatorElected {
        at: at(2),
        generation: Generation(generation),
        node: node(name),
    }
}

fn handed_over(generation: u64, to: &str) -> ControlEvent {
    ControlEvent::HandedOver {
        at: at(3),
        generation: Generation(generation),
        to: node(to),
    }
}

/// Open, asked for, and the code of the refusal.
const MATRIX: [(OperationKind, OperationKind, u32); 24] = [
    (Update, Update, code::UPDATE_IN_PROGRESS),
    (Update, Validation, code::UPDATE_IN_PROGRESS),
    (Update, PackageGet, code::UPDATE_IN_PROGRESS),
    (Update, PackageDelete, code::DELETE_DURING_UPDATE),
    (Validation, Update, code::VALIDATION_IN_PROGRESS),
    (Validation, Validation, code::VALIDATION_IN_PROGRESS),
    (Validation, PackageGet, code::VALIDATION_IN_PROGRESS),
    (Validation, PackageDelete, code::DELETE_DURING_VALIDATION),
    (PackageGet, Update, code::SYNC_IN_PROGRESS),
    (PackageGet, Validation, code::SYNC_IN_PROGRESS),
    (PackageGet, PackageGet, code::GET_IN_PROGRESS),
    (PackageGet, PackageDelete, code::SYNC_IN_PROGRESS),
    (PackageDelete, Update, code::PACKAGE_BEING_DELETED),
    (PackageDelete, Validation, code::PACKAGE_BEING_DELETED),
    (PackageDelete, PackageGet, code::PACKAGE_BEING_DELETED),
    (PackageDelete, PackageDelete, code::PACKAGE_BEING_DELETED),
    (Update, PackageSync, code::UPDATE_IN_PROGRESS),
    (Validation, PackageSync, code::VALIDATION_IN_PROGRESS),
    (PackageGet, PackageSync, code::SYNC_IN_PROGRESS),
    (PackageDelete, PackageSync, code::PACKAGE_BEING_DELETED),
    (PackageSync, Update, code::SYNC_IN_PROGRESS),
    (PackageSync, Validation, code::SYNC_IN_PROGRESS),
    (PackageSync, PackageDelete, code::SYNC_IN_PROGRESS),
    (PackageSync, PackageSync, code::SYNC_IN_PROGRESS),
];

#[test]
fn the_lock_matrix_refuses_with_the_apis_codes_and_names_the_other() {
    for (open, asked, code) in MATRIX {
        let mut control = Control::default();
        control.apply(&start(1, open)).unwrap();
        let refusal = control.admits(asked).unwrap_err();
        assert_eq!(refusal.code, code, "{asked:?} beside {open:?}");
        assert!(refusal.message.contains(&operation(1).to_string()));
        // The fold refuses what the door would: two nodes cannot both admit.
        let before = control.clone();
        let illegal = control.apply(&start(2, asked)).unwrap_err();
        assert_eq!(illegal.event, "operation_started");
        assert_eq!(illegal.state, refusal.message);
        assert_eq!(control, before, "a refused event changes nothing");
        control.apply(&end(1)).unwrap();
        assert_eq!(control.admits(asked), Ok(()));
        control.apply(&start(2, asked)).unwrap();
        assert_eq!(control.open_of(asked), Some(operation(2)));
    }
}

#[test]
fn a_package_may_come_in_while_another_is_carried() {
    let mut control = Control::default();
    control.apply(&start(1, PackageSync)).unwrap();
    assert_eq!(control.admits(PackageGet), Ok(()));
    control.apply(&start(2, PackageGet)).unwrap();
}

#[test]
fn a_revoked_key_stays_revoked_and_only_a_known_one_is() {
    let mut control = Control::default();
    let trust = ControlEvent::KeyTrusted {
        at: at(0),
        public_key: "key".to_owned(),
        key_id: "id".to_owned(),
        name: Some("release".to_owned()),
        by: Some(user()),
    };
    let revoke = |n, key_id: &str| ControlEvent::KeyRevoked {
        at: at(n),
        key_id: key_id.to_owned(),
        by: user(),
    };
    assert!(control.apply(&revoke(0, "id")).is_err());
    for event in [&trust, &revoke(1, "id"), &revoke(2, "id"), &trust] {
        control.apply(event).unwrap();
    }
    assert_eq!(control.key("id").unwrap().revoked, Some((at(1), user())));
    assert_eq!(control.trusted_keys.len(), 1);
    assert!(control.apply(&revoke(3, "other")).is_err());
}

#[test]
fn an_operation_starts_once_and_ends_once() {
    let mut control = Control::default();
    let never = control.apply(&end(1)).unwrap_err();
    assert!(never.to_string().contains("operation_ended cannot follow"));
    assert!(never.state.contains("is not open"));
    control.apply(&start(1, Update)).unwrap();
    control.apply(&end(1)).unwrap();
    assert!(control.apply(&end(1)).is_err());
    let again = control.apply(&start(1, Update)).unwrap_err();
    assert!(again.state.contains("was started before"));
    control.apply(&start(2, Validation)).unwrap();
    assert_eq!(control.newest_of(&[Update]), Some(operation(1)));
    assert_eq!(control.newest_of(&[Update, Validation]), Some(operation(2)));
    assert_eq!(control.newest_of(&[PackageGet]), None);
}

#[test]
fn generations_count_up_by_one() {
    let mut control = Control::default();
    control.apply(&elected(1, "n1")).unwrap();
    for stale in [0, 1, 3] {
        let illegal = control.apply(&elected(stale, "n2")).unwrap_err();
        assert_eq!(illegal.event, "coordinator_elected");
        assert_eq!(
            illegal.state,
            format!("generation is 1, the elected one is {stale}")
        );
    }
    assert_eq!(control.coordinator.as_ref().unwrap().node, node("n1"));
    assert!(
        control
            .apply(&handed_over(0, "n2"))
            .unwrap_err()
            .state
            .contains("is 1, not 0")
    );
    control.apply(&handed_over(1, "n2")).unwrap();
    assert_eq!(
        (&control.coordinator, &control.handed_to),
        (&None, &Some(node("n2")))
    );
    assert!(control.vacant_since.is_some());
    control.apply(&elected(2, "n2")).unwrap();
    assert_eq!((&control.handed_to, control.vacant_since), (&None, None));
    assert_eq!(control.generation, Generation(2));
}

#[test]
fn a_key_is_trusted_once_and_the_newest_word_of_a_user_counts() {
    let mut control = Control::default();
    let trust = ControlEvent::KeyTrusted {
        at: at(0),
        public_key: "key".to_owned(),
        key_id: "id".to_owned(),
        name: None,
        by: None,
    };
    let set = |hash: &str| ControlEvent::UserSet {
        at: at(0),
        user: user(),
        password_hash: hash.to_owned(),
        account: None,
        by: None,
    };
    for event in [&trust, &trust, &set("a"), &set("b")] {
        control.apply(event).unwrap();
    }
    let texts: Vec<&str> = control
        .trusted_keys
        .iter()
        .map(|k| k.public_key.as_str())
        .collect();
    assert_eq!(texts, ["key"]);
    let account = &control.users[&user()];
    assert_eq!(account.password_hash.as_deref(), Some("b"));
    assert_eq!(account.role, Role::Admin, "before roles everybody was one");
}

#[test]
fn releases_before_roles_let_nobody_in_whom_they_would_take_for_an_admin() {
    let set = |role, hash: Option<&str>| AccountChange::Set {
        role,
        password_hash: hash.map(str::to_owned),
        certificate: false,
    };
    let cases = [
        (set(Role::Admin, Some("hash")), "hash"),
        (set(Role::Admin, None), "!"),
        (set(Role::Stager, Some("hash")), "!"),
        (set(Role::Readonly, Some("hash")), "!"),
        (AccountChange::Removed, "!"),
    ];
    let mut control = Control::default();
    for (change, seen) in cases {
        let event = ControlEvent::account(at(1), user(), change.clone(), None);
        let body = Event::Control(event).encode();
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["password_hash"], seen, "{change:?}");
        let Ok(Event::Control(read)) = Event::decode(StreamId::Control, &body) else {
            panic!("{body}")
        };
        control.apply(&read).unwrap();
        let role = control.users.get(&user()).map(|account| account.role);
        match change {
            AccountChange::Set { role: given, .. } => assert_eq!(role, Some(given)),
            AccountChange::Removed => assert_eq!(role, None),
        }
    }
}

#[test]
fn a_role_of_a_later_release_may_do_nothing() {
    let body = r#"{"type":"user_set","at":"2026-01-01T00:00:00Z","user":"u","password_hash":"!",
        "account":{"account":"set","role":"auditor","password_hash":"h"}}"#;
    let Ok(Event::Control(event)) = Event::decode(StreamId::Control, body) else {
        panic!("not read")
    };
    let mut control = Control::default();
    control.apply(&event).unwrap();
    let role = control.users[&user_named("u")].role;
    for needed in Role::ALL {
        assert!(!role.covers(needed), "{needed}");
    }
    assert!(Role::Admin.covers(Role::Stager) && !Role::Stager.covers(Role::Admin));
    assert!(Role::Stager.covers(Role::Readonly) && !Role::Readonly.covers(Role::Stager));
}

fn user_named(name: &str) -> UserName {
    name.parse().unwrap()
}

/// The operators' table of what keeps what from starting.
#[test]
fn the_operators_guide_has_the_lock_matrix() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let rows = [
        ("update", Update),
        ("validation", Validation),
        ("get", PackageGet),
        ("synchronization", PackageSync),
        ("delete", PackageDelete),
    ];
    for (name, open) in rows {
        let mut control = Control::default();
        control.apply(&start(1, open)).unwrap();
        let code = |asked| match control.admits(asked) {
            Ok(()) => "may start".to_owned(),
            Err(refusal) => refusal.code.to_string(),
        };
        assert_eq!(code(Update), code(Validation), "one column for both");
        let (update, get, delete) = (code(Update), code(PackageGet), code(PackageDelete));
        let row = format!("| {name} | {update} | {get} | {delete} |");
        assert!(guide.lines().any(|line| line == row), "{row}");
    }
}
