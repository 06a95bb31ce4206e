"""What monitoring reads of nodes has values, and names of the real product's without one are no errors."""

import pytest
from netapp_ontap import config
from netapp_ontap.resources import Node

from servers import web
from test_conformance import connection

SOFTWARE = "/api/cluster/software"


@pytest.fixture(autouse=True)
def client(cluster):
    config.CONNECTION = connection(cluster, cluster.password)


def test_each_node_has_a_serial_number_and_a_system_id(cluster):
    path = "/api/cluster/nodes?return_records=true&fields=serial_number,system_id&max_records=500"
    records = cluster.ask(path).json()["records"]
    for name in ("serial_number", "system_id"):
        values = {node[name] for node in records}
        assert len(values) == len(records), records
    nodes = list(Node.get_collection(fields="serial_number,system_id"))
    assert {node.serial_number for node in nodes} == {node["serial_number"] for node in records}


@pytest.mark.parametrize(
    "path",
    [
        "/api/cluster/jobs?fields=svm,error.arguments&svm.name=null",
        "/api/cluster/nodes?fields=service_processor.state,ha.enabled",
    ],
)
def test_names_that_have_no_value_here_are_no_errors(cluster, path):
    answer = cluster.ask(path)
    assert answer.status_code == 200, answer.text
    for name in ("svm", "arguments", "service_processor", "enabled"):
        assert f'"{name}"' not in answer.text


def test_a_time_that_was_pasted_is_a_time(cluster):
    with web(cluster.package) as port:
        nothing = {"url": f"http://{cluster.here}:{port}/nothing"}
        cluster.ask(f"{SOFTWARE}/download?return_timeout=60", method="POST", json=nothing)
    newest = cluster.ask("/api/cluster/jobs?fields=start_time&order_by=start_time desc").json()
    start = newest["records"][0]["start_time"]
    assert "+" in start
    # Not encoded, as somebody types it at a prompt.
    found = cluster.ask(f"/api/cluster/jobs?start_time=>={start}&return_records=false")
    assert found.json()["num_records"] >= 1, found.text
    none = cluster.ask(f"/api/cluster/jobs?start_time=>{start}&return_records=false")
    assert none.json()["num_records"] == 0, none.text
