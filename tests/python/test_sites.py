"""The unmodified NetApp Python client against a cluster that spans sites."""

import os
from urllib.parse import urlsplit

import pytest
from conftest import Lab, bin_dir, path_in
from netapp_ontap import HostConnection
from netapp_ontap.error import NetAppRestError
from netapp_ontap.resources import Software


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    if "EVENKEEL_HOST" in os.environ:
        pytest.skip("a lab of its own only")
    folder = tmp_path_factory.mktemp("sites") / "lab"
    with Lab(bin_dir() / "evenkeel", folder, "--sites", "2") as lab:
        url = urlsplit(lab["url"])
        ca = path_in(folder, lab["ca"])
        made = HostConnection(url.hostname, lab["user"], lab["password"], verify=ca)
        made.port = url.port
        with made:
            yield made


def test_sites_are_shown_and_not_updated(connection):
    found = Software()
    found.get(fields="metrocluster")
    assert [site.name for site in found.metrocluster.clusters] == ["site_A", "site_B"]
    for options in ({}, {"estimate_only": True}, {"nodes_to_update": "node1,node2"}):
        wanted = Software()
        wanted.version = "any"
        with pytest.raises(NetAppRestError) as refusal:
            wanted.patch(**options)
        error = refusal.value.response_body["error"]
        assert error["code"] == "10551558", error
        assert "site_A, site_B" in error["message"], error
