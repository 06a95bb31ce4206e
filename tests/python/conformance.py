"""Drives a running cluster with the unmodified NetApp Python client, and fails if it can tell the difference.

The cluster must be idle, must not hold the package, and must not run its version. It is left at that
version, without the package. Settings come from the environment:

    EVENKEEL_HOST, EVENKEEL_PORT      the cluster's address
    EVENKEEL_USER, EVENKEEL_PASSWORD  the admin
    EVENKEEL_CA                       PEM file to verify the server with
    EVENKEEL_PACKAGE                  package file
    EVENKEEL_VERSION                  the version in it
    EVENKEEL_TIMEOUT                  seconds for one update to end (default 120)
"""

import os
import sys
import time

# These win over the verification asked for below, in every version of the client.
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ.pop(name, None)

import requests
from netapp_ontap import HostConnection, config
from netapp_ontap.error import NetAppRestError
from netapp_ontap.resources import (
    Cluster,
    Job,
    Node,
    Software,
    SoftwareHistory,
    SoftwarePackage,
    SoftwarePackageDownload,
)

HOST = os.environ["EVENKEEL_HOST"]
PORT = int(os.environ["EVENKEEL_PORT"])
USER = os.environ["EVENKEEL_USER"]
PASSWORD = os.environ["EVENKEEL_PASSWORD"]
CA = os.environ["EVENKEEL_CA"]
PACKAGE = os.environ["EVENKEEL_PACKAGE"]
VERSION = os.environ["EVENKEEL_VERSION"]
TIMEOUT = float(os.environ.get("EVENKEEL_TIMEOUT", "120"))

ENDED = {"completed", "canceled", "failed"}
STANDING = ENDED | {"paused_by_user", "paused_on_error"}
JOB_SECONDS = 60
POLL = 0.2


def connection(password=PASSWORD):
    made = HostConnection(
        HOST, username=USER, password=password, verify=CA, poll_interval=1, poll_timeout=JOB_SECONDS
    )
    # This version of the client has no argument for it.
    made.port = PORT
    return made


def refused(call, code, status=None):
    """The call must fail with this code, or one of these."""
    codes = {str(one) for one in (code if isinstance(code, tuple) else (code,))}
    try:
        call()
    except NetAppRestError as error:
        body = error.response_body if error.response_body is not None else {}
        found = body.get("error", {}).get("code", body.get("code"))
        assert str(found) in codes, f"code {found}, not {code}: {error}"
        assert status in (None, error.status_code), f"status {error.status_code}, not {status}"
        return
    raise AssertionError(f"was not refused with {code}")


def software(fields=None):
    found = Software()
    found.get(**({"fields": fields} if fields else {}))
    return found


def away(error):
    """Whether the error only says that the address is moving."""
    return isinstance(error, requests.exceptions.RequestException) or (
        isinstance(error, NetAppRestError) and error.status_code in (None, 502, 503, 504)
    )


def watch(until, seconds=TIMEOUT):
    """Polls as monitoring does, until the state is one of these. The address may be away in between."""
    end = time.monotonic() + seconds
    seen = []
    while time.monotonic() < end:
        try:
            state = software("state").state
        except Exception as error:  # the client raises whatever its transport does
            if not away(error):
                raise
            time.sleep(POLL)
            continue
        if not seen or seen[-1] != state:
            seen.append(state)
        if state in until:
            return seen
        time.sleep(POLL)
    raise AssertionError(f"no state of {sorted(until)} in {seconds} s, but {seen}")


def persist(call, seconds=TIMEOUT):
    """Calls again while the address is away."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Exception as error:
            if not away(error) or time.monotonic() > end:
                raise
            time.sleep(POLL)


def raw(path, **kwargs):
    url = f"https://{HOST}:{PORT}{path}"
    return requests.get(url, auth=(USER, PASSWORD), verify=CA, timeout=45, **kwargs)


def check_picture():
    """What clients trip over in GET /cluster/software."""
    answer = persist(lambda: raw("/api/cluster/software?fields=*"))
    assert "null" not in answer.text.replace('"null', ""), answer.text
    body = answer.json()
    assert all(node["name"] and node["version"] for node in body["nodes"])
    for name, key in {
        "validation_results": ("update_check", "status"),
        "post_update_checks": ("update_check", "status"),
        "update_details": ("phase", "state", "node"),
        "status_details": ("name", "state", "node", "start_time"),
    }.items():
        rows = body.get(name, [])
        keys = [tuple(str(row.get(part)) for part in key) for row in rows]
        assert len(keys) == len(set(keys)), f"{name} has rows twice: {keys}"
        assert all("node" in row for row in rows if "node" in key), f"{name} without a node"
    for row in body.get("update_details", []):
        for duration in ("estimated_duration", "elapsed_duration"):
            assert isinstance(row.get(duration, 0), int), row
    return body


def strangers():
    with connection(password="wrong"):
        refused(lambda: Cluster().get(), 6691623, 401)


def reading():
    cluster = Cluster()
    cluster.get(fields="version,name,uuid")
    version = cluster.version
    assert (version.generation, version.major, version.minor) == (9, 10, 1), version
    nodes = list(Node.get_collection(fields="name,uuid,ha"))
    assert nodes and all(node.name and node.uuid for node in nodes)
    one = Node(uuid=nodes[0].uuid)
    one.get()
    assert one.name == nodes[0].name
    assert Node.count_collection() == len(nodes)
    paged = [node.name for node in Node.get_collection(max_records=1)]
    assert paged == [node.name for node in nodes], paged
    found = software()
    assert {node.name for node in found.nodes} == {node.name for node in nodes}
    download = SoftwarePackageDownload()
    download.get()
    assert download.state == "not_started"
    refused(lambda: Software().get(fields="no_such_field"), 262197, 400)
    refused(lambda: list(SoftwarePackage.get_collection(no_such="x")), 262179, 400)


def uploading():
    missing = SoftwarePackage(version=VERSION)
    refused(missing.get, 4, 404)
    before = SoftwarePackage.count_collection()
    response = Software().upload(file=f"@{PACKAGE}")
    assert not response.is_err, response
    assert SoftwarePackage.count_collection() == before + 1
    package = SoftwarePackage(version=VERSION)
    package.get()
    assert package.create_time is not None
    listed = [found.version for found in SoftwarePackage.get_collection(fields="*", max_records=1)]
    assert VERSION in listed and len(listed) == before + 1, listed
    found = SoftwarePackage.find(version=VERSION)
    assert found.version == VERSION


def bad_requests():
    # The client takes a value given here for the last known state, and sends nothing.
    refused(lambda: Software(version=VERSION).patch(), 10551872, 400)
    refused(lambda: Software().patch(action="resume"), 10551297)
    absent = Software()
    absent.version = "no such version"
    refused(lambda: absent.patch(validate_only=True), 10551325)


def validating():
    wanted = Software()
    wanted.version = VERSION
    response = wanted.patch(validate_only=True)
    assert not response.is_err, response
    watch(STANDING)
    found = software("state,validation_results")
    assert found.validation_results is not None, "must be there, even when empty"
    errors = [row.issue.message for row in found.validation_results if row.status == "error"]
    assert not errors, errors


def start_update():
    wanted = Software()
    wanted.version = VERSION
    response = wanted.patch(skip_warnings=True, stabilize_minutes=1, hydrate=True)
    assert not response.is_err, response
    # A state of before here would be read as the end of this update.
    state = software("state").state
    assert state not in {"failed", "canceled"}, state
    return state


def pausing_and_canceling():
    start_update()
    again = Software()
    again.version = VERSION
    refused(again.patch, 10551357)
    refused(SoftwarePackage(version=VERSION).delete, 10551347)
    refused(lambda: Software().patch(action="cancel"), 10551524)
    check_picture()
    persist(lambda: Software().patch(action="pause"))
    seen = watch(STANDING)
    assert seen[-1] == "paused_by_user", seen
    body = check_picture()
    assert body["pending_version"] == VERSION, body
    by_body = Software()
    by_body.action = "cancel"
    persist(by_body.patch)
    seen = watch(ENDED)
    assert seen[-1] == "canceled", seen


def updating():
    start_update()
    persist(lambda: Software().patch(action="pause"))
    seen = watch(STANDING)
    assert seen[-1] == "paused_by_user", seen
    persist(lambda: Software().patch(action="resume"))
    seen = watch(ENDED | {"paused_on_error"})
    assert seen[-1] == "completed", seen
    body = check_picture()
    assert body["version"] == VERSION, body["version"]
    assert {node["version"] for node in body["nodes"]} == {VERSION}, body["nodes"]
    phases = {row["phase"] for row in body["update_details"]}
    assert phases == {"Pre-update checks", "Data ONTAP updates", "Post-update checks"}, phases
    assert "pending_version" not in body, body


def history_and_jobs():
    rows = list(SoftwareHistory.get_collection(fields="*", max_records=1))
    done = {row.node.name for row in rows if row.to_version == VERSION and row.state == "successful"}
    assert done == {node.name for node in Node.get_collection()}, rows
    only = list(SoftwareHistory.get_collection(state="successful", to_version=VERSION))
    assert len(only) == len(done), only
    jobs = list(Job.get_collection(fields="*"))
    updates = [job for job in jobs if job.description == "PATCH /api/cluster/software"]
    assert updates and all(job.state in ("success", "failure") for job in jobs), jobs
    one = Job(uuid=updates[0].uuid)
    one.get()
    assert one.start_time is not None and one.message
    refused(Job(uuid="44444444-4444-4444-8444-444444444444").get, 4, 404)


def monitoring():
    """The requests of NetApp Harvest, as it sends them."""
    accept = {"headers": {"Accept": "application/json"}}
    cluster = raw("/api/cluster?return_records=true&fields=*", **accept)
    assert cluster.headers["Content-Type"] == "application/json", cluster.headers
    assert {"name", "uuid", "version"} <= set(cluster.json()), cluster.text
    tables = raw("/api/cluster/counter/tables?return_records=false", **accept)
    # A 403 would be read as "it has them".
    assert (tables.status_code, tables.json()["error"]["code"]) == (404, "3"), tables.text
    query = "return_records=true&fields=serial_number%2Csystem_id&max_records=500"
    nodes = raw(f"/api/cluster/nodes?{query}", **accept).json()
    assert nodes["num_records"] == len(nodes["records"]) > 0, nodes
    query = "return_records=true&fields=*&max_records=500"
    software = raw(f"/api/cluster/software?{query}", **accept).json()
    assert "records" not in software and "_links" not in software, software


def collecting():
    """How the Ansible collection pages: it takes `/api` out of a link and adds `/api/` before it."""
    accept = {"headers": {"Accept": "application/hal+json"}}
    next_path, pages = "/cluster/software/history?max_records=1&fields=*", 0
    while next_path:
        page = raw(f"/api/{next_path}", **accept).json()
        assert page["num_records"] == 1, page
        link = page["_links"].get("next", {}).get("href")
        next_path, pages = link.replace("/api", "") if link else None, pages + 1
    count = raw("/api/cluster/software/history?return_records=false", **accept).json()
    assert pages == count["num_records"] > 0, (pages, count)
    blank = raw("/api/cluster/software/packages?max_records=1024&fields=", **accept)
    assert blank.status_code == 200, blank.text


def deleting():
    response = SoftwarePackage(version=VERSION).delete()
    assert not response.is_err, response
    refused(SoftwarePackage(version=VERSION).get, 4, 404)
    # The second where it was the only one.
    refused(SoftwarePackage(version=VERSION).delete, (10551325, 10551315))


STEPS = [
    strangers,
    reading,
    uploading,
    bad_requests,
    validating,
    pausing_and_canceling,
    updating,
    history_and_jobs,
    monitoring,
    collecting,
    deleting,
]


def main():
    config.CONNECTION = connection()
    for step in STEPS:
        begin = time.monotonic()
        try:
            step()
        except BaseException:
            print(f"{step.__name__}: FAILED after {time.monotonic() - begin:.1f} s", flush=True)
            raise
        print(f"{step.__name__}: ok ({time.monotonic() - begin:.1f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
