//! Clients: known to be none only where the service is not there.

use evenkeel_model::{ClientRiskKind, InventorySettings};
use evenkeel_platform::Inventory;

use crate::tree::{Printed, Tree, why};

#[tokio::test]
async fn without_services_there_are_no_clients() {
    let tree = Tree::new();
    let machine = tree.machine();
    assert_eq!(
        machine.client_hazards().await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(machine.client_risks().await.unwrap(), []);
}

#[tokio::test]
async fn nfs_clients_are_told_and_never_taken_for_hard_mounts() {
    let tree = Tree::new();
    tree.file("/sys/module/nfsd/refcnt", "1");
    let hazards = async || tree.machine().client_hazards().await;
    assert_eq!(hazards().await.unwrap(), Vec::<String>::new());
    tree.file("/proc/90/comm", "nfsd");
    assert!(why(hazards().await).contains("mount -t nfsd nfsd /proc/fs/nfsd"));
    tree.file("/proc/fs/nfsd/threads", "8");
    assert!(why(hazards().await).contains("does not list its NFS clients"));
    tree.file(
        "/proc/fs/nfsd/clients/3/info",
        "address: \"10.0.0.7:876\"\nminor version: 0\ncallback state: DOWN\n",
    );
    let said = hazards().await.unwrap();
    assert_eq!(said.len(), 2);
    assert!(said[0].contains("whether they did so hard is not seen"));
    assert_eq!(
        said[1],
        "NFS client 10.0.0.7:876 cannot be called back by this server"
    );
    tree.file("/proc/fs/nfsd/threads", "0");
    assert_eq!(hazards().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn smb_sessions_of_old_dialects_are_risks() {
    let tree = Tree::new();
    tree.file("/proc/50/comm", "smbd\n");
    let machine = tree.machine();
    assert!(why(machine.client_risks().await).contains("smbstatus is not installed"));
    tree.program("smbstatus");
    // The members of Samba 4.17's JSON that are read (source3/utils/status_json.c).
    let said = r#"{"timestamp": "2026-01-01", "version": "4.17.12", "smb_conf": "/etc/samba/smb.conf", "sessions": {
        "1": {"session_id": "1", "username": "ann", "remote_machine": "10.0.0.7", "session_dialect": "SMB2_10"},
        "2": {"session_id": "2", "username": "bob", "remote_machine": "10.0.0.8", "session_dialect": "SMB3_11"}}}"#;
    let printed = Printed::default().with("smbstatus --processes --json", said);
    let machine = tree.machine_with(printed, InventorySettings::default(), Vec::new());
    let risks = machine.client_risks().await.unwrap();
    assert_eq!(risks.len(), 1);
    assert_eq!(risks[0].kind, ClientRiskKind::OldSmb);
    assert_eq!(risks[0].what, "ann of 10.0.0.7 speaks SMB2_10");
    let older =
        Printed::default().ended("smbstatus --processes --json", 1, "Invalid option --json");
    let machine = tree.machine_with(older, InventorySettings::default(), Vec::new());
    assert!(why(machine.client_risks().await).contains("ended with 1"));
}

#[tokio::test]
async fn san_hosts_that_are_logged_in_are_risks() {
    let tree = Tree::new();
    let group = "/sys/kernel/config/target/iscsi/iqn.2003-01.org.example:data/tpgt_1";
    tree.file("/sys/kernel/config/target/core/alua/lu_gps/x", "");
    tree.file("/sys/kernel/config/target/version", "Target Engine Core");
    tree.file(
        &format!("{group}/acls/iqn.host1/info"),
        "InitiatorName: iqn.host1\nInitiatorAlias: \n",
    );
    tree.file(
        &format!("{group}/acls/iqn.host2/info"),
        "No active iSCSI Session for Initiator Endpoint: iqn.host2\n",
    );
    tree.file(&format!("{group}/dynamic_sessions"), "iqn.host3\n\0");
    tree.file("/sys/kernel/config/nvmet/ports/1/subsystems/nqn.data", "");
    let risks = tree.machine().client_risks().await.unwrap();
    let told: Vec<_> = risks
        .iter()
        .map(|risk| risk.what.split(';').next().unwrap())
        .collect();
    assert_eq!(
        told,
        [
            "iscsi host iqn.host1 is logged in",
            "iscsi host iqn.host3 is logged in",
            "who is connected to NVMe subsystem nqn.data is not told by this kernel, nor whether with paths through both nodes"
        ]
    );
    tree.file(
        "/sys/kernel/debug/nvmet/nqn.data/ctrl1/hostnqn",
        "nqn.host4\n",
    );
    let risks = tree.machine().client_risks().await.unwrap();
    assert!(
        risks[2]
            .what
            .starts_with("NVMe host nqn.host4 is connected to nqn.data")
    );
}
