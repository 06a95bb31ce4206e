//! The package goes: not while Pacemaker needs its agent, then but for what it knows, and at last all of it.

use crate::container::Container;
use crate::{is_back, write};

/// What stands for Pacemaker's configuration with a resource of the agent's in it, on a node that stands by.
const CIBADMIN: &str =
    "#!/bin/sh\n[ \"$*\" = '--query --local --xpath //primitive[@provider=\"evenkeel\"]' ]\n";

/// On the node that sits, and on its stand-in. The daemon runs on as if nothing had been asked.
pub(crate) fn is_refused_with_the_record_in_pacemaker(host: &Container) {
    let pid = host.property("evenkeeld", "MainPID");
    let is_refused = || {
        let refused = host.refuses("dpkg -r evenkeel 2>&1");
        assert!(refused.contains("out of Pacemaker first"), "{refused}");
        assert!(!refused.contains("restarted later"), "{refused}");
        host.runs("ls /usr/bin/evenkeeld");
        let (_, restart) = host.tries("systemctl is-active evenkeel-restart");
        assert_eq!(restart.trim(), "inactive");
    };
    host.runs("echo /srv/pool0/evenkeel/record.db >/run/evenkeel/record-seat");
    is_refused();
    host.runs("rm /run/evenkeel/record-seat");
    write(host, "usr/sbin/cibadmin", CIBADMIN);
    host.runs("chmod 755 /usr/sbin/cibadmin");
    is_refused();
    host.runs("rm /usr/sbin/cibadmin");
    assert_eq!(host.property("evenkeeld", "MainPID"), pid);
    assert_eq!(host.property("evenkeeld", "ActiveState"), "active");
    // One that was stopped stays stopped.
    host.runs("systemctl stop evenkeeld && touch /run/evenkeel/record-seat");
    is_refused();
    assert_eq!(host.property("evenkeeld", "ActiveState"), "inactive");
    host.runs("rm /run/evenkeel/record-seat && systemctl start evenkeeld");
    is_back(host);
}

pub(crate) fn is_removed(host: &Container, package: &str) {
    host.runs("dpkg -r evenkeel 2>&1");
    host.refuses("systemctl is-active evenkeeld");
    host.runs(
        "ls /etc/evenkeel/evenkeeld.toml /var/lib/evenkeel/pki/node.key /var/lib/evenkeel/node.db",
    );
    host.refuses("ls /usr/bin/evenkeeld /run/evenkeel");
    // Its boots are complete without it.
    let required = "/etc/systemd/system/boot-complete.target.requires/evenkeel-boot-good.service";
    host.refuses(&format!("ls {required}"));
    host.runs("systemctl stop boot-complete.target; systemctl start boot-complete.target");
    host.runs(&format!("dpkg -i {package} 2>&1"));
    host.runs(&format!(
        "ls {required} && systemctl is-enabled evenkeel-boot-good"
    ));
    is_back(host);
}

/// Where its data have a file system of their own, which stays.
pub(crate) fn is_purged(host: &Container) {
    host.runs(
        "systemctl stop evenkeeld && mv /var/lib/evenkeel /srv/data && mkdir /var/lib/evenkeel && \
         mount -t tmpfs data /var/lib/evenkeel && cp -a /srv/data/. /var/lib/evenkeel && \
         systemctl start evenkeeld",
    );
    is_back(host);
    host.runs("dpkg -P evenkeel 2>&1");
    host.runs("mountpoint /var/lib/evenkeel");
    assert_eq!(host.runs("ls -A /var/lib/evenkeel"), "");
    host.runs("umount /var/lib/evenkeel && rmdir /var/lib/evenkeel");
    let left = host.runs(
        "find / -xdev \\( -path /proc -o -path /sys -o -path /srv -o -path /slots -o -path /var/log/journal \\) -prune -o -iname '*evenkeel*' -print",
    );
    assert_eq!(left, "", "something is left");
    host.refuses("getent passwd evenkeel-check");
    let (_, failed) = host.tries("systemctl --failed --no-legend --plain | grep -i evenkeel");
    assert_eq!(failed, "");
}
