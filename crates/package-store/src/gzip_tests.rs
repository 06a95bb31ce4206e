//! The serial reader against flate2's own, and the parallel one against the serial, on whole and mutilated files.

use std::io::{Cursor, Read, Write};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression as Flate, GzBuilder};
use proptest::prelude::*;

use crate::gzip::Serial;
use crate::gzip_write::{Compression, HEADER_BYTES, MEMBER_BYTES, member};
use crate::members::{Inflated, MAX_HINTED_BYTES};

/// Content of every character: text, noise, runs, repetitions near and far.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % bound
    };
    let mut bytes: Vec<u8> = Vec::with_capacity(length + 300);
    while bytes.len() < length {
        let run = 1 + next(300);
        match next(5) {
            0 => bytes.extend((0..run).map(|_| next(256) as u8)),
            1 => bytes.extend((0..run).map(|_| b'a' + (next(4) * next(7)) as u8)),
            2 => bytes.extend(std::iter::repeat_n(next(256) as u8, run)),
            _ if bytes.is_empty() => {}
            _ => {
                let reach = bytes.len().min(1 << (1 + next(16)));
                let distance = 1 + next(reach);
                for _ in 0..run {
                    bytes.push(bytes[bytes.len() - distance]);
                }
            }
        }
    }
    bytes.truncate(length);
    bytes
}

fn gzip(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Flate::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// What was read, and how that ended.
type Outcome = (Vec<u8>, Result<(), String>);

fn serially(file: &[u8], piece: usize) -> Outcome {
    let mut serial = Serial::resume(Slow(Cursor::new(file.to_vec()), piece), 0, true);
    let mut out = Vec::new();
    loop {
        match serial.next() {
            Ok(Some(block)) => out.extend_from_slice(&block),
            Ok(None) => return (out, Ok(())),
            Err(error) => return (out, Err(format!("{error:?}"))),
        }
    }
}

fn in_parallel(file: &[u8]) -> Outcome {
    let mut inflated = Inflated::new(Cursor::new(file.to_vec())).unwrap();
    let mut out = Vec::new();
    let ended = inflated.read_to_end(&mut out);
    (out, ended.map(|_| ()).map_err(|error| format!("{error:?}")))
}

fn by_zlib(file: &[u8]) -> Outcome {
    let mut out = Vec::new();
    let ended = MultiGzDecoder::new(file).read_to_end(&mut out);
    (out, ended.map(|_| ()).map_err(|error| format!("{error:?}")))
}

/// Gives a few bytes at a time, as a network may.
struct Slow(Cursor<Vec<u8>>, usize);

impl Read for Slow {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = out.len().min(self.1);
        self.0.read(&mut out[..n])
    }
}

fn hinted(seed: u64, sizes: &[usize]) -> Vec<u8> {
    let members = sizes.iter().enumerate();
    members
        .flat_map(|(at, size)| {
            member(&content(seed + at as u64, *size), Compression::default()).unwrap()
        })
        .collect()
}

#[derive(Clone, Debug)]
enum Mutation {
    Set { at: usize, to: u8 },
    Cut { at: usize },
    Insert { at: usize, byte: u8 },
    Remove { at: usize },
    Plain { at: usize },
}

fn mutate(file: &mut Vec<u8>, mutation: &Mutation) {
    let place = |at: usize| at % file.len().max(1);
    match *mutation {
        _ if file.is_empty() => {}
        Mutation::Set { at, to } => {
            let at = place(at);
            file[at] = to;
        }
        Mutation::Cut { at } => {
            let at = place(at);
            file.truncate(at);
        }
        Mutation::Insert { at, byte } => {
            let at = place(at);
            file.insert(at, byte);
        }
        Mutation::Remove { at } => {
            let at = place(at);
            file.remove(at);
        }
        // A member without a hint, in front, behind, or amid another.
        Mutation::Plain { at } => {
            let at = match at % 3 {
                0 => 0,
                1 => file.len(),
                _ => place(at),
            };
            file.splice(at..at, gzip(b"without a hint", 6));
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // Headers, where hints are, are hit more often than chance would.
    let at = prop_oneof![any::<usize>(), 0..2 * HEADER_BYTES];
    prop_oneof![
        3 => (at.clone(), any::<u8>()).prop_map(|(at, to)| Mutation::Set { at, to }),
        1 => at.clone().prop_map(|at| Mutation::Cut { at }),
        1 => (at.clone(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert { at, byte }),
        1 => at.clone().prop_map(|at| Mutation::Remove { at }),
        1 => at.prop_map(|at| Mutation::Plain { at }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn inflates_what_others_deflate(
        seed: u64, length in 0usize..400_000, level in 0u32..10, piece in 1usize..70_000
    ) {
        let bytes = content(seed, length);
        let (out, ended) = serially(&gzip(&bytes, level), piece);
        prop_assert_eq!(ended, Ok(()));
        prop_assert!(out == bytes);
    }

    #[test]
    fn takes_and_refuses_what_zlib_does(
        seed: u64, length in 1usize..5_000, level in 0u32..10, at: usize, to: u8, cut in 0usize..4
    ) {
        let mut file = gzip(&content(seed, length), level);
        // The header is another matter: its rules here are stricter.
        let at = 10 + at % (file.len() - 10);
        match cut {
            0 => file.truncate(at),
            _ => file[at] = to,
        }
        let (ours, theirs) = (serially(&file, 1000), by_zlib(&file));
        prop_assert_eq!(ours.1.is_ok(), theirs.1.is_ok(), "{:?} {:?}", ours.1, theirs.1);
        if ours.1.is_ok() {
            prop_assert!(ours.0 == theirs.0);
        } else {
            // How much comes before the error may differ by what is decoded ahead, not in what it is.
            let both = ours.0.len().min(theirs.0.len());
            prop_assert!(ours.0[..both] == theirs.0[..both]);
        }
    }

    #[test]
    fn members_side_by_side_are_members_one_by_one(
        seed: u64,
        sizes in prop::collection::vec(0usize..30_000, 1..12),
        mutations in prop::collection::vec(mutation(), 0..4),
    ) {
        let mut file = hinted(seed, &sizes);
        for mutation in &mutations {
            mutate(&mut file, mutation);
        }
        let serial = serially(&file, 64 << 10);
        let parallel = in_parallel(&file);
        prop_assert_eq!(&parallel.1, &serial.1);
        prop_assert!(parallel.0 == serial.0);
    }
}

/// The size field of the first member says `hint`.
fn lying(mut file: Vec<u8>, hint: u32) -> Vec<u8> {
    file[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&hint.to_le_bytes());
    file
}

#[test]
fn a_hint_that_lies_changes_nothing() {
    let file = hinted(5, &[20_000, 30_000, 10_000]);
    let whole = serially(&file, 64 << 10);
    assert_eq!(whole.1, Ok(()));
    let own = u32::from_le_bytes(*file[HEADER_BYTES - 4..].first_chunk().unwrap());
    for hint in [
        0,
        1,
        27,
        28,
        own - 1,
        own + 1,
        own * 2,
        1 << 20,
        1 << 21,
        u32::MAX,
    ] {
        let parallel = in_parallel(&lying(file.clone(), hint));
        assert_eq!(parallel.1, Ok(()), "{hint}");
        assert!(parallel.0 == whole.0, "{hint}");
    }
}

/// Its hint is right, but it inflates to more than a member of ours: a thread gives up at that bound.
#[test]
fn a_member_that_grows_beyond_its_bound_is_read_piece_by_piece() {
    let bytes = vec![0; 20 * MEMBER_BYTES];
    let file = [
        member(&bytes, Compression::default()).unwrap(),
        hinted(6, &[5_000]),
    ]
    .concat();
    let (out, ended) = in_parallel(&file);
    assert_eq!(ended, Ok(()));
    assert_eq!(out.len(), bytes.len() + 5_000);
    assert!(out[..bytes.len()] == bytes[..]);
}

#[test]
fn headers_with_everything_in_them_are_read() {
    let builder = GzBuilder::new()
        .filename("a name")
        .comment("a comment")
        .extra(vec![7; 300])
        .mtime(1_700_000_000);
    let mut encoder = builder.write(Vec::new(), Flate::best());
    encoder.write_all(b"content").unwrap();
    let file = encoder.finish().unwrap();
    assert_eq!(serially(&file, 3), (b"content".to_vec(), Ok(())));
    assert_eq!(in_parallel(&file), (b"content".to_vec(), Ok(())));
}

#[test]
fn a_header_without_end_is_refused_early() {
    let mut file = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
    file.resize(10 << 20, b'x');
    let (out, ended) = serially(&file, 64 << 10);
    assert!(out.is_empty());
    assert_eq!(ended.unwrap_err(), in_parallel(&file).1.unwrap_err());
}

#[test]
fn whether_a_long_header_is_taken_does_not_hang_on_how_it_comes() {
    let named = |length: usize| {
        let builder = GzBuilder::new()
            .filename(vec![b'n'; length])
            .comment(vec![b'c'; length])
            .extra(vec![7; 65_535]);
        let mut encoder = builder.write(Vec::new(), Flate::best());
        encoder.write_all(b"content").unwrap();
        encoder.finish().unwrap()
    };
    let (taken, refused) = (named(16_000), named(17_000));
    for piece in [7, 1000, 66_000, 1 << 20] {
        assert_eq!(
            serially(&taken, piece),
            (b"content".to_vec(), Ok(())),
            "{piece}"
        );
        serially(&refused, piece).1.unwrap_err();
    }
}

#[test]
fn a_member_of_noise_is_no_bigger_than_what_readers_inflate_at_once() {
    let mut state = 7_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as u8
    };
    let noise: Vec<u8> = (0..MEMBER_BYTES).map(|_| next()).collect();
    let high: Vec<u8> = noise.iter().map(|byte| byte | 0x90).collect();
    for level in [1, 6, 9] {
        let level = Compression::new(level).unwrap();
        for content in [&noise, &high] {
            let member = member(content, level).unwrap();
            assert!(
                member.len() <= MAX_HINTED_BYTES,
                "{level:?}: {}",
                member.len()
            );
            assert!(by_zlib(&member) == (content.clone(), Ok(())));
        }
    }
}
