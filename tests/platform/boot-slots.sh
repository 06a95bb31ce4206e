#!/bin/bash
# Updates of a host with two boot slots under a real loader: a QEMU guest with OVMF and systemd-boot, in which `evenkeeld` runs and an
# operator updates it by `evenkeel image` (guest/day). Each image is a whole slot's tree, in a package.
#
# usage: boot-slots.sh PROGRAMS WORKDIR CASE...
#   PROGRAMS is the folder with evenkeeld and evenkeel, WORKDIR an empty one. One guest goes through the cases, in the order given:
#   broken  version 2-broken does not come up: the loader falls back by itself, and the update is cancelled
#   sick    version 2-sick comes up, but its evenkeeld does not run: the same
#   good    version 2 boots and is marked good, and the power is cut at once; then it boots again (only as the last)
# It prints what the guest says, a line each; WORKDIR/console.log has the whole console, evenkeeld's log included. It installs nothing and says
# what is missing. All that it makes is in WORKDIR; it ends the guest that it starts.
# env: KERNEL folder with boot/vmlinuz-* and lib/modules (default: what kernel.sh unpacks), SYSTEMD_BOOT the loader, LIMIT seconds for all
# (default 1200; all cases take three minutes alone, and eight on a busy machine)
set -euo pipefail
PROGRAMS=$(realpath "$1"); W=$(realpath -m "$2"); shift 2
HERE=$(dirname "$(realpath "$0")")
LIMIT=${LIMIT:-1200}
SYSTEMD_BOOT=${SYSTEMD_BOOT:-/usr/lib/systemd/boot/efi/systemd-bootx64.efi}
OVMF=/usr/share/OVMF
# What `max` has beyond this costs the emulation more than it brings the guest.
CPU=qemu64,+rdrand,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq
mkdir -p "$W"; cd "$W"

fail() { echo "boot-slots: $*" >&2; exit 1; }

missing() {
  local none=() c
  for c in qemu-system-x86_64:qemu-system-x86 sgdisk:gdisk mkfs.vfat:dosfstools mcopy:mtools mke2fs:e2fsprogs busybox:busybox-static \
           cpio:cpio modprobe:kmod depmod:kmod ip:iproute2 lsblk:util-linux strip:binutils; do
    command -v "${c%%:*}" >/dev/null || none+=("${c#*:}")
  done
  [ -f $OVMF/OVMF_CODE_4M.fd ] || none+=(ovmf)
  [ -f "$SYSTEMD_BOOT" ] || none+=(systemd-boot-efi)
  [ ${#none[@]} = 0 ] || fail "missing (Debian packages): ${none[*]}"
  if [ -z "${KERNEL:-}" ]; then
    KERNEL=/tmp/evenkeel-kernel/x
    "$HERE/kernel.sh" /tmp/evenkeel-kernel
  fi
}

initrd() {
  local kv m f; kv=$(basename "$(ls -d "$KERNEL"/lib/modules/*/ | tail -1)")
  [ -f "$KERNEL/lib/modules/$kv/modules.dep.bin" ] || depmod -b "$KERNEL" "$kv"
  mkdir -p ird/{bin,dev,proc,sysroot,lib}; cp "$(command -v busybox)" ird/bin/busybox; cp "$HERE/guest/initrd-init" ird/init
  for m in virtio_pci virtio_blk crc32c_generic ext4 nls_cp437 nls_ascii nls_utf8 vfat efivarfs; do
    modprobe -d "$KERNEL" -S "$kv" --show-depends $m | awk '/^insmod/{print $2}'
  done | awk '!seen[$0]++' | while read -r f; do cp "$f" ird/lib/; basename "$f"; done >ird/order
  (cd ird && find . | cpio -o -H newc --quiet | gzip -1) >initrd.img
}

# A program for a tree, with what it is linked with.
program() {
  install -D -s -m755 "$2" "$1/bin/$(basename "$2")"
  local l; ldd "$2" | awk '{for (i = 1; i <= NF; i++) if ($i ~ /^\//) print $i}' |
    while read -r l; do [ -e "$1$l" ] || install -D -m755 "$(realpath "$l")" "$1$l"; done
}

# The tree that every image begins with: busybox, its init and what that starts, the kernel and its RAM disk.
tree() {
  mkdir -p tree/{bin,sbin,etc/evenkeel,proc,sys,dev,run,tmp,var,boot,slots/a,slots/b}
  cp "$(command -v busybox)" tree/bin/busybox
  local a; for a in $(busybox --list); do [ "$a" = busybox ] || ln -s busybox "tree/bin/$a"; done
  rm -f tree/bin/ip; ln -s ../bin/busybox tree/sbin/init
  program tree "$(command -v ip)"; program tree "$(command -v lsblk)"; program tree "$PROGRAMS/evenkeeld"
  install -m755 "$HERE"/guest/{start,daemon,prove,stop} tree/etc; install -m644 "$HERE/guest/inittab" tree/etc
  echo '127.0.0.1 localhost n1' >tree/etc/hosts; echo 'root:x:0:0::/:/bin/sh' >tree/etc/passwd
  cp "$(ls "$KERNEL"/boot/vmlinuz-* | tail -1)" tree/boot/vmlinuz; cp initrd.img tree/boot/initrd.img
}

# The packages: the version that runs, and one for each case.
packages() {
  local case
  mkdir -p var/{etc,operator}
  "$PROGRAMS/evenkeel" package keygen --out key >/dev/null
  package tree 1 "$W/1.tgz"
  for case in "$@"; do
    case $case in
      good) package tree 2 var/operator/2.tgz; echo 2 ;;
      broken) cp -a tree broken; rm broken/sbin/init broken/bin/evenkeeld; package broken 2-broken var/operator/2-broken.tgz; echo 2-broken ;;
      sick)
        cp -a tree sick; printf '#!/bin/sh\nexit 1\n' >sick/bin/evenkeeld
        package sick 2-sick var/operator/2-sick.tgz; echo 2-sick ;;
      *) fail "there is no case $case" ;;
    esac
  done >var/operator/todo
}
package() { "$PROGRAMS/evenkeel" package build --version "$2" --platform x86_64 --root "$1" --key key -o "$3" >/dev/null; }

# What lies outside the slots: the daemon's state and configuration, and the operator's folder.
var() {
  cp "$HERE/guest/evenkeeld.toml" var/etc; cp key.pub var/operator; install -m755 "$HERE/guest/day" var/operator
  install -s -m755 "$PROGRAMS/evenkeel" var/operator/evenkeel
  (umask 077; echo 'correct horse battery' >var/operator/password)
}

# As an installer leaves it: version 1 in slot a, proven, and nothing in slot b.
disk() {
  local esp=100 slot=200 var=500
  "$PROGRAMS/evenkeel" package extract 1.tgz -C root --trust key.pub >/dev/null
  truncate -s $((1 + esp + slot + slot + var + 2))M disk.img
  sgdisk -o -n1:1M:+${esp}M -t1:ef00 -n2:0:+${slot}M -t2:8304 -n3:0:+${slot}M -t3:8304 -n4:0:+${var}M -t4:8310 disk.img >/dev/null
  mkdir empty; ext4 root a.ext4 $slot; ext4 empty b.ext4 $slot; ext4 var var.ext4 $var
  truncate -s ${esp}M esp.img; mkfs.vfat -F 32 esp.img >/dev/null
  mmd -i esp.img ::/EFI ::/EFI/BOOT ::/loader ::/loader/entries ::/evenkeel-a
  mcopy -i esp.img "$SYSTEMD_BOOT" ::/EFI/BOOT/BOOTX64.EFI
  mcopy -i esp.img root/boot/vmlinuz ::/evenkeel-a/linux; mcopy -i esp.img root/boot/initrd.img ::/evenkeel-a/initrd0
  printf 'timeout 0\ndefault evenkeel-*\n' >t; mcopy -i esp.img t ::/loader/loader.conf
  printf 'title A\nsort-key evenkeel\nversion 1000\nlinux /evenkeel-a/linux\ninitrd /evenkeel-a/initrd0\noptions %s evenkeel.slot=a\n' \
    "$(sed -n '/slots.a\]/,/options/s/^options = "\(.*\)"/\1/p' "$HERE/guest/evenkeeld.toml")" >t
  mcopy -i esp.img t ::/loader/entries/evenkeel-a.conf
  local at=1 part
  for part in esp.img a.ext4 b.ext4 var.ext4; do
    dd if=$part of=disk.img bs=1M seek=$at conv=notrunc,sparse status=none; at=$((at + $(stat -c %s $part) / 1048576)); rm $part
  done
}

ext4() { truncate -s "$3M" "$2"; mke2fs -q -t ext4 -d "$1" "$2"; }

QEMU=
trap '[ -z "$QEMU" ] || kill -KILL "$QEMU" 2>/dev/null || true' EXIT

# The guest until it powers itself off, or says that its power is to be cut, which is done.
guest() {
  rm -f serial; mkfifo serial
  qemu-system-x86_64 -accel tcg,thread=multi,tb-size=256 -cpu $CPU -machine q35 -m 512 -smp 1 -display none -monitor none -serial stdio -nic none \
    -drive if=pflash,unit=0,format=raw,readonly=on,file=$OVMF/OVMF_CODE_4M.fd -drive if=pflash,unit=1,format=raw,file=vars.fd \
    -drive file=disk.img,format=raw,if=none,id=d,cache=writeback -device virtio-blk-pci,drive=d,bootindex=0 </dev/null >serial 2>&1 &
  QEMU=$!
  local line rc; cut=
  exec 9<serial
  while :; do
    IFS= read -r -t 5 -u 9 line && rc=0 || rc=$?
    [ $rc -le 128 ] && [ $rc -ne 0 ] && break
    [ $SECONDS -lt "$LIMIT" ] || fail "the guest did not end within $LIMIT s, see $W/console.log"
    [ $rc = 0 ] || continue
    line=${line//$'\r'/}; printf '%4d %s\n' $SECONDS "$line" >>console.log
    case $line in
      *"UEFI Interactive Shell"*) fail "the firmware found nothing to boot" ;;
      *"EK CUT"*) kill -KILL $QEMU; cut=1; echo CUT; break ;;
      *"EK FAILED"*) fail "${line#*EK FAILED }" ;;
      *"EK "*) echo "${line#*EK }" ;;
      *"Kernel panic"*) echo PANIC ;;
    esac
  done
  exec 9<&-
  wait $QEMU 2>/dev/null && rc=0 || rc=$?
  QEMU=
  [ $rc = 0 ] || [ -n "$cut" ] || fail "QEMU ended with $rc, see $W/console.log"
}

missing
initrd; tree; packages "$@"; var; disk
cp $OVMF/OVMF_VARS_4M.fd vars.fd
guest
[ -z "$cut" ] || guest
