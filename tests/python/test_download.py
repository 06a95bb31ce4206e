"""Packages that the cluster fetches, as the Python client, the Ansible collection and the document ask for
them. Runs after the story of `test_conformance`, which leaves the repository without the package."""

import json
import subprocess
import threading
from pathlib import Path

import pytest
import requests
from netapp_ontap import config
from netapp_ontap.error import NetAppRestError
from netapp_ontap.resources import SoftwarePackage, SoftwarePackageDownload

from servers import PASSWORD, USER, ftp, wait_for, web
from test_conformance import connection

DOWNLOAD = "/api/cluster/software/download"


@pytest.fixture(autouse=True)
def client(cluster):
    config.CONNECTION = connection(cluster, cluster.password)


def call(cluster, method, path, **kwargs):
    url = f"https://{cluster.host}:{cluster.port}{path}"
    auth = (cluster.user, cluster.password)
    return requests.request(method, url, auth=auth, verify=cluster.ca, timeout=60, **kwargs)


def ended(cluster, answer):
    """Polls a job as Ansible does: without fields, by the part of its link behind `api/`."""
    assert answer.status_code == 202, answer.text
    href = answer.json()["job"]["_links"]["self"]["href"].split("api/")[1]
    job = lambda: call(cluster, "GET", f"/api/{href}").json()
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
    jobs = call(cluster, "GET", "/api/cluster/jobs?fields=*").text
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
        first = call(cluster, "POST", DOWNLOAD, json=body)
        second = call(cluster, "POST", DOWNLOAD, json=body)
        assert "Software get operation already in progress" in second.json()["error"]["message"]
        path = f"{DOWNLOAD}?fields=message,state"
        progress = call(cluster, "GET", path).json()
        assert progress["state"] == "running", progress
        assert progress["message"].startswith("Package download in progress"), progress
        assert call(cluster, "GET", DOWNLOAD).json()["code"] == 10551760
        gate.set()
        over = lambda: call(cluster, "GET", path).json()["state"] in ("success", "failure")
        wait_for(over, "end of the download")
        assert call(cluster, "GET", path).json()["state"] == "success"
    assert ended(cluster, first)["state"] == "success"
    assert listed(cluster.version)
    if cluster.clash:
        with web(cluster.clash) as port:
            body = {"url": f"http://{cluster.here}:{port}/package"}
            job = ended(cluster, call(cluster, "POST", DOWNLOAD, json=body))
            assert (job["state"], job["code"]) == ("failure", 10551327), job
            assert "Package image with the same name already exists" in job["message"], job
        assert listed(cluster.version), "so the playbook goes on"
    forget(cluster)


def curl(cluster, *arguments):
    command = ["curl", "-sku", f"{cluster.user}:{cluster.password}", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return json.loads(done.stdout)


def follow(cluster, answer):
    href = answer["job"]["_links"]["self"]["href"]
    url = f"https://{cluster.host}:{cluster.port}{href}"
    show = lambda: curl(cluster, "-X", "GET", url, "-H", "accept: application/hal+json")
    over = lambda: (job := show())["state"] in ("success", "failure") and job
    return wait_for(over, "end of the job")


def test_the_calls_of_the_document(cluster):
    """As they are printed there, but for address, user and file."""
    base = f"https://{cluster.host}:{cluster.port}/api/cluster/software"
    with web(cluster.package, login=True) as port:
        body = {"url": f"http://{cluster.here}:{port}/package", "username": USER, "password": PASSWORD}
        headers = ["-H", "accept: application/json", "-H", "Content-Type: application/hal+json"]
        url = f"{base}/download?return_timeout=0"
        job = follow(cluster, curl(cluster, "-X", "POST", url, *headers, "-d", json.dumps(body)))
        assert (job["state"], job["code"]) == ("success", 0), job
        assert job["description"] == "POST /api/cluster/software/download", job
    status = curl(cluster, "-X", "GET", f"{base}/download", "-H", "accept: application/hal+json")
    assert status["state"] == "success", status
    assert status["_links"]["self"]["href"] == DOWNLOAD, status
    forget(cluster)
    url = f"{base}/upload?return_timeout=0"
    answer = curl(cluster, "-F", f"file=@{cluster.package}", "-X", "POST", url)
    assert follow(cluster, answer)["state"] == "success"
    # The archive as it is, to Evenkeel's own address: the same package again.
    url = f"https://{cluster.host}:{cluster.port}/evenkeel/v1/packages"
    answer = curl(cluster, "-T", cluster.package, url)
    assert follow(cluster, answer)["state"] == "success"
    forget(cluster)
