"""The cluster's address is away for minutes in the middle of an update: the unmodified netapp.ontap collection and
the requests of NetApp Harvest get over it. A relay of the tests goes away for longer than the address ever does; the
address itself moves from node to node meanwhile.
"""

import dataclasses

import harvest
import pytest
import requests
from conftest import own_lab
from playbook import SOFTWARE_UPDATE, Playbook
from relay import Relay
from servers import wait_for

# An update of all nodes takes about two minutes.
MINUTE = "4s"
# What the module asks before it watches: cluster, packages, nodes, the update itself; then its job.
BEFORE_JOB = 4
# It looks at the update each minute.
POLLS_AWAY = 2
SECONDS = 400


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with own_lab(tmp_path_factory.mktemp("away"), minute=MINUTE) as settings:
        settings.evenkeel("image", "package", "get", settings.package)
        yield settings


def ask(cluster, path):
    """Nothing while the address is on its way from one node to another."""
    try:
        answer = cluster.ask(path)
    except requests.RequestException:
        return {}
    return answer.json() if answer.status_code == 200 else {}


def on_new_version(cluster):
    """Nodes that are there already."""
    nodes = ask(cluster, "/api/cluster/software?fields=nodes").get("nodes", [])
    return [node["name"] for node in nodes if node["version"] == cluster.version]


def is_started(cluster):
    jobs = ask(cluster, "/api/cluster/jobs?description=PATCH*&fields=state").get("records", [])
    return [job["state"] for job in jobs] == ["success"]


def hosts(cluster):
    """Nodes that have had the cluster's address."""
    logs = (cluster.lab / "nodes").glob("*/evenkeeld.log")
    return {log.parent.name for log in logs if "serving the cluster's address" in log.read_text()}


def test_an_update_while_the_address_is_away(cluster, tmp_path):
    with Relay(cluster.host, cluster.port) as relay, Relay(cluster.host, cluster.port) as other:
        monitored = dataclasses.replace(cluster, port=other.port)
        harvest.start_up(monitored)
        poller = harvest.Poller(monitored, seconds=2)
        poller.start()
        play = start_update(cluster, relay, tmp_path)
        relay.away()
        wait_for(lambda: on_new_version(cluster), "node on the new version", SECONDS)
        other.away()
        other.wait(lambda other: other.refused >= 3, "requests of monitoring")
        assert len(on_new_version(cluster)) < 4, "this must be the middle of it"
        other.back()
        relay.wait(lambda relay: relay.refused >= POLLS_AWAY, "looks of the module")
        relay.back()
        result = play.result(SECONDS)
        pictures = poller.finish()
    assert result["changed"] and not result.get("failed"), result
    assert len(on_new_version(cluster)) == 4
    assert ask(cluster, "/api/cluster/software/packages")["num_records"] == 0, "it cleans up"
    assert len(hosts(cluster)) > 1, "the address itself moved too"
    check_pictures(pictures, poller.away)


def start_update(cluster, relay, folder):
    """Until the module watches it, which it does a minute later for the first time."""
    options = {"timeout": 3600, "stabilize_minutes": 1, "ignore_validation_warning": True}
    task = {SOFTWARE_UPDATE: options | {"package_version": cluster.version}}
    # It finds the job done at its first look: with such a timeout the second is a minute later.
    relay.hold(BEFORE_JOB + 1)
    play = Playbook(folder, cluster, task, port=relay.port)
    relay.wait(lambda relay: relay.accepted > BEFORE_JOB, "its look at the job")
    wait_for(lambda: is_started(cluster), "start of the update", SECONDS)
    relay.release()
    relay.wait(lambda relay: relay.ended > BEFORE_JOB, "an answer about the job")
    return play


def check_pictures(pictures, away):
    assert away >= 3, "it was away for monitoring too"
    shown = [picture.json() for picture in pictures if picture.status_code == 200]
    states = [picture["state"] for picture in shown if "state" in picture]
    assert states == sorted(states, key=["in_progress", "completed"].index), states
    assert set(states) == {"in_progress", "completed"}, states
    for picture in shown:
        assert "records" not in picture and "_links" not in picture, picture
        harvest.rows(picture)
    done = harvest.rows(shown[-1])
    assert {row["state"] for row in done["update_details"].values()} == {"completed"}, done
    assert {node for _, _, node in done["update_details"]} == {f"node{n}" for n in range(1, 5)}, done
