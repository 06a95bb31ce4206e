#!/bin/bash
# Boot slots under a real loader: a QEMU guest with OVMF, systemd-boot and two slots, of which the second is written, activated and
# proven by the binary given here (the example `slots` of evenkeel-platform).
#
# usage: boot-slots.sh BINARY WORKDIR CASE...
#   good    the second slot boots, is marked good, and the power is cut at once; then it boots again
#   broken  its image does not come up: the loader falls back by itself, and the binary says so
#   sick    it comes up and is never marked good: the same
# It installs nothing and says what is missing. All that it makes is in WORKDIR; it ends the guests that it starts.
# env: KERNEL folder with boot/vmlinuz-* and lib/modules (default: what kernel.sh unpacks), SYSTEMD_BOOT the loader, LIMIT seconds for one guest (default 480; a boot takes 12 s alone and 50 on a busy machine)
set -euo pipefail
BINARY=$(realpath "$1"); W=$2; shift 2
HERE=$(dirname "$(realpath "$0")")
LIMIT=${LIMIT:-480}
SYSTEMD_BOOT=${SYSTEMD_BOOT:-/usr/lib/systemd/boot/efi/systemd-bootx64.efi}
OVMF=/usr/share/OVMF
mkdir -p "$W"; cd "$W"

fail() { echo "boot-slots: $*" >&2; exit 1; }

missing() {
  local none=()
  for c in qemu-system-x86_64:qemu-system-x86 sgdisk:gdisk mkfs.vfat:dosfstools mcopy:mtools mke2fs:e2fsprogs busybox:busybox-static \
           cpio:cpio modprobe:kmod depmod:kmod; do
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

# The initial RAM disk: modules, and the root that the kernel's command line names. Its end is a panic, which reboots (panic=5).
initrd() {
  local kv; kv=$(basename "$(ls -d "$KERNEL"/lib/modules/*/ | tail -1)")
  [ -f "$KERNEL/lib/modules/$kv/modules.dep.bin" ] || depmod -b "$KERNEL" "$kv"
  rm -rf ird; mkdir -p ird/{bin,dev,proc,sysroot,lib}; cp "$(command -v busybox)" ird/bin/busybox
  local m; for m in virtio_pci virtio_blk crc32c_generic ext4 nls_cp437 nls_ascii nls_utf8 vfat efivarfs; do
    modprobe -d "$KERNEL" -S "$kv" --show-depends $m | awk '/^insmod/{print $2}'
  done | awk '!seen[$0]++' | while read -r f; do cp "$f" ird/lib/; basename "$f"; done >ird/order
  cat >ird/init <<'I'
#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc p /proc; $B mount -t devtmpfs d /dev
while read m; do $B insmod /lib/$m; done </order
for w in $($B cat /proc/cmdline); do case $w in root=*) R=${w#root=};; esac; done
n=0; while [ $n -lt 50 ] && ! [ -b $R ]; do $B sleep 0.1; n=$((n+1)); done
$B mount -t ext4 $R /sysroot || { echo "EK initrd: cannot mount $R"; exit 1; }
$B mount --move /dev /sysroot/dev; $B umount /proc
exec $B switch_root /sysroot /sbin/init
I
  chmod +x ird/init
  (cd ird && find . | cpio -o -H newc --quiet | gzip -1) >initrd.img
}

# A slot's tree: busybox, the binary with what it is linked with, kernel and RAM disk, and an init that plays the daemon's part.
tree() {
  rm -rf root; mkdir -p root/{bin,sbin,etc,proc,sys,dev,boot,slots/a,slots/b,.evenkeel}
  cp "$(command -v busybox)" root/bin/busybox
  install -s -m755 "$BINARY" root/bin/slots
  local l; ldd "$BINARY" | awk '{for(i=1;i<=NF;i++) if ($i ~ /^\//) print $i}' | while read -r l; do install -D -m755 "$(realpath "$l")" "root$l"; done
  cp "$(ls "$KERNEL"/boot/vmlinuz-* | tail -1)" root/boot/vmlinuz; cp initrd.img root/boot/initrd.img
  cat >root/etc/slots.json <<'J'
{"kind":"systemd_boot","esp":"/boot","entry":"evenkeel","linux":"/boot/vmlinuz","initrd":["/boot/initrd.img"],
 "a":{"tree":"/slots/a","options":"root=/dev/vda2 rw console=ttyS0 quiet panic=5 mitigations=off"},
 "b":{"tree":"/slots/b","options":"root=/dev/vda3 rw console=ttyS0 quiet panic=5 mitigations=off"}}
J
  cat >root/sbin/init <<'I'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc p /proc; mount -t sysfs s /sys; mount -t efivarfs e /sys/firmware/efi/efivars
mount -t vfat -o umask=077 /dev/vda1 /boot; mount -t ext4 /dev/vda2 /slots/a; mount -t ext4 /dev/vda3 /slots/b
say() { echo "EK $*"; }
ours() { say "$1 $(slots /etc/slots.json "$@" 2>&1)"; }
leave() { say "END $1"; cd /; umount /slots/a /slots/b /boot; mount -o remount,ro /; $1 -f; sleep 100; }
case $(cat /proc/cmdline) in *evenkeel.slot=a*) slot=a;; *evenkeel.slot=b*) slot=b;; esac
case=$(cat /boot/case)
say "BOOT slot=$slot manifest=$(cat /.evenkeel/manifest.json) entries=$(ls /boot/loader/entries | tr '\n' ' ')"
ours state
if [ $slot = a ] && ! [ -e /boot/did ]; then
  ours mark-unbootable a
  ours mark-unbootable b
  rm -f /slots/b/.evenkeel/manifest.json
  mkdir -p /slots/b/.evenkeel; cp -a /slots/a/[a-k]* /slots/a/[m-z]* /slots/a/lib* /slots/b/   # all but lost+found and the manifest
  [ $case = broken ] && rm /slots/b/sbin/init
  echo '{"version":"2"}' >/slots/b/.evenkeel/manifest.json; sync
  ours set-default b 3
  touch /boot/did; leave reboot
fi
if [ $slot = b ]; then
  [ $case = sick ] && leave reboot
  if [ -e /boot/proven ]; then ours state; leave poweroff; fi
  touch /boot/proven; sync
  ours mark-good b
  say CUT; sleep 100
fi
ours state
leave poweroff
I
  chmod +x root/sbin/init
}

disk() {
  local mb; mb=$(($(du -sm root | cut -f1) * 13 / 10 + 24)); rm -f base.img a.ext4 b.ext4 esp.img
  truncate -s $((1 + 100 + mb + mb + 2))M base.img
  sgdisk -o -n1:1M:+100M -t1:ef00 -n2:101M:+${mb}M -t2:8304 -n3:$((101 + mb))M:+${mb}M -t3:8304 base.img >/dev/null
  sgdisk -p base.img | grep -q 8304 || fail "sgdisk made no partitions"
  echo '{"version":"1"}' >root/.evenkeel/manifest.json; mke2fs -q -t ext4 -d root a.ext4 ${mb}M
  mkdir -p empty/.evenkeel; mke2fs -q -t ext4 -d empty b.ext4 ${mb}M
  truncate -s 100M esp.img; mkfs.vfat -F 32 esp.img >/dev/null
  mmd -i esp.img ::/EFI ::/EFI/BOOT ::/loader ::/loader/entries ::/evenkeel-a
  mcopy -i esp.img "$SYSTEMD_BOOT" ::/EFI/BOOT/BOOTX64.EFI
  mcopy -i esp.img root/boot/vmlinuz ::/evenkeel-a/linux; mcopy -i esp.img root/boot/initrd.img ::/evenkeel-a/initrd0
  printf 'timeout 0\ndefault evenkeel-*\n' >t; mcopy -i esp.img t ::/loader/loader.conf
  # Slot a as an installer leaves it: proven.
  printf 'title A\nsort-key evenkeel\nversion 1000\nlinux /evenkeel-a/linux\ninitrd /evenkeel-a/initrd0\noptions root=/dev/vda2 rw console=ttyS0 quiet panic=5 mitigations=off evenkeel.slot=a\n' >t
  mcopy -i esp.img t ::/loader/entries/evenkeel-a.conf
  dd if=esp.img of=base.img bs=1M seek=1 conv=notrunc,sparse status=none
  dd if=a.ext4 of=base.img bs=1M seek=101 conv=notrunc,sparse status=none
  dd if=b.ext4 of=base.img bs=1M seek=$((101 + mb)) conv=notrunc,sparse status=none
  rm -f a.ext4 b.ext4 esp.img t
}

QEMU=
trap '[ -z "$QEMU" ] || kill -KILL "$QEMU" 2>/dev/null || true' EXIT

# One guest until it powers itself off, or says that its power is to be cut.
guest() {
  rm -f serial; mkfifo serial
  qemu-system-x86_64 -accel tcg,thread=multi -cpu max -machine q35 -m 512 -smp 1 -display none -monitor none -serial stdio -nic none \
    -drive if=pflash,unit=0,format=raw,readonly=on,file=$OVMF/OVMF_CODE_4M.fd -drive if=pflash,unit=1,format=raw,file=vars.fd \
    -drive file=disk.img,format=raw,if=none,id=d,cache=writeback -device virtio-blk-pci,drive=d,bootindex=0 </dev/null >serial 2>&1 &
  QEMU=$!
  local until=$((SECONDS + LIMIT)) line
  exec 9<serial
  while :; do
    IFS= read -r -t 5 -u 9 line && rc=0 || rc=$?
    [ $rc -le 128 ] && [ $rc -ne 0 ] && break
    [ $SECONDS -lt $until ] || fail "the guest did not end within $LIMIT s, see $W/$1.log"
    [ $rc = 0 ] || continue
    line=${line//$'\r'/}; printf '%4d %s\n' $SECONDS "$line" >>"$1.log"
    case $line in
      *"UEFI Interactive Shell"*) fail "the firmware found nothing to boot" ;;
      *"EK CUT"*) kill -KILL $QEMU; break ;;
      *"EK "* | *"Kernel panic"*) printf '%s: %s\n' "$1" "${line#*EK }" ;;
    esac
  done
  exec 9<&-
  wait $QEMU 2>/dev/null || true
  QEMU=
}

missing
initrd; tree; disk
for case in "$@"; do
  cp --sparse=always base.img disk.img; cp $OVMF/OVMF_VARS_4M.fd vars.fd; rm -f "$case.log"
  echo $case >t; mcopy -o -i disk.img@@1M t ::/case
  guest "$case"
  [ $case != good ] || guest "$case"
  echo "$case: ENTRIES $(mdir -b -i disk.img@@1M ::/loader/entries | sed 's|.*/||' | sort | tr '\n' ' ')"
done
