//! Sending a package: multipart, streamed, with a progress bar.

use std::fs::{self, File};
use std::io::{Cursor, IsTerminal, Read};
use std::path::Path;

use evenkeel_api::Job;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::Client;
use crate::outcome::Stop;

/// Between the parts of the body. Long enough not to occur in a package.
const BOUNDARY: &str = "evenkeel-7f1c2a9d4be84d6c8d1b6c2f0e53a971";

/// Sends the file and waits until every node that is up has the package.
pub(crate) fn upload(client: &Client, path: &Path) -> Result<Job, Stop> {
    let failed = |error| Stop::Failed(format!("cannot read {}: {error}", path.display()));
    // Before it is opened: to open a pipe would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        let text = format!("{} is not a file; name a package", path.display());
        return Err(Stop::Failed(text));
    }
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n",
        quoted(&name)
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let length = head.len() as u64 + size + tail.len() as u64;
    let bar = bar(size, &name);
    let body = Cursor::new(head)
        .chain(bar.wrap_read(file.take(size)))
        .chain(Cursor::new(tail));
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let sent = client.send("/api/cluster/software/upload", &kind, length, body);
    let link = match sent {
        Ok(link) => link,
        Err(error) => {
            bar.abandon();
            return Err(error.into());
        }
    };
    bar.finish_with_message("sent; waiting until every node has it");
    Ok(client.wait_job(&link.job.uuid)?)
}

/// A file's name between quotation marks, as browsers write it.
pub(crate) fn quoted(name: &str) -> String {
    let name = name.replace('"', "%22");
    name.replace('\r', "%0D").replace('\n', "%0A")
}

fn bar(size: u64, name: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        eprintln!("sending {name}, {size} bytes");
        return ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::hidden());
    }
    let style = "{prefix} {bar:32} {bytes}/{total_bytes} {bytes_per_sec} {msg}";
    let style = ProgressStyle::with_template(style).expect("a valid template");
    ProgressBar::new(size)
        .with_style(style)
        .with_prefix(name.to_owned())
}
