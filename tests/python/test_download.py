"""Packages that the cluster fetches, as the Python client and the Ansible collection ask for them. Runs after the
story of `test_conformance`, which leaves the repository without the package."""

import threading
from pathlib import Path

import pytest
from netapp_ontap import config
from netapp_ontap.error import NetAppRestError
from netapp_ontap.resources import SoftwarePackage, SoftwarePackageDownload

from ftp_server import ftp
from servers import PASSWORD, USER, wait_for, web
from test_conformance import connection

DOWNLOAD = "/api/cluster/software/download"


@pytest.fixture(autouse=True)
def client(cluster):
    config.CONNECTION = connection(cluster, cluster.password)


def ended(cluster, answer):
    """Polls a job as Ansible does: without fields, by the part of its link behind `api/`."""
    assert answer.status_code == 202, answer.text
    href = answer.json()["job"]["_links"]["self"]["href"].split("api/")[1]
    job = lambda: cluster.ask(f"/api/{href}").json()
    over = lambda: (found := job())["state"] in ("success", "failure") and found
    return wait_for(over, "end of the job")


def listed(version):
    return version in [package.version for package in SoftwarePackage.get_collection()]


def forget(cluster):
    response = SoftwarePackage(version=cluster.version).delete()
    assert not response.is_err, response


def test_the_client_downloads(cluster):
    with web(cluster.package, login=True) as port:
        url = f"http://{cluster.here}:{port}/package"
        response = SoftwarePackageDownload(url=url, username=USER, password=PASSWORD).post()
        assert not response.is_err, response
        assert listed(cluster.version)
        found = SoftwarePackageDownload()
        found.get()
        assert found.state == "success" and found.message, found
        again = SoftwarePackageDownload(url=url, username=USER, password=PASSWORD).post()
        assert not again.is_err, "the same package again is success"
        with pytest.raises(NetAppRestError) as failed:
            SoftwarePackageDownload(url=url, username=USER, password="wrong").post()
        assert "401" in str(failed.value), failed.value
        found.get()
        assert found.state == "failure", found
    jobs = cluster.ask("/api/cluster/jobs?fields=*").text
    assert PASSWORD not in jobs and "wrong" not in jobs
    forget(cluster)


@pytest.mark.parametrize("login", [{}, {"username": USER, "password": PASSWORD}])
def test_from_an_ftp_server(cluster, login):
    package = Path(cluster.package)
    with ftp(package.parent) as port:
        url = f"ftp://{cluster.here}:{port}/{package.name}"
        response = SoftwarePackageDownload(url=url, **login).post()
        assert not response.is_err, response
        with pytest.raises(NetAppRestError) as failed:
            SoftwarePackageDownload(url=f"{url}.not", **login).post()
        assert "550" in str(failed.value), failed.value
    assert listed(cluster.version)
    forget(cluster)


def test_the_way_of_ansible(cluster):
    """Two playbooks at once: the second finds the words it looks for, and polls the download."""
    gate = threading.Event()
    with web(cluster.package, gate=gate) as port:
        body = {"url": f"http://{cluster.here}:{port}/package"}
        first = cluster.ask(DOWNLOAD, "POST", json=body)
        second = cluster.ask(DOWNLOAD, "POST", json=body)
        assert "Software get operation already in progress" in second.json()["error"]["message"]
        path = f"{DOWNLOAD}?fields=message,state"
        progress = cluster.ask(path).json()
        assert progress["state"] == "running", progress
        assert progress["message"].startswith("Package download in progress"), progress
        assert cluster.ask(DOWNLOAD).json()["code"] == 10551760
        gate.set()
        over = lambda: cluster.ask(path).json()["state"] in ("success", "failure")
        wait_for(over, "end of the download")
        assert cluster.ask(path).json()["state"] == "success"
    assert ended(cluster, first)["state"] == "success"
    assert listed(cluster.version)
    if cluster.clash:
        with web(cluster.clash) as port:
            body = {"url": f"http://{cluster.here}:{port}/package"}
            job = ended(cluster, cluster.ask(DOWNLOAD, "POST", json=body))
            assert (job["state"], job["code"]) == ("failure", 10551327), job
            assert "Package image with the same name already exists" in job["message"], job
        assert listed(cluster.version), "so the playbook goes on"
    forget(cluster)
