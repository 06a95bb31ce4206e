"""The requests of NetApp Harvest's collector, one after the other. Harvest itself is in Go, in no package index,
and cannot be run here: this repeats what its source sends, and keeps what it would make metrics of.
"""

import threading

import requests

HEADERS = {"Accept": "application/json"}
SOFTWARE = "/api/cluster/software?return_records=true&fields=*&max_records=500"
# What identifies a row: a second one with the same overwrites the first.
KEYS = {
    "status_details": ("name", "state", "node", "start_time"),
    "update_details": ("phase", "state", "node"),
    "validation_results": ("update_check", "status"),
}


def start_up(cluster):
    """What a poller asks before it collects; what it learns."""
    found = cluster.ask("/api/cluster?return_records=true&fields=*", headers=HEADERS)
    assert found.headers["Content-Type"] == "application/json", found.headers
    known = found.json()
    assert known["name"] and known["uuid"], known
    # Of 9.11.1 and later it asks other things.
    version = known["version"]
    assert (version["generation"], version["major"], version["minor"]) == (9, 10, 1), known
    # A 403 would be read as "it has them".
    tables = cluster.ask("/api/cluster/counter/tables?return_records=false", headers=HEADERS)
    assert (tables.status_code, tables.json()["error"]["code"]) == (404, "3"), tables.text
    query = "return_records=true&fields=serial_number%2Csystem_id&max_records=500"
    nodes = cluster.ask(f"/api/cluster/nodes?{query}", headers=HEADERS).json()
    assert nodes["num_records"] == len(nodes["records"]) > 0, nodes
    # Left out where they are not known, which it reads as empty.
    for node in nodes["records"]:
        assert all(node[name] for name in ("serial_number", "system_id") if name in node), node
    return known


class Poller(threading.Thread):
    """Collects every so many seconds, where it would each three minutes, until `finish`. A request that fails is left for the next."""

    def __init__(self, cluster, seconds):
        super().__init__(daemon=True)
        self.cluster, self.seconds = cluster, seconds
        self.over = threading.Event()
        self.pictures, self.away = [], 0

    def run(self):
        while not self.over.wait(self.seconds):
            self.poll()

    def poll(self):
        try:
            answer = self.cluster.ask(SOFTWARE, headers=HEADERS, timeout=30)
        except requests.RequestException:
            self.away += 1
            return
        self.pictures.append(answer)

    def finish(self):
        """Once more, and then all answers in their order."""
        self.over.set()
        self.join(60)
        assert not self.is_alive(), "a poll hangs"
        self.poll()
        return self.pictures


def rows(picture):
    """What it makes metrics of; it leaves out what has no node, and counts one key once."""
    made = {}
    for table, parts in KEYS.items():
        found = picture.get(table, [])
        keys = [tuple(named(row, part) for part in parts) for row in found]
        assert len(keys) == len(set(keys)), f"{table} has rows twice: {keys}"
        made[table] = dict(zip(keys, found))
    return made


def named(row, part):
    value = row[part]
    return value["name"] if part == "node" else value
