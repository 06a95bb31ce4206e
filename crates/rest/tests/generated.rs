//! `docs/openapi.json` is the document of the API. `cargo xtask generate` writes it.

use std::fs;
use std::path::Path;

#[test]
fn the_openapi_document_is_up_to_date() {
    let mut text = serde_json::to_string_pretty(&evenkeel_rest::openapi()).unwrap();
    text.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("EVENKEEL_WRITE_GENERATED").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/openapi.json is out of date: run `cargo xtask generate`"
    );
}
