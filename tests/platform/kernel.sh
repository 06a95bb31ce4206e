#!/bin/bash
# Unpacks Debian's kernel, and packages named beside it, into FOLDER/x, once: for guests under QEMU. Installs nothing.
#   kernel.sh FOLDER [PACKAGE...]
set -euo pipefail
W=$1; shift
for tool in depmod flock apt-get apt-cache dpkg; do
  command -v $tool >/dev/null || { echo "missing: $tool" >&2; exit 77; }
done
mkdir -p "$W/deb" "$W/x"; cd "$W"
exec 9>lock; flock 9
fetch() {
  [ -e "deb/$1.done" ] && return
  rm -rf deb/one; mkdir deb/one
  # Downloads are made by a user of apt's own, who must be able to write here.
  (cd deb/one && apt-get -o APT::Sandbox::User=root download -qq "$1")
  for d in deb/one/*.deb; do dpkg -x "$d" x; done
  touch "deb/$1.done"
}
IMAGE=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image/{print $2}')
for package in "$IMAGE" "$@"; do fetch "$package"; done
KV=$(ls x/lib/modules)
[ -e "x/lib/modules/$KV/modules.dep.bin" ] || depmod -b x "$KV"
