//! A package to be staged, and the client that sends it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use bytes::Bytes;
use evenkeel_model::SourceVersions;
use evenkeel_package_store::{BuildOptions, Compression, Recorded, SecretKey, build};
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::{Method, StatusCode, header};

use crate::client::Target;
use crate::load::{now, say};
use crate::{Result, record};

/// Where clients send packages.
pub(crate) const UPLOAD: &str = "/api/cluster/software/upload";

const FILE_BYTES: usize = 8 << 20;
/// What is read and sent at a time.
const CHUNK_BYTES: usize = 256 << 10;
const BOUNDARY: &str = "rest-bench";

/// The key that it is signed with; the record trusts it.
pub(crate) fn key() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

/// Makes a package of so many megabytes unpacked: files of which one half is noise and the other half text.
pub(crate) fn make(file: &Path, megabytes: usize) -> Result<()> {
    let tree = file.with_extension("tree");
    fs::create_dir_all(&tree)?;
    let mut noise = Noise(1);
    for at in 0..(megabytes * 1_000_000).div_ceil(FILE_BYTES) {
        let mut content = File::create(tree.join(format!("image-{at:04}")))?;
        content.write_all(&noise.bytes(FILE_BYTES / 2))?;
        let line = format!("This is line after line of image {at}, as configurations have them.\n");
        content.write_all(&line.as_bytes().repeat(FILE_BYTES / 2 / line.len()))?;
    }
    let options = BuildOptions {
        name: "benchmark".to_owned(),
        version: "9.99.1".parse()?,
        platform: record::platform()?,
        variant: None,
        features: vec![],
        source_versions: SourceVersions::Any,
        checks: vec![],
        manual_steps: vec![],
        firmware: vec![],
        notes: String::new(),
        recorded: Recorded::default(),
        build_time: None,
        compression: Compression::default(),
    };
    let unfinished = file.with_extension("partial");
    let built = build(&tree, &key(), options, &unfinished)?;
    fs::rename(unfinished, file)?;
    fs::remove_dir_all(tree)?;
    say(&[("archive_bytes", built.archive_bytes as f64)])
}

/// Xorshift: noise that is the same in every run.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// Sends it as the API's clients do, and waits until it is proven and durable.
pub(crate) async fn upload(target: Target, package: &Path) -> Result<()> {
    let mut file = File::open(package)?;
    let bytes = file.metadata()?.len();
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"image.tgz\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let length = head.len() as u64 + bytes + tail.len() as u64;
    let mut ends = (Some(head), Some(tail));
    let pieces = stream::iter(std::iter::from_fn(move || next(&mut ends, &mut file)));
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let request = target
        .head(Method::POST)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CONTENT_LENGTH, length);
    let mut sender = target.connect().await?;
    let begin = now();
    let response = sender.send_request(request.body(StreamBody::new(pieces))?);
    let response = response.await?;
    let wall_s = begin.elapsed().as_secs_f64();
    let status = response.status();
    let text = response.into_body().collect().await?.to_bytes();
    if status != StatusCode::ACCEPTED {
        return Err(format!("{status}: {}", String::from_utf8_lossy(&text)).into());
    }
    say(&[("archive_bytes", bytes as f64), ("wall_s", wall_s)])
}

/// The next piece of the form: its head, the file, its tail.
fn next(
    (head, tail): &mut (Option<String>, Option<String>),
    file: &mut File,
) -> Option<std::io::Result<Frame<Bytes>>> {
    if let Some(head) = head.take() {
        return Some(Ok(Frame::data(head.into())));
    }
    let mut chunk = vec![0; CHUNK_BYTES];
    match file.read(&mut chunk) {
        Ok(0) => tail.take().map(|tail| Ok(Frame::data(tail.into()))),
        Ok(count) => {
            chunk.truncate(count);
            Some(Ok(Frame::data(chunk.into())))
        }
        Err(error) => Some(Err(error)),
    }
}
