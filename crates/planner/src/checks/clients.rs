//! Checks on clients that a takeover could disturb.

use evenkeel_model::ClientRiskKind;

use super::collect::Collector;

const NFS: &str = "NFS mounts";
const CIFS: &str = "CIFS compatibility status check";
const SAN: &str = "SAN LIF association";

pub(super) fn clients(findings: &mut Collector<'_>) {
    findings.each(
        NFS,
        |seen| &seen.client_hazards,
        |findings, node, hazards| {
            for hazard in hazards {
                let issue = format!("A client of node \"{node}\" may be disturbed: {hazard}.");
                let about = format!("{node} {hazard}");
                findings.warning(NFS, about, issue, "Use NFS hard mounts, if possible.");
            }
        },
    );
    risks(
        findings,
        CIFS,
        ClientRiskKind::OldSmb,
        "Move the client to SMB 3 with continuously available shares, or close its session first.",
    );
    risks(
        findings,
        SAN,
        ClientRiskKind::SinglePath,
        "Log the host in at both partners, and let it use multipathing.",
    );
}

fn risks(findings: &mut Collector<'_>, check: &str, kind: ClientRiskKind, action: &str) {
    findings.each(
        check,
        |seen| &seen.client_risks,
        |findings, node, risks| {
            for risk in risks.iter().filter(|risk| risk.kind == kind) {
                let what = &risk.what;
                let issue = format!("A client of node \"{node}\" may be disturbed: {what}.");
                findings.warning(check, format!("{node} {what}"), issue, action);
            }
        },
    );
}
