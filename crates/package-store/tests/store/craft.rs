//! Archives made by hand, so that each can be wrong in one way.

use std::io::Write;

use evenkeel_model::{
    Attributes, Entry, EntryKind, MANIFEST_FORMAT, MANIFEST_PATH, Manifest, SIGNATURE_PATH,
};
use evenkeel_package_store::SecretKey;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::common::{digest, key, options};

/// One tar entry, as raw as tar allows.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) target: String,
    pub(crate) content: Vec<u8>,
    /// The size in the header, if it is to lie.
    pub(crate) size: Option<u64>,
    /// The size as bytes of the header, if it is not to be octal.
    pub(crate) size_bytes: Option<[u8; 12]>,
}

impl Piece {
    pub(crate) fn new(path: &str, kind: u8) -> Self {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        let (path, target) = (path.as_bytes().to_vec(), String::new());
        Self {
            path,
            kind,
            mode,
            target,
            content: vec![],
            size: None,
            size_bytes: None,
        }
    }

    pub(crate) fn file(path: &str, content: &[u8]) -> Self {
        Self {
            content: content.to_vec(),
            ..Self::new(path, b'0')
        }
    }

    pub(crate) fn link(path: &str, target: &str) -> Self {
        Self {
            mode: 0o777,
            target: target.into(),
            ..Self::new(path, b'2')
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..self.path.len()].copy_from_slice(&self.path);
        old.linkname[..self.target.len()].copy_from_slice(self.target.as_bytes());
        old.linkflag = [self.kind];
        header.set_mode(self.mode);
        header.set_size(self.size.unwrap_or(self.content.len() as u64));
        header.set_mtime(0);
        if let Some(bytes) = self.size_bytes {
            header.as_old_mut().size = bytes;
        }
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// A package in parts: change one, then [`pack`](Self::pack).
pub(crate) struct Craft {
    pub(crate) manifest: Manifest,
    pub(crate) key: SecretKey,
    pub(crate) pieces: Vec<Piece>,
    /// Replaces the signature's text.
    pub(crate) signature: Option<String>,
    /// Leaves the signature out.
    pub(crate) unsigned: bool,
    /// What follows the last entry inside the gzip stream; two zero blocks if nothing is said.
    pub(crate) tail: Vec<u8>,
}

impl Craft {
    /// A good package of a folder, two files and a link.
    pub(crate) fn good() -> Self {
        let pieces = vec![
            Piece::new("d", b'5'),
            Piece::file("d/a", b"first file"),
            Piece::file("d/b", &[b'b'; 3000]),
            Piece::link("link", "d/a"),
        ];
        let entries = pieces.iter().map(entry_of).collect();
        let mut craft = Self {
            manifest: manifest(entries),
            key: key(),
            pieces,
            signature: None,
            unsigned: false,
            tail: vec![0; 1024],
        };
        craft.add_up();
        craft
    }

    pub(crate) fn add_up(&mut self) {
        self.manifest.unpacked_bytes = self
            .manifest
            .entries
            .iter()
            .map(Entry::size)
            .fold(0, u64::saturating_add);
    }

    /// The manifest's piece and the signature's.
    pub(crate) fn head(&self) -> [Piece; 2] {
        let bytes = serde_json::to_vec(&self.manifest).unwrap();
        let signature = self.key.sign(&bytes).to_string();
        let signature = self.signature.clone().unwrap_or(signature);
        [
            Piece::file(MANIFEST_PATH, &bytes),
            Piece::file(SIGNATURE_PATH, signature.as_bytes()),
        ]
    }

    pub(crate) fn pack(&self) -> Vec<u8> {
        let [manifest, signature] = self.head();
        let mut tar = manifest.to_bytes();
        if !self.unsigned {
            tar.extend_from_slice(&signature.to_bytes());
        }
        for piece in &self.pieces {
            tar.extend_from_slice(&piece.to_bytes());
        }
        tar.extend_from_slice(&self.tail);
        gzip(&tar)
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn entry_of(piece: &Piece) -> Entry {
    let kind = match piece.kind {
        b'5' => EntryKind::Directory,
        b'2' => EntryKind::Symlink {
            target: piece.target.clone(),
        },
        b'1' => EntryKind::HardLink {
            target: piece.target.clone(),
        },
        _ => EntryKind::File {
            size: piece.content.len() as u64,
            sha256: digest(&piece.content),
        },
    };
    Entry {
        path: String::from_utf8(piece.path.clone()).unwrap(),
        mode: piece.mode,
        kind,
        attributes: Attributes::default(),
    }
}

fn manifest(entries: Vec<Entry>) -> Manifest {
    let options = options("2.0");
    Manifest {
        format: MANIFEST_FORMAT,
        name: options.name,
        version: options.version,
        platform: options.platform,
        variant: None,
        features: vec![],
        source_versions: options.source_versions,
        build_time: options.build_time.unwrap(),
        unpacked_bytes: 0,
        checks: vec![],
        manual_steps: vec![],
        firmware: vec![],
        notes: String::new(),
        entries,
    }
}
