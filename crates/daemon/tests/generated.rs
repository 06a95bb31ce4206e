//! The example configuration is one: `evenkeeld --check` reads it as far as it can on this machine.

use std::path::Path;
use std::process::Command;

#[test]
fn the_example_configuration_is_read() {
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../systemd/evenkeeld.toml.example");
    let mut check = Command::new(env!("CARGO_BIN_EXE_evenkeeld"));
    let output = check
        .arg("--config")
        .arg(&example)
        .arg("--check")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // Its certificates are not on this machine: that it looks for them means that the rest was read.
    assert!(!output.status.success());
    assert!(
        said.contains("cannot read /etc/evenkeel/cluster-ca.crt"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}
