#!/bin/bash
# Runs the tests of `main.rs` beside this file in a small machine of their own: Debian's kernel under QEMU's software emulation, with
# emulated SCSI disks (scsi_debug), an NVMe drive, arrays and LVM. Nothing is installed on this machine; packages are only unpacked.
#   run.sh TEST-BINARY [FOLDER]     FOLDER (default /tmp/evenkeel-kernel) keeps what was downloaded and unpacked
# Needs: qemu-system-x86_64, kmod, cpio, gzip, util-linux, iproute2, coreutils; about 30 s of one CPU.
set -euo pipefail
BIN=$(readlink -f "${1:?the test binary}") W=${2:-/tmp/evenkeel-kernel} WITHIN=${WITHIN:-240}
HERE=$(dirname "$(readlink -f "$0")")
for tool in qemu-system-x86_64 modprobe cpio gzip lsblk ip timeout ldd; do
  command -v $tool >/dev/null || { echo "missing: $tool" >&2; exit 77; }
done
"$HERE/../../../../tests/platform/kernel.sh" "$W" busybox-static mdadm lvm2 dmsetup libdevmapper1.02.1 libdevmapper-event1.02.1 libaio1
cd "$W"
KV=$(ls x/lib/modules); R=$(mktemp -d "$W/root.XXXXXX"); trap 'rm -rf "$R"' EXIT
mkdir -p "$R"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,run,tmp,etc/lvm,lib,lib64,modules,var/lib/evenkeel}
cp x/bin/busybox "$R/bin/"; cp x/sbin/{mdadm,lvm,dmsetup} "$R/sbin/"; cp "$(command -v lsblk)" "$(command -v timeout)" "$R/usr/bin/"
cp "$(command -v ip)" "$R/usr/sbin/"; cp "$BIN" "$R/guest"; cp "$HERE/init" "$R/init"; chmod +x "$R/init"
for t in lvs vgs pvs pvcreate vgcreate lvcreate vgchange; do ln -s lvm "$R/sbin/$t"; done
for b in "$R"/sbin/{mdadm,lvm,dmsetup} "$R"/usr/bin/lsblk "$R"/usr/bin/timeout "$R"/usr/sbin/ip "$R/guest"; do
  { LD_LIBRARY_PATH=$W/x/lib/x86_64-linux-gnu ldd "$b" 2>/dev/null || true; } | awk '/=> \//{print $3} /^\t\/lib64/{print $1}'
done | sort -u | while read -r l; do case $l in */ld-linux*) cp -L "$l" "$R/lib64/";; *) cp -L "$l" "$R/lib/";; esac; done
for m in nvme sg sd_mod raid1 dm-mod dm-raid ext4 scsi_debug; do
  modprobe -d "$W/x" -S "$KV" --show-depends $m | awk '/^insmod/{print $2}'
done | awk '!seen[$0]++' | while read -r f; do cp "$f" "$R/modules/"; basename "$f"; done > "$R/modules/order"
(cd "$R" && find . | cpio -o -H newc --quiet | gzip -1) > "$R.img"; truncate -s 64M "$R.nvme"
trap 'rm -rf "$R" "$R.img" "$R.nvme" "$R.log"' EXIT
timeout -k 5 "$WITHIN" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -machine q35 -m 1024 -smp 2 -display none -no-reboot -monitor none \
  -serial "file:$R.log" -kernel x/boot/vmlinuz-"$KV" -initrd "$R.img" -append "console=ttyS0 quiet mitigations=off panic=-1" -nic none \
  -drive file="$R.nvme",format=raw,if=none,id=n0,cache=unsafe -device nvme-subsys,id=s0,nqn=evenkeel \
  -device nvme,serial=EVK-NVME-1,subsys=s0,id=c0 -device nvme,serial=EVK-NVME-1,subsys=s0,id=c1 -device nvme-ns,drive=n0,nsid=1,bus=c0 || echo "QEMU ended with $?"
tr -d '\r' < "$R.log"
grep -q '^GUEST-PASSED' "$R.log"
