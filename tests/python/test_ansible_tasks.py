"""The unmodified modules of the netapp.ontap collection, task by task; whole updates are in
`test_ansible_update`. The collection polls each download and validation, so some playbooks run side by side.
"""

import itertools
import threading

import pytest
from conftest import own_lab
from playbook import FIRMWARE_UPGRADE, REST_INFO, RESTIT, SOFTWARE_UPDATE, Playbook
from relay import Relay
from servers import web

DOWNLOAD = "/api/cluster/software/download"
# The shortest between two polls of a job, which the collection derives from the time that it may take.
QUICK = {"timeout": 30}
# What `na_ontap_software_update` asks before it downloads: cluster, packages, nodes.
BEFORE_DOWNLOAD = 3
# Names of what is registered.
COUNT = itertools.count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with own_lab(tmp_path_factory.mktemp("tasks")) as settings:
        yield settings


@pytest.fixture(scope="module", autouse=True)
def second_download(cluster, tmp_path_factory):
    """A playbook that wants a package which is being downloaded: it looks after a minute, and validates then. Tests that begin nothing on
    the cluster, which validation would have to wait for, run meanwhile."""
    gate = threading.Event()
    with web(cluster.package, gate=gate) as server, Relay(cluster.host, cluster.port) as relay:
        url = f"http://{cluster.here}:{server}/package"
        task = wanted(cluster, package_url=url, download_only=True, validate_after_download=True)
        relay.hold(BEFORE_DOWNLOAD + 1)
        play = Playbook(tmp_path_factory.mktemp("second"), cluster, task, port=relay.port)
        relay.wait(lambda relay: relay.accepted > BEFORE_DOWNLOAD, "its own download")
        assert cluster.ask(DOWNLOAD, "POST", json={"url": url}).status_code == 202
        relay.release()
        relay.wait(lambda relay: relay.ended > BEFORE_DOWNLOAD, "its own download, refused")
        gate.set()
        yield play


def wanted(cluster, **options):
    """The task that the playbooks are for."""
    return {SOFTWARE_UPDATE: QUICK | {"package_version": cluster.version} | options}


def listed(cluster):
    records = cluster.ask("/api/cluster/software/packages").json()["records"]
    return [record["version"] for record in records]


@pytest.fixture
def play(cluster, tmp_path):
    """Runs one playbook to its end."""
    return lambda *tasks: Playbook(tmp_path, cluster, *tasks).results()


def test_facts(cluster, play):
    own = ["cluster/software", "cluster/software/download", "cluster/software/history"]
    own += ["cluster/software/packages", "cluster/firmware/history", "cluster", "cluster/nodes", "cluster/jobs"]
    old = ["ontap_system_version", "cluster_image_info", "cluster_software_download", "cluster_node_info"]
    old += ["cluster_software_history", "cluster_software_packages", "sysconfig_info", "cluster_identity_info"]
    standard, plain, everything, elsewhere = play(
        {REST_INFO: {"gather_subset": own, "fields": ["*"]}},
        {REST_INFO: {"gather_subset": own, "hal_linking": False}},
        {REST_INFO: {"gather_subset": ["cluster/software"], "fields": ["**"], "use_python_keys": True}},
        {REST_INFO: {"gather_subset": old[:-1] + ["svm/svms", "cluster/counter/tables"]}},
    )
    facts = standard["ontap_info"]
    assert set(facts) == set(own), facts.keys()
    nodes = facts["cluster/nodes"]["records"]
    assert len(nodes) == facts["cluster/nodes"]["num_records"] == 4, nodes
    assert {node["name"] for node in facts["cluster/software"]["nodes"]} == {node["name"] for node in nodes}
    assert facts["cluster/software/download"]["state"] in ("running", "success"), facts
    assert facts["cluster/software/history"]["records"] == facts["cluster/firmware/history"]["records"] == []
    assert facts["cluster/jobs"]["records"][0]["description"] == f"POST {DOWNLOAD}", facts["cluster/jobs"]
    assert facts["cluster"]["version"]["generation"] == 9, facts["cluster"]
    assert set(plain["ontap_info"]) == set(own) and "_links" not in plain["ontap_info"]["cluster"], plain
    assert everything["ontap_info"]["cluster_software"]["nodes"], everything
    # What there is none of here is no failure: it says so in its place.
    facts = elsewhere["ontap_info"]
    assert not elsewhere.get("failed") and "svm/svms" in facts and isinstance(facts["svm/svms"], str), elsewhere
    assert len(facts["cluster/nodes"]["records"]) == 4, facts


def test_nothing_to_do(cluster, play):
    """Check mode and mistakes: nothing is downloaded, nothing changes."""
    nowhere = "http://127.0.0.1:1/none"
    checked, unknown, absent, no_url = play(
        wanted(cluster, package_version="other", package_url=nowhere) | {"check_mode": True},
        wanted(cluster, package_version="other", package_url=nowhere, nodes=["node1", "nobody", "none"]),
        wanted(cluster, package_version="other", state="absent"),
        wanted(cluster, package_version="other"),
    )
    assert checked["changed"] and not checked.get("failed"), checked
    assert unknown["msg"] == "Error: nodes not found in cluster: nobody, none.", unknown
    assert not absent["changed"] and not absent.get("failed"), absent
    assert "required parameter to download" in no_url["msg"], no_url
    assert "other" not in listed(cluster)


def test_a_playbook_joins_a_download(cluster, second_download):
    result = second_download.result()
    assert not result.get("failed"), result
    assert any("already in progress" in warning for warning in result["warnings"]), result
    assert result["validation_reports_after_download"] == [], result
    assert not result["changed"], "the other one brought it"
    assert listed(cluster) == [cluster.version]


def test_an_upload(play):
    """Of text alone, which a package is not; what matters is that it arrives and is judged as an upload."""
    files = {"file": ["image.tgz", "this is no package"]}
    task = {"api": "cluster/software/upload", "method": "POST", "files": files}
    waited, started, none = play(
        {RESTIT: task | {"wait_for_completion": True}},
        {RESTIT: task},
        {RESTIT: task | {"files": {"other": "x"}}},
    )
    assert waited["failed"] and "gzip" in waited["error_message"], waited
    assert none["failed"] and none["error_code"] and none["error_message"], none


def test_absent(cluster, play):
    checked, gone, again = play(
        wanted(cluster, state="absent") | {"check_mode": True},
        wanted(cluster, state="absent"),
        wanted(cluster, state="absent"),
    )
    assert checked["changed"] and gone["changed"] and not again["changed"], (checked, gone, again)
    assert not any(result.get("failed") for result in (checked, gone, again)), (checked, gone, again)
    assert listed(cluster) == []


def test_a_name_that_is_taken(cluster, tmp_path):
    """Somebody else's package of that version comes in between the module's look and its download."""
    with web(cluster.clash) as server, Relay(cluster.host, cluster.port) as relay:
        task = wanted(cluster, package_url=f"http://{cluster.here}:{server}/package", download_only=True)
        relay.hold(BEFORE_DOWNLOAD + 1)
        play = Playbook(tmp_path, cluster, task, port=relay.port)
        relay.wait(lambda relay: relay.accepted > BEFORE_DOWNLOAD, "its download")
        cluster.evenkeel("image", "package", "get", cluster.package)
        relay.release()
        result = play.result()
        assert not result.get("failed") and not result["changed"], result
        # With another version in mind it is an error, which says what was found.
        task[SOFTWARE_UPDATE]["package_version"] = "other"
        result = Playbook(tmp_path, cluster, task).result()
        assert result["failed"], result
        expected = f"another package with the same file name exists: found: {cluster.version}"
        assert expected in result["msg"], result
    assert listed(cluster) == [cluster.version]


def test_a_download_that_fails(cluster, play):
    with web(cluster.package) as server:
        url = f"http://{cluster.here}:{server}/none"
        (result,) = play(wanted(cluster, package_version="other", package_url=url))
    assert result["failed"] and "Error downloading software: job reported error" in result["msg"], result
    assert "404" in result["msg"], result


def test_a_validation_that_fails(cluster, play):
    """Fatal at once, with the results."""
    cluster.evenkeel("lab", "fault", "disable-ha", "node1")
    (result,) = play(wanted(cluster))
    cluster.evenkeel("lab", "fault", "disable-ha", "node1", "--clear")
    assert result["failed"] and result["msg"].startswith("Error updating software: job reported error"), result
    assert "'status': 'error'" in result["msg"] and "node1" in result["msg"], result
    cluster.evenkeel("lab", "fault", "soft-mount", "node1")
    refused, validated = play(
        wanted(cluster),
        wanted(cluster, download_only=True, validate_after_download=True),
    )
    cluster.evenkeel("lab", "fault", "soft-mount", "node1", "--clear")
    assert refused["failed"] and "'status': 'warning'" in refused["msg"], refused
    (warning,) = validated["validation_reports_after_download"]
    assert warning["status"] == "warning" and warning["issue"]["message"], validated


def test_pausing_resuming_and_canceling(cluster, play):
    """`na_ontap_restit`: the collection's own way to what its module for updates has no option for."""
    software = {"api": "cluster/software", "method": "PATCH", "wait_for_completion": True}
    software["body"] = {"version": cluster.version}
    # Long enough for the tasks in between: ten seconds in this lab.
    options = {"skip_warnings": True, "stabilize_minutes": 40, "nodes_to_update": "node1,node2"}
    start = {RESTIT: software | {"query": options}}
    act = lambda action: {RESTIT: software | {"query": {"action": action}}}
    done = play(
        *(start, act("pause"), shown("paused_by_user")),
        *(act("resume"), shown("in_progress"), act("pause"), shown("paused_by_user")),
        *(act("cancel"), shown("canceled")),
        act("cancel"),
    )
    assert not any(result.get("failed") for result in done[:-1]), done
    assert done[-1]["failed"] and done[-1]["error_message"], "there is nothing left to cancel"


def shown(state):
    """Looks until the update is so, or fails."""
    name = f"shown{next(COUNT)}"
    look = {"api": "cluster/software", "query": {"fields": "state"}}
    condition = f"{name}.response.state == '{state}'"
    return {RESTIT: look, "register": name, "until": condition, "retries": 120, "delay": 1}


def test_firmware(cluster, play, tmp_path):
    """What is neither a package nor firmware fails with a reason, and the module shows it."""
    junk = tmp_path / "junk"
    junk.write_bytes(b"neither of them" * 1000)
    task = {"firmware_type": "storage", "force_disruptive_update": False}
    with web(junk) as server:
        task["package_url"] = f"http://{cluster.here}:{server}/package"
        checked, failed, unknown, reboot = play(
            {FIRMWARE_UPGRADE: task, "check_mode": True},
            {FIRMWARE_UPGRADE: task},
            {FIRMWARE_UPGRADE: task | {"firmware_type": "service-processor", "node": "nobody", "reboot_sp": True}},
            {FIRMWARE_UPGRADE: task | {"firmware_type": "service-processor", "node": "node1", "reboot_sp": True}},
        )
    assert checked["changed"] and not checked.get("failed"), checked
    assert failed["failed"], failed
    assert failed["msg"].startswith("Error downloading software: job reported error: Processing the package"), failed
    assert "node not found nobody, current nodes: node1, node2, node3, node4" in unknown["msg"], unknown
    assert reboot["failed"] and "Error rebooting node SP" in reboot["msg"], reboot
    assert "not supported" in reboot["msg"], "a plain word, until there is firmware to reboot for"
