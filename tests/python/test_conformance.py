"""The unmodified NetApp Python client, of the API's own release and of a late one, against a real cluster.

The tests are one story and run in this order: a package comes in, the cluster is updated to it, the
package goes.
"""

import time

import pytest
import requests
from netapp_ontap import HostConnection, config
from netapp_ontap.error import NetAppRestError
from netapp_ontap.resources import (
    Cluster,
    FirmwareHistory,
    Job,
    Node,
    Software,
    SoftwareHistory,
    SoftwarePackage,
    SoftwarePackageDownload,
)

ENDED = {"completed", "canceled", "failed"}
STANDING = ENDED | {"paused_by_user", "paused_on_error"}
# Bounds, in seconds.
UPDATE_SECONDS = 120
JOB_SECONDS = 60
POLL = 0.2


@pytest.fixture(autouse=True)
def client(cluster):
    """The connection that the client uses when it is given none."""
    config.CONNECTION = connection(cluster, cluster.password)


def connection(cluster, password):
    made = HostConnection(
        cluster.host,
        username=cluster.user,
        password=password,
        verify=cluster.ca,
        poll_interval=1,
        poll_timeout=JOB_SECONDS,
    )
    # This version of the client has no argument for it.
    made.port = cluster.port
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


def watch(until, seconds=UPDATE_SECONDS):
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


def persist(call, seconds=UPDATE_SECONDS):
    """Calls again while the address is away."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Exception as error:
            if not away(error) or time.monotonic() > end:
                raise
            time.sleep(POLL)


def check_picture(cluster):
    """What clients trip over in GET /cluster/software."""
    answer = persist(lambda: cluster.ask("/api/cluster/software?fields=*"))
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


def test_strangers(cluster):
    with connection(cluster, "wrong"):
        refused(lambda: Cluster().get(), 6691623, 401)


def test_reading(cluster):
    found = Cluster()
    found.get(fields="version,name,uuid")
    version = found.version
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
    assert list(FirmwareHistory.get_collection()) == [] and FirmwareHistory.count_collection() == 0
    refused(lambda: Software().get(fields="no_such_field"), 262197, 400)
    refused(lambda: list(SoftwarePackage.get_collection(no_such="x")), 262179, 400)


def test_uploading(cluster):
    missing = SoftwarePackage(version=cluster.version)
    refused(missing.get, 4, 404)
    before = SoftwarePackage.count_collection()
    response = Software().upload(file=f"@{cluster.package}")
    assert not response.is_err, response
    assert SoftwarePackage.count_collection() == before + 1
    package = SoftwarePackage(version=cluster.version)
    package.get()
    assert package.create_time is not None
    listed = [found.version for found in SoftwarePackage.get_collection(fields="*", max_records=1)]
    assert cluster.version in listed and len(listed) == before + 1, listed
    found = SoftwarePackage.find(version=cluster.version)
    assert found.version == cluster.version
    # The client makes one string of several conditions, and encodes it in its own way.
    quoted = {"version": f'"{cluster.version}"|none*', "create_time": ">=2019-01-01"}
    found = list(SoftwarePackage.get_collection(order_by="create_time desc", **quoted))
    assert [package.version for package in found] == [cluster.version], found
    assert list(SoftwarePackage.get_collection(version=f"!{cluster.version}")) == listed_but(cluster)
    # The client writes a blank in a path as a plus, and a plus as what stands for it.
    refused(SoftwarePackage(version="no such + version").get, 4, 404)
    # Without the `@` it sends the words themselves.
    with pytest.raises(NetAppRestError, match="gzip"):
        Software().upload(file="no package")
    assert SoftwarePackage.count_collection() == before + 1


def listed_but(cluster):
    """Packages of earlier tests of a cluster that was given."""
    return [one for one in SoftwarePackage.get_collection() if one.version != cluster.version]


def test_bad_requests(cluster):
    # Nor does it send what has not changed since it was read.
    unchanged = software("version")
    unchanged.version = unchanged.version
    refused(unchanged.patch, 10551872, 400)
    # The client takes a value given here for the last known state, and sends nothing.
    refused(lambda: Software(version=cluster.version).patch(), 10551872, 400)
    refused(lambda: Software().patch(action="resume"), 10551297)
    absent = Software()
    absent.version = "no such version"
    refused(lambda: absent.patch(validate_only=True), 10551325)


def test_validating(cluster):
    wanted = Software()
    wanted.version = cluster.version
    response = wanted.patch(validate_only=True)
    assert not response.is_err, response
    watch(STANDING)
    found = software("state,validation_results")
    assert found.validation_results is not None, "must be there, even when empty"
    errors = [row.issue.message for row in found.validation_results if row.status == "error"]
    assert not errors, errors


def a_pair():
    """A node and its partner; none on a cluster of one node."""
    nodes = list(Node.get_collection(fields="name,ha"))
    if len(nodes) == 1:
        pytest.skip("a cluster of one node has no pairs")
    return [nodes[0].name, nodes[0].ha.partners[0].name]


def test_choosing_nodes(cluster):
    node, partner = a_pair()
    before = software("state,validation_results").to_dict()

    def named(*names, **options):
        wanted = Software()
        wanted.version = cluster.version
        return wanted.patch(nodes_to_update=",".join(names), force_rolling=True, **options)

    for options in ({}, {"estimate_only": True}):
        refused(lambda: named(node, **options), 10551368, 400)
        refused(lambda: named(node, partner, "nobody", **options), 262197, 400)
    assert software("state,validation_results").to_dict() == before, "a refusal changes nothing"


def test_estimating(cluster):
    before = software("state,elapsed_duration,pending_version,nodes").to_dict()
    wanted = Software()
    wanted.version = cluster.version
    response = wanted.patch(estimate_only=True, skip_warnings=True)
    assert not response.is_err, response
    assert software("state,elapsed_duration,pending_version,nodes").to_dict() == before
    record = cluster.ask("/evenkeel/v1/estimates").json()["records"][-1]
    assert record["version"] == cluster.version and record["requested_by"] == cluster.user, record
    estimate = record["estimate"]
    assert estimate["estimated_duration"] > 0, estimate
    named = {name for moment in estimate["moments"] for name in moment["nodes"]}
    assert named == {node.name for node in Node.get_collection()}, named


def start_update(cluster, **options):
    wanted = Software()
    wanted.version = cluster.version
    options = {"skip_warnings": True, "stabilize_minutes": 1, "hydrate": True} | options
    response = wanted.patch(**options)
    assert not response.is_err, response
    # A state of before here would be read as the end of this update.
    state = software("state").state
    assert state not in {"failed", "canceled"}, state
    return state


def test_pausing_and_canceling(cluster):
    pair = a_pair()
    start_update(cluster, nodes_to_update=",".join(pair), force_rolling=True)
    again = Software()
    again.version = cluster.version
    refused(again.patch, 10551357)
    refused(SoftwarePackage(version=cluster.version).delete, 10551347)
    refused(lambda: Software().patch(action="cancel"), 10551524)
    check_picture(cluster)
    persist(lambda: Software().patch(action="pause"))
    seen = watch(STANDING)
    assert seen[-1] == "paused_by_user", seen
    body = check_picture(cluster)
    assert body["pending_version"] == cluster.version, body
    assert "metrocluster" not in body, "it spans no sites"
    concerned = {row["node"]["name"] for row in body["update_details"]}
    assert concerned == set(pair), concerned
    by_body = Software()
    by_body.action = "cancel"
    persist(by_body.patch)
    seen = watch(ENDED)
    assert seen[-1] == "canceled", seen


def test_updating(cluster):
    start_update(cluster)
    # In the body, and by the query.
    by_body = Software()
    by_body.action = "pause"
    persist(by_body.patch)
    seen = watch(STANDING)
    assert seen[-1] == "paused_by_user", seen
    found = persist(lambda: software("state,update_details,status_details"))
    assert found.state == "paused_by_user" and found.update_details and found.status_details, found
    persist(lambda: Software().patch(action="resume"))
    seen = watch(ENDED | {"paused_on_error"})
    assert seen[-1] == "completed", seen
    body = check_picture(cluster)
    assert body["version"] == cluster.version, body["version"]
    assert {node["version"] for node in body["nodes"]} == {cluster.version}, body["nodes"]
    phases = {row["phase"] for row in body["update_details"]}
    assert phases == {"Pre-update checks", "Data ONTAP updates", "Post-update checks"}, phases
    assert "pending_version" not in body, body


def test_a_script_that_knows_no_library(cluster):
    """As NetApp's own example script: the plain form, links followed, fields read without asking for them."""
    accept = {"headers": {"Accept": "application/json"}}
    body = {"version": cluster.version}
    answer = cluster.ask("/api/cluster/software?validate_only=true", "PATCH", json=body, **accept)
    assert answer.status_code == 202, answer.text
    href = answer.json()["job"]["_links"]["self"]["href"]
    wait = lambda: cluster.ask(href, **accept).json()
    end = time.monotonic() + JOB_SECONDS
    while (job := wait())["state"] in ("queued", "running", "paused"):
        assert time.monotonic() < end, job
        time.sleep(POLL)
    assert job["description"] == "PATCH /api/cluster/software" and "_links" not in job, job
    watch(STANDING)
    shown = cluster.ask("/api/cluster/software", **accept).json()
    assert shown["state"] and isinstance(shown["update_details"], list), shown
    allowed = cluster.ask("/api/cluster/software/", "OPTIONS").headers["Allow"]
    assert {"GET", "PATCH"} <= set(allowed.split(",")), allowed
    head = cluster.ask("/api//cluster/software", "HEAD")
    assert (head.status_code, head.text) == (200, ""), head


def test_history_and_jobs(cluster):
    rows = list(SoftwareHistory.get_collection(fields="*", max_records=1))
    done = {row.node.name for row in rows if row.to_version == cluster.version and row.state == "successful"}
    assert done == {node.name for node in Node.get_collection()}, rows
    only = list(SoftwareHistory.get_collection(state="successful", to_version=cluster.version))
    assert len(only) == len(done), only
    jobs = list(Job.get_collection(fields="*"))
    updates = [job for job in jobs if job.description == "PATCH /api/cluster/software"]
    assert updates and all(job.state in ("success", "failure") for job in jobs), jobs
    one = Job(uuid=updates[0].uuid)
    one.get()
    assert one.start_time is not None and one.message
    refused(Job(uuid="44444444-4444-4444-8444-444444444444").get, 4, 404)
    refused(lambda: Job(uuid=updates[0].uuid).patch(action="cancel"), 458762, 409)
    newest = list(SoftwareHistory.get_collection(order_by="start_time desc", fields="start_time"))
    times = [row.start_time for row in newest]
    assert times == sorted(times, reverse=True), times
    since = SoftwareHistory.count_collection(start_time=f">={times[0].isoformat()}")
    assert 1 <= since <= len(times), since


def test_deleting(cluster):
    refused(SoftwarePackage.delete_collection, 262278, 400)
    response = SoftwarePackage.delete_collection(version=f"{cluster.version}|none*")
    assert not response.is_err, response
    # The client watches the jobs of such a call, but does not fail when there are none.
    assert response.http_response.json()["num_records"] == 1, response
    refused(SoftwarePackage(version=cluster.version).get, 4, 404)
    # The second where it was the only one.
    refused(SoftwarePackage(version=cluster.version).delete, (10551325, 10551315))
