//! Writes tar headers: ustar, with a pax record where ustar has no room.

use std::collections::BTreeMap;

use evenkeel_model::Owner;

const BLOCK: usize = 512;
const NAME_BYTES: usize = 100;
/// Eleven octal digits.
const MAX_USTAR_SIZE: u64 = 0o777_7777_7777;
/// Seven octal digits.
const MAX_USTAR_ID: u32 = 0o777_7777;

/// What a header says.
pub(crate) struct TarHeader<'a> {
    pub(crate) path: &'a str,
    /// tar's letter for what it is.
    pub(crate) kind: u8,
    pub(crate) mode: u32,
    pub(crate) size: u64,
    /// Target of a link, else empty.
    pub(crate) target: &'a str,
    /// Seconds since the epoch.
    pub(crate) mtime: u64,
    /// `None` is root, for a tree that belongs to who extracts it.
    pub(crate) owner: Option<Owner>,
    pub(crate) xattrs: &'a BTreeMap<String, Vec<u8>>,
}

impl TarHeader<'_> {
    /// The header's blocks, those of its pax record before it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut pax = Vec::new();
        if self.path.len() > NAME_BYTES {
            pax_record(&mut pax, "path", self.path.as_bytes());
        }
        if self.target.len() > NAME_BYTES {
            pax_record(&mut pax, "linkpath", self.target.as_bytes());
        }
        if self.size > MAX_USTAR_SIZE {
            pax_record(&mut pax, "size", self.size.to_string().as_bytes());
        }
        let Owner { uid, gid } = self.owner();
        for (key, id) in [("uid", uid), ("gid", gid)] {
            if id > MAX_USTAR_ID {
                pax_record(&mut pax, key, id.to_string().as_bytes());
            }
        }
        for (name, value) in self.xattrs {
            pax_record(&mut pax, &format!("SCHILY.xattr.{name}"), value);
        }
        let mut bytes = Vec::with_capacity(BLOCK);
        if !pax.is_empty() {
            let size = pax.len() as u64;
            let path = "PaxHeaders/long";
            let header = TarHeader {
                path,
                kind: b'x',
                mode: 0o644,
                size,
                target: "",
                ..*self
            };
            bytes.extend_from_slice(&header.block());
            bytes.extend_from_slice(&pax);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        bytes.extend_from_slice(&self.block());
        bytes
    }

    fn owner(&self) -> Owner {
        self.owner.unwrap_or(Owner { uid: 0, gid: 0 })
    }

    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, room: usize, bytes: &[u8]| {
            let n = bytes.len().min(room);
            block[at..at + n].copy_from_slice(&bytes[..n]);
        };
        put(0, NAME_BYTES, self.path.as_bytes());
        put(100, 8, format!("{:07o}", self.mode).as_bytes());
        let Owner { uid, gid } = self.owner();
        put(108, 8, format!("{:07o}", uid.min(MAX_USTAR_ID)).as_bytes());
        put(116, 8, format!("{:07o}", gid.min(MAX_USTAR_ID)).as_bytes());
        put(
            124,
            12,
            format!("{:011o}", self.size.min(MAX_USTAR_SIZE)).as_bytes(),
        );
        put(
            136,
            12,
            format!("{:011o}", self.mtime.min(MAX_USTAR_SIZE)).as_bytes(),
        );
        put(148, 8, b"        ");
        put(156, 1, &[self.kind]);
        put(157, NAME_BYTES, self.target.as_bytes());
        put(257, 8, b"ustar\x0000");
        // Without a name the number counts, on every machine.
        for (at, id) in [(265, uid), (297, gid)] {
            if id == 0 {
                put(at, 32, b"root");
            }
        }
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }
}

/// Appends `"LENGTH KEY=VALUE\n"`, where the length counts its own digits.
fn pax_record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}
