//! Block devices and what stands on what, from `/sys/class/block` (Documentation/ABI/stable/sysfs-block of the kernel).
//! Devices are known by the kernel's name here: `sda`, `sda1`, `md0`, `dm-3`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::Host;
use crate::look::{Answer, entries, exists, link_name, unavailable};

/// Nothing real is stacked higher: what is, goes round in a circle.
const DEPTH_MAX: usize = 16;

/// The folder of a device.
pub(crate) fn folder(name: &str) -> PathBuf {
    PathBuf::from("/sys/class/block").join(name)
}

/// All devices.
pub(crate) fn names(host: &Host) -> Answer<Vec<String>> {
    entries(host, "/sys/class/block")
}

/// The kernel's name of a device, whatever links lead to it. It is given by a path, or as `mount` and the resource agent for
/// filesystems take it too (mount(8)): `UUID=…`, `-U …`, `LABEL=…`, `-L …`.
pub(crate) fn resolve(host: &Host, device: &str) -> Answer<Option<String>> {
    let device = &path_of(device);
    if let Some(name) = link_name(host, device)?
        && exists(host, folder(&name))?
    {
        return Ok(Some(name));
    }
    // Without udev the names of device mapper are no links.
    let Some(mapped) = device.strip_prefix("/dev/mapper/") else {
        return Ok(None);
    };
    for name in names(host)? {
        if host.read_if_any(folder(&name).join("dm/name"))?.as_deref() == Some(mapped) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// udev's link for a device that is given by a tag.
fn path_of(device: &str) -> String {
    const TAGS: [(&[&str], &str); 4] = [
        (&["UUID=", "--uuid=", "--uuid", "-U"], "by-uuid"),
        (&["LABEL=", "--label=", "--label", "-L"], "by-label"),
        (&["PARTUUID="], "by-partuuid"),
        (&["PARTLABEL="], "by-partlabel"),
    ];
    for (words, folder) in TAGS {
        if let Some(value) = words.iter().find_map(|word| device.strip_prefix(word)) {
            let value = value.trim().trim_matches('"');
            return format!("/dev/disk/{folder}/{}", escaped(value));
        }
    }
    device.to_owned()
}

/// As udev writes a value into a name: all but letters, digits and a few signs by their numbers.
fn escaped(value: &str) -> String {
    let mut name = String::new();
    for c in value.chars() {
        match c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii() {
            true => name.push(c),
            false => name.push_str(&format!("\\x{:02x}", u32::from(c))),
        }
    }
    name
}

/// The same for one that must be there.
pub(crate) fn must_resolve(host: &Host, device: &str) -> Answer<String> {
    resolve(host, device)?.ok_or_else(|| unavailable(format!("{device} is no block device here")))
}

/// The disk that a partition is part of; anything else is whole by itself.
pub(crate) fn whole(host: &Host, name: &str) -> Answer<String> {
    if !exists(host, folder(name).join("partition"))? {
        return Ok(name.to_owned());
    }
    // The entry is a link: its disk is the folder above what it leads to.
    let real = std::fs::canonicalize(host.path(folder(name)));
    let real = real.map_err(|error| unavailable(format!("partition {name}: {error}")))?;
    let disk = real.parent().and_then(|disk| disk.file_name());
    disk.map(|disk| disk.to_string_lossy().into_owned())
        .ok_or_else(|| unavailable(format!("the disk of partition {name} is not found")))
}

/// A device and all that it stands on, whole disks of partitions included.
pub(crate) fn stack(host: &Host, name: &str) -> Answer<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut next = vec![name.to_owned()];
    for _ in 0..DEPTH_MAX {
        let mut below = Vec::new();
        for name in next {
            let whole = whole(host, &name)?;
            below.extend(entries(host, folder(&name).join("slaves"))?);
            if whole != name {
                below.extend(entries(host, folder(&whole).join("slaves"))?);
            }
            found.insert(whole);
            found.insert(name);
        }
        below.retain(|name| !found.contains(name));
        if below.is_empty() {
            return Ok(found);
        }
        next = below;
    }
    Err(unavailable(format!(
        "what {name} stands on has no end in /sys/class/block"
    )))
}

/// The kernel's RAID arrays in a stack.
pub(crate) fn arrays(host: &Host, stack: &BTreeSet<String>) -> Answer<Vec<String>> {
    let mut arrays = Vec::new();
    for name in stack {
        if exists(host, folder(name).join("md"))? {
            arrays.push(name.clone());
        }
    }
    Ok(arrays)
}

/// Who made a device of device mapper, by the beginning of its uuid ("LVM-…", "mpath-…"); none for other devices.
pub(crate) fn mapper(host: &Host, name: &str) -> Answer<Option<String>> {
    host.read_if_any(folder(name).join("dm/uuid"))
}

/// Major and minor number, as in `8:16`.
pub(crate) fn dev(host: &Host, name: &str) -> Answer<String> {
    host.read(folder(name).join("dev"))
}
