//! The example configuration is one: `evenkeeld --check` reads it.

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
    // It names no file that must be there: what is missing is made.
    assert!(output.status.success(), "{said}");
}
