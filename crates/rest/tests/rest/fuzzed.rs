//! Runs everything that the fuzzing of uploads started from and everything it found through what must hold
//! for any body. `docs/ARCHITECTURE.md` says how to hunt for more.

#[path = "../../../../fuzz/src/multipart.rs"]
mod multipart;

use std::fs;
use std::path::PathBuf;

#[tokio::test]
async fn uploads() {
    let client = crate::support::Client::new();
    let mut ran = 0;
    for kind in ["seeds", "regressions"] {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz");
        let folder: PathBuf = [root, kind, "multipart"].iter().collect();
        let Ok(files) = fs::read_dir(folder) else {
            continue;
        };
        for file in files {
            let path = file.unwrap().path();
            println!("{}", path.display());
            multipart::multipart(&client, &fs::read(path).unwrap()).await;
            ran += 1;
        }
    }
    assert!(ran > 0, "no seeds");
}
