//! NFS clients of the kernel's server, from `/proc/fs/nfsd` (nfsd(7)).

use std::path::Path;

use crate::Host;
use crate::look::{Answer, entries, exists, runs, unavailable};

const NFSD: &str = "/proc/fs/nfsd";

/// One client that keeps state here (NFSv4), from the lines `key: value` of its `info`.
struct Client {
    address: String,
    /// The server cannot call it back: it may not hear of what it must let go.
    cannot_be_called: bool,
}

/// Whether clients mount hard or soft, only they know. Those of version 4 are listed; of version 3 nobody keeps a list.
pub(super) fn hazards(host: &Host) -> Answer<Vec<String>> {
    if !exists(host, "/sys/module/nfsd")? && !exists(host, NFSD)? {
        return Ok(Vec::new());
    }
    let threads = host.read_if_any(format!("{NFSD}/threads"))?;
    match threads.as_deref() {
        None if runs(host, |name| name == "nfsd")? => {
            return Err(unavailable(format!(
                "NFS is served, and {NFSD}, which lists its clients, is not mounted: mount -t nfsd nfsd {NFSD}"
            )));
        }
        // The module is loaded, and no server was ever started.
        None | Some("0") => return Ok(Vec::new()),
        Some(_) => {}
    }
    let clients = clients(host)?;
    let mut hazards = vec![seen(&clients)];
    let silent = clients.iter().filter(|client| client.cannot_be_called);
    hazards.extend(silent.map(|client| {
        format!(
            "NFS client {} cannot be called back by this server",
            client.address
        )
    }));
    Ok(hazards)
}

/// The same sentence for as long as there are clients: who lets it pass does not want to be asked again for each that comes.
fn seen(clients: &[Client]) -> String {
    match clients.is_empty() {
        true => {
            "NFS is served, and whether clients of version 3 mount it hard is not seen from here"
                .to_owned()
        }
        false => "NFS clients have mounted, and whether they did so hard is not seen from here"
            .to_owned(),
    }
}

fn clients(host: &Host) -> Answer<Vec<Client>> {
    let folder = Path::new(NFSD).join("clients");
    if !exists(host, &folder)? {
        return Err(unavailable(
            "this kernel does not list its NFS clients (/proc/fs/nfsd/clients is there since Linux 5.3)",
        ));
    }
    let mut clients = Vec::new();
    for id in entries(host, &folder)? {
        // One that has gone meanwhile is none.
        let Some(info) = host.read_if_any(folder.join(&id).join("info"))? else {
            continue;
        };
        clients.push(read(&info, &id));
    }
    Ok(clients)
}

fn read(info: &str, id: &str) -> Client {
    let value = |key: &str| {
        let mut lines = info.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(str::trim))
    };
    let address = value("address").unwrap_or(id).trim_matches('"').to_owned();
    let callback = value("callback state");
    Client {
        address,
        // Only those of version 4.0 are called at an address of their own; there a wall in between is common.
        cannot_be_called: matches!(callback, Some("DOWN" | "FAULT"))
            && value("minor version") == Some("0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_its_address() {
        let info = "clientid: 0x6d0596d0675df2b3\naddress: \"192.168.122.20:987\"\nstatus: confirmed\n\
                    name: \"Linux NFSv4.2 host\"\nminor version: 0\ncallback state: DOWN\n";
        let client = read(info, "3");
        assert_eq!(client.address, "192.168.122.20:987");
        assert!(client.cannot_be_called);
        assert!(
            !read(
                "address: \"a\"\nminor version: 2\ncallback state: DOWN",
                "3"
            )
            .cannot_be_called
        );
        assert!(
            !read("address: \"a\"\nminor version: 0\ncallback state: UP", "3").cannot_be_called
        );
    }
}
