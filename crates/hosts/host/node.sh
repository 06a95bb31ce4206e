#!/bin/bash
# A host's init: pid 1 of its own pid namespace, in mount, uts, ipc and network namespaces of its own.
#
#   ip netns exec NETNS unshare -m -i -u -p -f --mount-proc --kill-child bash node.sh NAME DIR
#
# DIR is the host's disk. What is below DIR/run is gone with every boot; the rest survives a loss of power. SIGKILL of
# this process is that loss: the kernel takes every process of the namespace with it. SIGTERM is a clean shutdown.
set -u
name=$1 dir=$2
hostname "$name"
mount --make-rprivate /

# A boot of its own: everybody in here reads it where Linux says it.
mount --bind "$dir/boot_id" /proc/sys/kernel/random/boot_id

rm -rf "$dir/run"
mkdir -p "$dir"/{run,pacemaker,corosync,etc-corosync,log}
for pair in run:/run pacemaker:/var/lib/pacemaker corosync:/var/lib/corosync etc-corosync:/etc/corosync log:/var/log; do
  mkdir -p "${pair#*:}"
  mount --bind "$dir/${pair%%:*}" "${pair#*:}"
done
mount -t tmpfs tmpfs /dev/shm
# The host's own programs (its fence agent) lie over the machine's.
mount -t overlay overlay -o "lowerdir=$dir/sbin:/usr/sbin" /usr/sbin
mount -t overlay overlay -o "lowerdir=$dir/ocf:/usr/lib/ocf/resource.d" /usr/lib/ocf/resource.d

mkdir -p /run/{crm,resource-agents,corosync,netns,lock} /var/lib/pacemaker/{cib,cores,pengine,blackbox} \
  /var/log/{pacemaker,corosync}
chown -R hacluster:haclient /var/lib/pacemaker /run/crm /var/log/pacemaker
chmod 750 /var/lib/pacemaker /var/lib/pacemaker/*

ip link set lo up
python3 "$dir/echo.py" "$name" >/var/log/echo.out 2>&1 &

export PCMK_logfile=/var/log/pacemaker/pacemaker.log PCMK_debug=no PCMK_logfacility=none HA_logfacility=none
pacemaker= service=
corosync -f >/var/log/corosync.out 2>&1 &
corosync=$!
# SIGTERM: what was started last ends first, as the init system would order it.
stop() {
  [ -n "$service" ] && kill -TERM "$service" 2>/dev/null && wait "$service"
  [ -n "$pacemaker" ] && kill -TERM "$pacemaker" 2>/dev/null && wait "$pacemaker"
  kill -TERM "$corosync" 2>/dev/null && wait "$corosync"
  exit 0
}
trap stop TERM
for _ in $(seq 100); do
  corosync-cfgtool -s >/dev/null 2>&1 && break
  sleep 0.1
done
pacemakerd >/var/log/pacemakerd.out 2>&1 &
pacemaker=$!
if [ -x "$dir/boot" ]; then
  "$dir/boot" >>/var/log/boot.out 2>&1 &
  service=$!
fi
touch "$dir/run/started"
# Reaps whatever is left to it; ends with a signal only.
while :; do
  sleep 3600 &
  wait $!
done
