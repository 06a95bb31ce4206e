"""The unmodified netapp.ontap collection: an update from the download to the deleted package."""

import pytest
from conftest import own_lab
from playbook import REST_INFO, SOFTWARE_UPDATE, Playbook
from servers import web

PAIR = ["node1", "node2"]
# The collection looks at the update each minute, and at jobs each third of one. This is more than it takes.
SECONDS = 400


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with own_lab(tmp_path_factory.mktemp("update")) as settings:
        yield settings


@pytest.fixture
def play(cluster, tmp_path):
    """Runs one playbook to its end."""
    return lambda *tasks: Playbook(tmp_path, cluster, *tasks).results(SECONDS)


def wanted(cluster, **options):
    """Within two minutes, which is more than the lab takes."""
    return {SOFTWARE_UPDATE: {"package_version": cluster.version, "timeout": 120, "stabilize_minutes": 1} | options}


def versions(cluster):
    nodes = cluster.ask("/api/cluster/software?fields=nodes").json()["nodes"]
    return {node["name"]: node["version"] for node in nodes}


def test_from_download_to_deletion(cluster, play):
    before = versions(cluster)
    options = {"nodes": PAIR, "ignore_validation_warning": True, "validate_after_download": True}
    with web(cluster.package) as server:
        (result,) = play(wanted(cluster, package_url=f"http://{cluster.here}:{server}/package", **options))
    assert result["changed"] and not result.get("failed"), result
    assert result["validation_reports_after_download"] == [], result
    assert versions(cluster) == before | dict.fromkeys(PAIR, cluster.version)
    assert cluster.ask("/api/cluster/software/packages").json()["num_records"] == 0, "it cleans up"


def test_already_there(cluster, play):
    """A second run changes nothing; nor does it need the package for that."""
    url = "http://127.0.0.1:1/none"
    pair, all_nodes = play(
        wanted(cluster, package_url=url, nodes=PAIR),
        wanted(cluster, package_url=url) | {"check_mode": True},
    )
    assert not pair["changed"] and not pair.get("failed"), pair
    assert all_nodes["changed"], "two nodes are not there yet"


def test_facts_page_by_page(cluster, play):
    """It takes `/api` out of a link and adds `/api/` before it, so the next page is at `/api//`."""
    subsets = ["cluster/software/history", "cluster/nodes", "cluster/jobs", "cluster/software"]
    (paged,) = play({REST_INFO: {"gather_subset": subsets, "fields": ["*"], "max_records": 1}})
    facts = paged["ontap_info"]
    for subset in subsets[:-1]:
        whole = cluster.ask(f"/api/{subset}?fields=*").json()["records"]
        assert len(whole) > 1 and facts[subset]["num_records"] == len(whole), (subset, facts[subset])
        assert facts[subset]["records"] == whole, subset
    assert facts["cluster/software"]["state"] == "completed", facts["cluster/software"]
