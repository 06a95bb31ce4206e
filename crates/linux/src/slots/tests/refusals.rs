//! What single engines refuse or cannot tell, and how they say so.

use std::fs;

use evenkeel_model::Slot;

use super::bench::{Bench, Kind, TRIES};
use evenkeel_platform::PlatformError;

const ESP: &str = "4 1 8:1 / /esp rw - vfat esp rw";
const GRUB: &str = "5 1 8:1 / /grub rw - ext4 grub rw";
const TREES: [&str; 3] = [
    "1 0 8:2 / / rw - ext4 root rw",
    "2 1 8:2 / /slots/a rw - ext4 root rw",
    "3 1 8:3 / /slots/b rw - ext4 other rw",
];

async fn unknown(bench: &Bench) -> String {
    match bench.slots().slots().await {
        Err(PlatformError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

async fn refused(bench: &Bench) -> String {
    bench.install(Slot::B, "2");
    match bench.slots().set_default(Slot::B, TRIES).await {
        Err(PlatformError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn set_variable(bench: &Bench, name: &str, value: &str) {
    let text: Vec<u8> = value
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let path = format!("sys/firmware/efi/efivars/{name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
    fs::write(bench.at(path), [&[7, 0, 0, 0][..], &text].concat()).unwrap();
}

#[tokio::test]
async fn a_tree_that_is_not_mounted_is_never_written_to() {
    for kind in [Kind::SystemdBoot, Kind::Grub, Kind::Rauc] {
        let bench = Bench::new(kind);
        bench.mounts(&[TREES[0], TREES[1], ESP, GRUB]);
        let why = unknown(&bench).await;
        assert!(
            why.contains("no file system is mounted at /slots/b"),
            "{why}"
        );
        bench.mounts(&[
            TREES[0],
            TREES[1],
            "3 1 8:2 / /slots/b rw - ext4 root rw",
            ESP,
            GRUB,
        ]);
        let why = unknown(&bench).await;
        assert!(why.contains("show the same file system"), "{why}");
        let root = "1 0 8:3 / / rw - ext4 other rw";
        bench.mounts(&[root, TREES[1], TREES[2], ESP, GRUB]);
        let why = unknown(&bench).await;
        assert!(why.contains("that runs as /"), "{why}");
    }
}

#[tokio::test]
async fn a_read_only_medium_is_said_and_refused() {
    let tree = "3 1 8:3 / /slots/b ro - ext4 other rw";
    for kind in [Kind::SystemdBoot, Kind::Grub, Kind::Rauc] {
        let bench = Bench::new(kind);
        bench.mounts(&[TREES[0], TREES[1], tree, ESP, GRUB]);
        assert!(!bench.slots().slots().await.unwrap().writable);
        let refused = bench.slots().mark_unbootable(Slot::B).await.unwrap_err();
        assert!(!refused.is_transient(), "{refused}");
        assert!(refused.to_string().contains("read-only"), "{refused}");
    }
    for (kind, mount) in [
        (Kind::SystemdBoot, "4 1 8:1 / /esp rw - vfat esp ro"),
        (Kind::Grub, "5 1 8:1 / /grub ro - ext4 grub rw"),
    ] {
        let bench = Bench::new(kind);
        bench.mounts(&[&TREES[..], &[mount]].concat());
        assert!(!bench.slots().slots().await.unwrap().writable);
        assert!(refused(&bench).await.contains("read-only"));
    }
}

#[tokio::test]
async fn what_booted_is_never_guessed() {
    for kind in [Kind::SystemdBoot, Kind::Grub] {
        let bench = Bench::new(kind);
        fs::write(bench.at("proc/cmdline"), "quiet").unwrap();
        let _absent = fs::remove_dir_all(bench.at("sys/firmware"));
        let why = unknown(&bench).await;
        assert!(why.contains("command line"), "{why}");
        fs::write(bench.at("proc/cmdline"), "evenkeel.slot=a evenkeel.slot=b").unwrap();
        let why = unknown(&bench).await;
        assert!(why.contains("several values"), "{why}");
    }
    let bench = Bench::new(Kind::Directory);
    fs::remove_file(bench.at("slots/current")).unwrap();
    let why = unknown(&bench).await;
    assert!(why.contains("whoever starts the host makes"), "{why}");
}

#[tokio::test]
async fn kernel_and_loader_must_agree() {
    let bench = Bench::new(Kind::SystemdBoot);
    set_variable(&bench, "LoaderEntrySelected", "evenkeel-b+2-1.conf");
    let why = unknown(&bench).await;
    assert!(why.contains("the loader that slot b was"), "{why}");
    // The loader alone is believed too: entries that an installer wrote may tell the kernel nothing.
    fs::write(bench.at("proc/cmdline"), "quiet").unwrap();
    set_variable(&bench, "LoaderEntrySelected", "evenkeel-a.conf");
    assert_eq!(bench.slots().slots().await.unwrap().booted, Slot::A);
    let bench = Bench::new(Kind::Rauc);
    fs::write(bench.at("proc/cmdline"), "rauc.slot=B").unwrap();
    let why = unknown(&bench).await;
    assert!(why.contains("rauc.slot=B"), "{why}");
}

#[tokio::test]
async fn a_default_by_name_would_never_fall_back() {
    let bench = Bench::new(Kind::SystemdBoot);
    fs::write(bench.at("esp/loader/loader.conf"), "default evenkeel-b*\n").unwrap();
    let why = refused(&bench).await;
    assert!(
        why.contains("loader.conf makes slot b the default"),
        "{why}"
    );
    let bench = Bench::new(Kind::SystemdBoot);
    set_variable(&bench, "LoaderEntryDefault", "evenkeel-a.conf");
    let why = refused(&bench).await;
    assert!(why.contains("LoaderEntryDefault makes slot a"), "{why}");
}

#[tokio::test]
async fn what_the_loader_takes_before_the_slots_is_said() {
    let bench = Bench::new(Kind::SystemdBoot);
    let foreign = bench.at("esp/loader/entries/debian.conf");
    fs::write(&foreign, "sort-key debian\nversion 6.1\nlinux /vmlinuz\n").unwrap();
    assert_eq!(bench.slots().slots().await.unwrap().default, Slot::A);
    fs::write(bench.at("esp/loader/loader.conf"), "timeout 3\n").unwrap();
    let why = unknown(&bench).await;
    assert!(why.contains("debian.conf before any slot"), "{why}");
    fs::write(&foreign, "linux /vmlinuz\n").unwrap();
    assert_eq!(bench.slots().slots().await.unwrap().default, Slot::A);
    fs::create_dir_all(bench.at("esp/EFI")).unwrap();
    fs::write(bench.at("esp/EFI/Linux"), "a torn folder").unwrap();
    let why = unknown(&bench).await;
    assert!(why.contains("EFI/Linux cannot be read"), "{why}");
    fs::remove_file(bench.at("esp/EFI/Linux")).unwrap();
    fs::create_dir(bench.at("esp/EFI/Linux")).unwrap();
    assert_eq!(bench.slots().slots().await.unwrap().default, Slot::A);
    fs::write(bench.at("esp/EFI/Linux/x.efi"), "").unwrap();
    let why = unknown(&bench).await;
    assert!(why.contains("evenkeel-*"), "{why}");
}

#[tokio::test]
async fn a_call_for_the_next_boot_alone_counts_as_the_default() {
    let bench = Bench::new(Kind::SystemdBoot);
    bench.update().await;
    set_variable(&bench, "LoaderEntryOneShot", "evenkeel-a.conf");
    assert_eq!(bench.slots().slots().await.unwrap().default, Slot::A);
    set_variable(&bench, "LoaderEntryOneShot", "rescue.conf");
    let why = unknown(&bench).await;
    assert!(why.contains("rescue.conf"), "{why}");
}

#[tokio::test]
async fn a_menu_that_waits_is_seen() {
    let bench = Bench::new(Kind::SystemdBoot);
    let slots = bench.slots();
    set_variable(&bench, "LoaderConfigTimeoutOneShot", "menu-force");
    let settings = slots.boot_settings().await.unwrap();
    assert!(settings.autoboot && settings.stops_in_menu);
    fs::write(bench.at("esp/loader/loader.conf"), "timeout menu-force\n").unwrap();
    assert!(!slots.boot_settings().await.unwrap().autoboot);
    set_variable(&bench, "LoaderConfigTimeout", "5");
    assert!(slots.boot_settings().await.unwrap().autoboot);
}

#[tokio::test]
async fn where_grub_cannot_write_nothing_is_tried() {
    for (mount, why) in [
        ("5 1 8:1 / /grub rw - btrfs grub rw", "it lies on btrfs"),
        ("5 1 8:1 / /grub rw - zfs grub rw", "it lies on zfs"),
        (
            "5 1 253:0 / /grub rw - ext4 grub rw",
            "mapped device (LVM-x)",
        ),
        ("5 1 9:0 / /grub rw - ext4 grub rw", "software RAID"),
    ] {
        let bench = Bench::new(Kind::Grub);
        fs::create_dir_all(bench.at("sys/dev/block/9:0/md")).unwrap();
        fs::create_dir_all(bench.at("sys/dev/block/253:0/dm")).unwrap();
        fs::write(bench.at("sys/dev/block/253:0/dm/uuid"), "LVM-x\n").unwrap();
        bench.mounts(&[&TREES[..], &[mount]].concat());
        let before = fs::read(bench.at("grub/grubenv")).unwrap();
        let said = refused(&bench).await;
        assert!(
            said.contains(why) && said.contains("GRUB cannot write"),
            "{said}"
        );
        assert_eq!(fs::read(bench.at("grub/grubenv")).unwrap(), before);
        // Known before an update begins.
        assert!(!bench.slots().slots().await.unwrap().writable, "{mount}");
    }
}

#[tokio::test]
async fn a_loader_with_no_slot_left_is_mended_by_proving_the_running_one() {
    let bench = Bench::new(Kind::Rauc);
    while bench.rauc.boot().is_some() {}
    // No slot is left to its loader: what runs is all that can be said.
    let state = bench.slots().slots().await.unwrap();
    assert_eq!(state.default, state.booted);
    assert!(!state.slot(state.booted).health.is_bootable());
    bench.slots().mark_good(state.booted).await.unwrap();
    assert!(bench.slots().slots().await.unwrap().a.health.is_bootable());
}

#[tokio::test]
async fn damage_is_said() {
    let bench = Bench::new(Kind::Directory);
    fs::write(bench.at("slots/state"), "default=b\n").unwrap();
    assert!(unknown(&bench).await.contains("is damaged"));
    let bench = Bench::new(Kind::Grub);
    fs::write(bench.at("grub/grubenv"), "ORDER=A B\n").unwrap();
    assert!(unknown(&bench).await.contains("1024"));
    let bench = Bench::new(Kind::Rauc);
    fs::write(bench.at("var/evenkeel/rauc.json"), "{").unwrap();
    assert!(unknown(&bench).await.contains("is damaged"));
}
