//! Trees and packages to measure on. Made once and kept; the same machine makes the same ones again.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::step::{cargo, output, run, target};

/// Small files of [`Kind::Small`].
const SMALL_FILES: u64 = 100_000;

/// What a tree is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Programs, libraries and text of this machine's `/usr`: what software images hold.
    Mixed,
    /// Noise: compressed images and the like.
    Incompressible,
    /// 100 000 files of text, up to 8 KiB.
    Small,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Incompressible => "incompressible",
            Self::Small => "small",
        }
    }
}

/// A tree and its packages.
pub(crate) struct Input {
    pub(crate) kind: Kind,
    pub(crate) tree: PathBuf,
    /// As `evenkeel package build` writes it: many gzip members.
    pub(crate) members: PathBuf,
    /// The same, as `gzip -6` packs it: one member.
    pub(crate) single: PathBuf,
}

/// The program that is measured, built for release.
pub(crate) fn build_tool() -> Result<()> {
    let arguments = [
        "build",
        "--quiet",
        "--release",
        "--package",
        "evenkeel-package-store",
        "--example",
        "store_bench",
    ];
    run("building what is measured", cargo().args(arguments))
}

/// A command that runs it.
pub(crate) fn tool() -> Result<Command> {
    let path = target().join("release/examples/store_bench");
    ensure!(path.exists(), "{} was not built", path.display());
    Ok(Command::new(path))
}

/// Makes what is not there yet.
pub(crate) fn prepare(folder: &Path, kind: Kind, megabytes: u64) -> Result<Input> {
    let name = format!("{}-{megabytes}", kind.name());
    let input = Input {
        kind,
        tree: folder.join(&name),
        members: folder.join(format!("{name}.members.tgz")),
        single: folder.join(format!("{name}.single.tgz")),
    };
    if !input.tree.exists() {
        eprintln!("== making the tree {name}");
        let unfinished = folder.join(format!("{name}.partial"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        fs::create_dir_all(&unfinished)?;
        match kind {
            Kind::Mixed => mixed(&unfinished, megabytes * 1_000_000)?,
            Kind::Incompressible => incompressible(&unfinished, megabytes)?,
            Kind::Small => small(&unfinished)?,
        }
        fs::rename(unfinished, &input.tree)?;
    }
    if !input.members.exists() {
        eprintln!("== packing {name}");
        output(tool()?.arg("build").args([&input.tree, &input.members]))?;
    }
    if !input.single.exists() {
        eprintln!("== packing {name} as gzip does");
        let unfinished = folder.join(format!("{name}.partial.tgz"));
        let mut pack = shell("gzip -dc \"$0\" | gzip -6n > \"$1\"");
        output(pack.args([&input.members, &unfinished]))?;
        fs::rename(unfinished, &input.single)?;
    }
    // What the making of it wrote must not burden the first round.
    output(Command::new("sync").arg("-f").arg(folder))?;
    Ok(input)
}

/// Each package, extracted by us and by GNU tar, gives the tree that it was made of.
pub(crate) fn prove(folder: &Path, input: &Input) -> Result<()> {
    eprintln!("== comparing what comes out of {}", input.kind.name());
    let place = folder.join("prove");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    for (name, archive) in [("members", &input.members), ("single", &input.single)] {
        let ours = place.join(name);
        fs::create_dir_all(&ours)?;
        output(tool()?.arg("extract").args([archive, &ours]))?;
        let mut compare = Command::new("diff");
        compare.args(["--recursive", "--no-dereference", "--exclude=.evenkeel"]);
        output(compare.args([&input.tree, &ours]))
            .with_context(|| format!("what comes out of {} differs", archive.display()))?;
    }
    fs::remove_dir_all(&place)?;
    Ok(())
}

/// The same package as an update that SWUpdate installs by inflating it to `output`, signed as Debian's
/// build of it demands. Gives the update and the certificate.
pub(crate) fn swupdate(
    folder: &Path,
    input: &Input,
    output_file: &Path,
) -> Result<(PathBuf, PathBuf)> {
    let place = folder.join(format!("swupdate-{}", input.kind.name()));
    let (update, certificate) = (place.join("bench.swu"), place.join("cert.pem"));
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    fs::copy(&input.single, place.join("payload.gz"))?;
    let digest = output(Command::new("sha256sum").arg(&input.single))?;
    let digest = digest.split(' ').next().context("sha256sum says nothing")?;
    let description = format!(
        r#"software = {{ version = "1"; bench = {{ hardware-compatibility: [ "1" ]; files: ( {{
            filename = "payload.gz"; path = "{}"; compressed = "zlib"; sha256 = "{digest}"; }} ); }}; }};
"#,
        output_file.display()
    );
    fs::write(place.join("sw-description"), description)?;
    let script = "cd \"$0\"
        openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 3650 -subj /CN=bench \\
            -addext extendedKeyUsage=emailProtection 2>/dev/null
        openssl cms -sign -in sw-description -out sw-description.sig -signer cert.pem -inkey key.pem \\
            -outform DER -nosmimecap -binary
        printf 'sw-description\\nsw-description.sig\\npayload.gz\\n' | cpio -o -H crc --quiet > bench.swu
        rm payload.gz";
    output(shell(script).arg(&place)).context("making an update for SWUpdate")?;
    Ok((update, certificate))
}

/// Writes as many bytes as fast as the disk takes them.
pub(crate) fn disk_alone(bytes: u64, place: &Path) -> Command {
    let mut command =
        shell("dd if=/dev/zero of=\"$1/zeros\" bs=1M count=\"$0\" conv=fsync status=none");
    command.arg((bytes >> 20).to_string()).arg(place);
    command
}

/// Bytes of all files in a tree.
pub(crate) fn tree_bytes(tree: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => tree_bytes(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

/// A shell command; its arguments are `$0`, `$1` and so on.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]);
    command
}

/// Copies programs until they are three fifths, then text.
fn mixed(tree: &Path, bytes: u64) -> Result<()> {
    let mut left = [bytes / 5 * 3, bytes / 5 * 2];
    let mut count = 0u64;
    for root in ["/usr/bin", "/usr/lib", "/usr/share", "/usr/include"] {
        copy_some(Path::new(root), tree, &mut left, &mut count)?;
    }
    // A machine with little on it: prose of our own for the rest.
    let mut noise = Noise::new(1);
    let mut rest = left[0] + left[1];
    while rest > 0 {
        let length = rest.min(1_000_000);
        count += 1;
        fs::write(
            tree.join(format!("prose{count}")),
            prose(&mut noise, length),
        )?;
        rest -= length;
    }
    Ok(())
}

/// `left`: bytes still wanted of programs and of anything else.
fn copy_some(from: &Path, tree: &Path, left: &mut [u64; 2], count: &mut u64) -> Result<()> {
    let Ok(listed) = fs::read_dir(from) else {
        return Ok(());
    };
    let mut names: Vec<_> = listed.collect::<Result<_, _>>()?;
    names.sort_by_key(fs::DirEntry::file_name);
    for entry in names {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_some(&entry.path(), tree, left, count)?;
        } else if kind.is_file() {
            let size = entry.metadata()?.len();
            // A single huge file would be most of the tree.
            if size > 64 << 20 || size > left[0].max(left[1]) {
                continue;
            }
            let class = usize::from(!is_program(&entry.path())?);
            if left[class] >= size {
                left[class] -= size;
                *count += 1;
                let folder = tree.join(format!("d{}", *count / 200));
                fs::create_dir_all(&folder)?;
                fs::copy(entry.path(), folder.join(format!("f{count}")))?;
            }
        }
    }
    Ok(())
}

fn is_program(path: &Path) -> Result<bool> {
    let mut magic = [0; 4];
    let n = File::open(path)?.read(&mut magic)?;
    Ok(n == 4 && magic == *b"\x7fELF")
}

fn incompressible(tree: &Path, megabytes: u64) -> Result<()> {
    let mut noise = Noise::new(2);
    let mut left = megabytes;
    while left > 0 {
        let size = left.min(16);
        let mut file = File::create(tree.join(format!("noise{left}")))?;
        for _ in 0..size {
            file.write_all(&noise.bytes(1_000_000))?;
        }
        left -= size;
    }
    Ok(())
}

fn small(tree: &Path) -> Result<()> {
    let mut noise = Noise::new(3);
    for at in 0..SMALL_FILES {
        let folder = tree.join(format!("d{}", at / 250));
        if at % 250 == 0 {
            fs::create_dir_all(&folder)?;
        }
        let length = noise.below(8192);
        fs::write(folder.join(format!("f{at}")), prose(&mut noise, length))?;
    }
    Ok(())
}

fn prose(noise: &mut Noise, length: u64) -> String {
    let mut text = String::new();
    while (text.len() as u64) < length {
        let letters = 2 + noise.below(8);
        // Few enough words that they come again, as in any text.
        let mut word = Noise::new(noise.below(3000));
        text.extend((0..letters).map(|_| char::from(b'a' + word.below(26) as u8)));
        text.push(if noise.below(12) == 0 { '\n' } else { ' ' });
    }
    text.truncate(length as usize);
    text
}

/// Numbers that look random and are the same every time (splitmix64).
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is small.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes());
        words.flatten().take(count).collect()
    }
}
