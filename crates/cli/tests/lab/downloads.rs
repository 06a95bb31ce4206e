//! Packages that the cluster fetches, by daemons that are killed meanwhile.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::harness::{Lab, evenkeel};
use crate::web::Web;

const SECRET: &str = "s3cret-of-the-server";
/// What a killed daemon may not have had on disk: a chunk, and what was on its way to it.
const LOST: usize = 4 << 20;

/// A package that does not compress, as images do not.
fn package(lab: &Lab, version: &str) -> Vec<u8> {
    let tree = lab.dir.join(format!("tree-{version}"));
    fs::create_dir_all(tree.join("etc")).unwrap();
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let content: Vec<u8> = (0..12 << 20).map(|_| noise()).collect();
    fs::write(tree.join("etc/noise"), content).unwrap();
    fs::read(lab.package(version)).unwrap()
}

fn get(lab: &Lab, arguments: &[&str]) -> Child {
    let mut command = evenkeel();
    command.arg("--lab").arg(&lab.dir);
    command.args(["image", "package", "get"]).args(arguments);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(child: Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn until_half_is_here(lab: &Lab) {
    lab.until("half of the package", |lab| {
        let download = lab.json(&["image", "package", "show-download"]);
        let message = download["message"].as_str()?;
        message.contains("progress: 50 %").then_some(())
    });
}

#[test]
fn a_download_goes_on_where_its_killed_daemon_was() {
    let lab = Lab::up(2);
    let file = package(&lab, "2.0");
    let size = file.len();
    let web = Web::serve(file, false);
    web.hold_at(size / 2 + 1);
    let getting = get(&lab, &[&web.url()]);
    until_half_is_here(&lab);
    lab.kill_daemon(&lab.coordinator());
    lab.until("the download to go on", |_| {
        (web.begun().len() > 1).then_some(())
    });
    web.hold_at(size);
    let (done, said) = ended(getting);
    assert!(done, "{said}");
    let begun = web.begun();
    assert_eq!((begun[0], begun.len()), (0, 2), "{begun:?}");
    assert!(begun[1] + LOST > size / 2, "{begun:?} of {size}");
    assert!(web.served() < size + LOST, "{} of {size}", web.served());
    let jobs = lab.json(&["job", "show"]);
    let jobs = jobs["records"].as_array().unwrap();
    let gets = jobs
        .iter()
        .filter(|job| job["description"] == "POST /api/cluster/software/download");
    let states: Vec<_> = gets.map(|job| job["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["success"], "one job, before and after");
    let download = lab.json(&["image", "package", "show-download"]);
    assert_eq!(download["state"], "success");
    let (done, said) = ended(get(&lab, &[&web.url()]));
    assert!(done, "the same package again is success: {said}");
}

#[test]
fn a_download_from_a_server_that_is_down_says_so_on_every_node_and_goes_on() {
    let lab = Lab::up(2);
    let file = package(&lab, "2.0");
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let getting = get(&lab, &[&format!("http://{address}/new.tgz")]);
    let receiver = lab.coordinator();
    for (command, parts) in [
        (
            &["explain"][..],
            &[
                "cannot be reached",
                "left",
                &format!("\"{receiver}\" can reach http"),
            ][..],
        ),
        (
            &["image", "package", "transfers"],
            &["cannot be reached", "left"],
        ),
    ] {
        lab.until("what keeps the download", |lab| {
            let said = lab.ok(command);
            parts.iter().all(|part| said.contains(part)).then_some(())
        });
    }
    let _web = Web::serve_by(TcpListener::bind(address).unwrap(), file, false);
    let (done, said) = ended(getting);
    assert!(done, "{said}");
}

#[test]
fn a_password_is_used_and_left_nowhere() {
    let lab = Lab::up(2);
    let file = package(&lab, "2.0");
    let size = file.len();
    let web = Web::serve(file, true);
    let folder = tempfile::tempdir().unwrap();
    let (right, wrong) = (folder.path().join("right"), folder.path().join("wrong"));
    fs::write(&right, format!("{SECRET}\n")).unwrap();
    fs::write(&wrong, format!("wrong-{SECRET}\n")).unwrap();
    let url = web.url();
    let login = |file: &Path| {
        let file = file.to_str().unwrap().to_owned();
        get(
            &lab,
            &[&url, "--server-user", "me", "--server-password-file", &file],
        )
    };
    let (done, said) = ended(login(&wrong));
    assert!(
        !done && said.contains("10551381") && said.contains("401"),
        "{said}"
    );
    assert_nowhere(&lab, &said);
    // Killed in its middle, it cannot go on: the password went with the daemon.
    web.hold_at(size / 2 + 1);
    let getting = login(&right);
    until_half_is_here(&lab);
    assert_nowhere(&lab, "");
    lab.kill_daemon(&lab.coordinator());
    let (done, said) = ended(getting);
    assert!(!done && said.contains("are not kept anywhere"), "{said}");
    web.hold_at(size);
    let (done, said) = ended(login(&right));
    assert!(done, "{said}");
    assert_nowhere(&lab, &said);
}

/// Looks through every file of the lab, what clients are shown, and the command line of every process.
fn assert_nowhere(lab: &Lab, said: &str) {
    let shown = lab.ok(&["job", "show", "--json"])
        + &lab.ok(&["events"])
        + &lab.ok(&["image", "package", "show-download", "--json"])
        + said;
    assert!(!shown.contains(SECRET), "{shown}");
    let mut files = files_below(&lab.dir);
    for process in fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        files.push(process.path().join("cmdline"));
    }
    for file in files {
        // Gone meanwhile, perhaps.
        let bytes = fs::read(&file).unwrap_or_default();
        let found = String::from_utf8_lossy(&bytes).contains(SECRET);
        assert!(!found, "{} holds the password", file.display());
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map_while(Result::ok)
    {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            Ok(_) | Err(_) => {}
        }
    }
    files
}
