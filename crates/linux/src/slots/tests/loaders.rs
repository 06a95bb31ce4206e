//! What the loaders do at a start, from their own documentation: models that share no code with the engines. The directory's is the real one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use evenkeel_model::{Digest, Slot};
use sha2::{Digest as _, Sha256};

use super::bench::{Bench, Kind};

const DIRECTORY_SLOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd/directory-slots");

/// A host as an installer leaves it.
pub(super) fn set_up(bench: &Bench) {
    match bench.kind {
        Kind::Directory => {}
        Kind::SystemdBoot => {
            let entry = "title A\nsort-key evenkeel\nversion 1000\nlinux /evenkeel-a/linux\ninitrd /evenkeel-a/initrd0\n\
                         options root=LABEL=slot_a evenkeel.slot=a\n";
            fs::write(bench.at("esp/loader/entries/evenkeel-a.conf"), entry).unwrap();
            fs::write(
                bench.at("esp/loader/loader.conf"),
                "timeout 0\ndefault evenkeel-*\n",
            )
            .unwrap();
            fs::write(bench.at("esp/evenkeel-a/linux"), "boot/vmlinuz of 1").unwrap();
            fs::write(bench.at("esp/evenkeel-a/initrd0"), "boot/initrd.img of 1").unwrap();
        }
        Kind::Grub => {
            let text = "# GRUB Environment Block\nsaved_entry=0\nORDER=A B\nA_OK=1\nA_TRY=0\n";
            let mut block = text.as_bytes().to_vec();
            block.resize(1024, b'#');
            fs::write(bench.at("grub/grubenv"), block).unwrap();
        }
        Kind::Rauc => {
            // Whoever installs a host proves its first image.
            let manifest = fs::read(bench.at("slots/a/.evenkeel/manifest.json")).unwrap();
            let digest = Digest(Sha256::digest(&manifest).into());
            fs::create_dir_all(bench.at("var/evenkeel")).unwrap();
            fs::write(
                bench.at("var/evenkeel/rauc.json"),
                format!("{{\"a\":\"{digest}\"}}"),
            )
            .unwrap();
        }
    }
    assert_eq!(bench.boot(), Some(Slot::A));
}

/// One start: which slot the loader jumps to, having counted.
pub(super) fn choose(bench: &Bench) -> Option<Slot> {
    let slot = match bench.kind {
        Kind::Directory => return directory(bench),
        Kind::SystemdBoot => systemd_boot(bench),
        Kind::Grub => grub(bench),
        Kind::Rauc => bench.rauc.boot(),
    }?;
    run_from(bench, slot);
    Some(slot)
}

/// The kernel's and the mounts' side of a boot.
pub(super) fn run_from(bench: &Bench, slot: Slot) {
    let line = match bench.kind {
        Kind::Rauc => format!("quiet rauc.slot={}", slot.as_str().to_uppercase()),
        Kind::Directory | Kind::SystemdBoot | Kind::Grub => format!("quiet evenkeel.slot={slot}"),
    };
    fs::write(bench.at("proc/cmdline"), line).unwrap();
    // Both trees are mounted wherever they are; / is the one that runs.
    let root = match slot {
        Slot::A => "1 0 8:2 / / rw - ext4 root rw",
        Slot::B => "1 0 8:3 / / rw - ext4 root rw",
    };
    let text = fs::read_to_string(bench.at("proc/self/mountinfo")).unwrap();
    let rest: Vec<&str> = text.lines().skip(1).collect();
    bench.mounts(&[vec![root], rest].concat());
}

/// Whether what the loader jumps to is there: a whole tree, and its own kernel where the loader keeps one.
pub(super) fn holds_image(bench: &Bench, slot: Slot) -> bool {
    let Some(version) = bench.version(slot) else {
        return false;
    };
    if bench.kind != Kind::SystemdBoot {
        return true;
    }
    let on_esp = |file: &str| {
        let path = bench.at(format!("esp/evenkeel-{slot}/{file}"));
        fs::read_to_string(path).unwrap_or_default()
    };
    on_esp("linux") == format!("boot/vmlinuz of {version}")
        && on_esp("initrd0") == format!("boot/initrd.img of {version}")
}

fn directory(bench: &Bench) -> Option<Slot> {
    let output = Command::new(DIRECTORY_SLOTS)
        .arg(bench.at("slots"))
        .output();
    let output = output.expect("a POSIX shell");
    match String::from_utf8_lossy(&output.stdout).trim() {
        "a" => Some(Slot::A),
        "b" => Some(Slot::B),
        _ => None,
    }
}

/// Boot Loader Specification, "Sorting", and Automatic Boot Assessment: the counter is in the name, and is counted before the jump.
fn systemd_boot(bench: &Bench) -> Option<Slot> {
    let dir = bench.at("esp/loader/entries");
    let mut entries: Vec<(bool, u64, String)> = Vec::new();
    for found in fs::read_dir(&dir).unwrap() {
        let name = found.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".conf") else {
            continue;
        };
        let text = fs::read_to_string(dir.join(&name)).unwrap();
        // A torn file is no entry: it names no kernel.
        if !text.contains("\nlinux ") {
            continue;
        }
        let version = text.lines().find_map(|line| line.strip_prefix("version "));
        let used_up = stem
            .rsplit_once('+')
            .is_some_and(|(_, counter)| counter.starts_with('0'));
        entries.push((!used_up, version.unwrap().parse().unwrap(), name));
    }
    entries.sort();
    let (_, _, name) = entries.pop()?;
    let path = dir.join(&name);
    let text = fs::read_to_string(&path).unwrap();
    let selected: Vec<u8> = name
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let variable =
        "sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    fs::write(bench.at(variable), [&[6, 0, 0, 0][..], &selected].concat()).unwrap();
    if let Some(counted) = count_down(&name) {
        // The loader cannot rename to a name that is taken: then it does not count.
        if !dir.join(&counted).exists() {
            fs::rename(&path, dir.join(counted)).unwrap();
        }
    }
    match text.contains("evenkeel.slot=b") {
        true => Some(Slot::B),
        false => Some(Slot::A),
    }
}

fn count_down(name: &str) -> Option<String> {
    let (id, counter) = name.strip_suffix(".conf")?.rsplit_once('+')?;
    let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
    let (left, done): (u32, u32) = (left.parse().ok()?, done.parse().ok()?);
    Some(format!("{id}+{}-{}.conf", left.saturating_sub(1), done + 1))
}

/// `systemd/grub.cfg.example`, by hand: `load_env`, the loop, `save_env`.
fn grub(bench: &Bench) -> Option<Slot> {
    let path: PathBuf = bench.at("grub/grubenv");
    let mut block = String::from_utf8(fs::read(&path).unwrap()).unwrap();
    assert_eq!(block.len(), 1024);
    let value = |block: &str, name: &str| {
        let found = block
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")));
        found.map(str::to_owned)
    };
    let order = value(&block, "ORDER").unwrap_or("A B".to_owned());
    for slot in order.split(' ') {
        let of = |what: &str| value(&block, &format!("{slot}_{what}")).unwrap_or("0".to_owned());
        if of("OK") != "1" || of("TRY") != "0" {
            continue;
        }
        let left: u8 = of("LEFT").parse().unwrap();
        if left > 0 {
            let mut set = |name: String, value: u8| {
                let start = block.find(&format!("{name}=")).unwrap() + name.len() + 1;
                block.replace_range(start..=start, &value.to_string());
            };
            set(format!("{slot}_LEFT"), left - 1);
            set(format!("{slot}_TRY"), u8::from(left == 1));
            fs::write(&path, &block).unwrap();
        }
        return Some(if slot == "A" { Slot::A } else { Slot::B });
    }
    Some(Slot::A)
}
