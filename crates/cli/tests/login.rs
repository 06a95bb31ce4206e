//! How `evenkeel` finds out which cluster is meant and as whom it asks, as a user sees it.

#![cfg(test)]

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

/// Without what the tests' own environment says of a cluster.
fn evenkeel(config: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    for (name, _) in std::env::vars() {
        if name.starts_with("EVENKEEL_") {
            command.env_remove(name);
        }
    }
    command.args(args).env("XDG_CONFIG_HOME", config);
    command.stdin(Stdio::null());
    command
}

/// The sentence that a command fails with.
fn fails(mut command: Command) -> String {
    let done = command.output().unwrap();
    assert!(!done.status.success(), "{done:?}");
    String::from_utf8(done.stderr).unwrap()
}

fn keep(config: &Path, profiles: &str) {
    let file = config.join("evenkeel/profiles.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, profiles).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What cannot be used says in the error which one was meant.
#[test]
fn a_profile_that_is_named_counts_more_than_the_environment_and_less_than_what_is_typed() {
    let config = tempfile::tempdir().unwrap();
    let folder = config.path();
    let user = "user = \"me\"\npassword = \"kept\"\n";
    keep(
        folder,
        &format!(
            "[address]\nurl = \"ftp://profile\"\n{user}[ca]\nurl = \"https://127.0.0.1:1\"\nca = \"/profile/ca\"\n{user}"
        ),
    );
    let environment = [
        ("EVENKEEL_URL", "ftp://environment"),
        ("EVENKEEL_USER", "somebody"),
        ("EVENKEEL_PASSWORD_FILE", "/environment/password"),
        ("EVENKEEL_CA", "/environment/ca"),
    ];
    let said = |args: &[&str]| {
        let mut command = evenkeel(folder, args);
        command.envs(environment);
        fails(command)
    };
    for (args, named) in [
        (&["--profile", "address"][..], "ftp://profile"),
        (&["--profile", "ca"], "/profile/ca"),
        (
            &["--profile", "address", "--url", "ftp://typed"],
            "ftp://typed",
        ),
        (&["--profile", "ca", "--ca", "/typed/ca"], "/typed/ca"),
        (
            &["--profile", "ca", "--password-file", "/typed/password"],
            "/typed/password",
        ),
    ] {
        // Wherever they stand.
        for args in [
            [args, &["job", "show"]].concat(),
            [&["job", "show"], args].concat(),
        ] {
            let said = said(&args);
            assert!(said.contains(named), "{args:?}: {said}");
        }
    }
    let mut of_lab = evenkeel(folder, &["--lab", "/typed/lab", "job", "show"]);
    of_lab.env("EVENKEEL_PROFILE", "address");
    let said = fails(of_lab);
    assert!(said.contains("/typed/lab"), "{said}");
}

#[test]
fn beside_a_lab_nobody_else_can_be_named_but_by_the_environment_which_does_not_count() {
    let config = tempfile::tempdir().unwrap();
    let folder = config.path();
    let (lab, show) = (["--lab", "/typed/lab"], ["job", "show"]);
    for given in [
        &["--user", "me"][..],
        &["--password-file", "/typed/password"],
        &["--profile", "address"],
        &["--ca", "/typed/ca"],
        &["--insecure"],
        &["--user", "me", "--url", "https://127.0.0.1:1"],
    ] {
        let typed = evenkeel(folder, &[&lab[..], given, &show].concat());
        let said = fails(typed);
        let refused = format!("{} cannot be given beside a lab", given[0]);
        assert!(said.contains(&refused), "{given:?}: {said}");
    }
    // A lab of the environment stands back for a cluster that is named, and for nothing less.
    for (given, meant) in [
        (&["--user", "me"][..], "--user cannot be given beside a lab"),
        (&["--profile", "address"], "there is no profile address"),
        (
            &["--url", "ftp://typed", "--user", "me"],
            "ftp://typed does not begin",
        ),
        (&["--url", "ftp://typed"], "/environment/lab"),
    ] {
        let mut command = evenkeel(folder, &[given, &show].concat());
        command.env("EVENKEEL_LAB", "/environment/lab");
        let said = fails(command);
        assert!(said.contains(meant), "{given:?}: {said}");
    }
    for lab in [&["--lab", "/the/lab"][..], &[]] {
        let mut command = evenkeel(folder, &[lab, &show].concat());
        command.envs([
            ("EVENKEEL_LAB", "/the/lab"),
            ("EVENKEEL_USER", "somebody"),
            ("EVENKEEL_PASSWORD_FILE", "/environment/password"),
            ("EVENKEEL_CA", "/environment/ca"),
        ]);
        let said = fails(command);
        assert!(said.contains("/the/lab"), "{lab:?}: {said}");
    }
}

#[test]
fn an_interrupt_at_a_password_prompt_leaves_the_terminal_as_it_was() {
    let config = tempfile::tempdir().unwrap();
    let terminal = openpty(None, None).unwrap();
    let shows = |fd: &OwnedFd| {
        let flags = tcgetattr(fd).unwrap().local_flags;
        flags.contains(LocalFlags::ECHO)
    };
    assert!(shows(&terminal.slave));
    let args = [
        "--url",
        "https://127.0.0.1:1",
        "--user",
        "me",
        "job",
        "show",
    ];
    let mut command = evenkeel(config.path(), &args);
    command
        .stdin(terminal.slave.try_clone().unwrap())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = Vec::new();
    let mut errors = child.stderr.take().unwrap();
    while !said.ends_with(b"Password of me: ") {
        let mut byte = [0];
        errors.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
    assert!(!shows(&terminal.slave), "what is typed now is a password");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let status = child.wait().unwrap();
    // Whoever runs the tests may have had the signal ignored by all below: the command ends by itself then.
    let by_signal = status.signal() == Some(Signal::SIGINT as i32);
    assert!(by_signal || status.code() == Some(1), "{status}");
    assert!(shows(&terminal.slave));
}

#[test]
fn another_cluster_cannot_be_named_to_the_daemon_of_this_controller() {
    let config = tempfile::tempdir().unwrap();
    let cases: [&[&str]; 6] = [
        &["--url", "https://prod", "cluster", "show"],
        &["cluster", "remove", "n2", "--url", "https://prod"],
        &["--lab", "/lab", "cluster", "show"],
        &["--profile", "prod", "cluster", "show"],
        &["audit", "--local", "--url", "https://prod"],
        &["audit", "--local", "--profile", "prod"],
    ];
    for args in cases {
        let done = evenkeel(config.path(), args).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("cannot be given here"), "{args:?}: {said}");
    }
    let mut asked = evenkeel(config.path(), &["cluster", "show"]);
    asked.env("EVENKEEL_URL", "https://prod");
    let said = fails(asked);
    assert!(!said.contains("cannot be given"), "{said}");
    // What is typed counts more than what the environment says.
    let mut asked = evenkeel(config.path(), &["audit", "--local=/nowhere/local.sock"]);
    asked.env("EVENKEEL_PROFILE", "prod");
    let said = fails(asked);
    assert!(said.contains("/nowhere/local.sock"), "{said}");
}
