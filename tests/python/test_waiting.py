"""Calls that wait for their job. Runs after the story of `test_conformance`, which leaves the repository without
the package."""

import pytest
from netapp_ontap import config
from netapp_ontap.resources import Software, SoftwarePackage, SoftwarePackageDownload

from servers import web
from test_conformance import connection, refused

SOFTWARE = "/api/cluster/software"


@pytest.fixture(autouse=True)
def client(cluster):
    config.CONNECTION = connection(cluster, cluster.password)


def done(answer, status):
    """The job's link is in the answer, and the job is over."""
    assert answer.status_code == status, answer.text
    return answer.json()["job"]["_links"]["self"]["href"]


def test_a_download_is_created_when_it_is_done(cluster):
    with web(cluster.package) as port:
        body = {"url": f"http://{cluster.here}:{port}/package"}
        path = f"{SOFTWARE}/download?return_timeout=60"
        job = done(cluster.ask(path, method="POST", json=body), 201)
    assert cluster.ask(job).json()["state"] == "success"
    assert SoftwarePackage(version=cluster.version).get() is not None


def test_each_nodes_images_are_those_of_the_repository(cluster):
    versions = {it["version"] for it in cluster.ask(f"{SOFTWARE}/packages").json()["records"]}
    assert cluster.version in versions
    for node in cluster.ask(f"{SOFTWARE}?fields=nodes.software_images").json()["nodes"]:
        assert {it["package"] for it in node["software_images"]} == {f"{it}.tgz" for it in versions}
    assert "software_images" not in cluster.ask(f"{SOFTWARE}?fields=*").text


def test_a_download_that_fails_in_time_says_so(cluster):
    with web(cluster.package) as port:
        url = f"http://{cluster.here}:{port}/nothing"
        path = f"{SOFTWARE}/download?return_timeout=60"
        answer = cluster.ask(path, method="POST", json={"url": url})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "10551381"), answer.text
        ask = lambda: SoftwarePackageDownload(url=url).post(return_timeout=30)
        refused(ask, 10551381, 400)


def test_a_validation_is_ok_when_it_is_done(cluster):
    path = f"{SOFTWARE}?validate_only=true&return_timeout=60"
    job = done(cluster.ask(path, method="PATCH", json={"version": cluster.version}), 200)
    assert cluster.ask(job).json()["state"] == "success"
    found = Software()
    found.version = cluster.version
    found.patch(validate_only=True, return_timeout=30)
    assert "validation_results" in cluster.ask(f"{SOFTWARE}?fields=validation_results").json()


def test_an_upload_of_another_package_of_that_version_is_a_conflict(cluster):
    if cluster.clash is None:
        pytest.skip("needs EVENKEEL_CLASH")
    path = f"{SOFTWARE}/upload?return_timeout=60"
    with open(cluster.clash, "rb") as content:
        files = {"file": ("image.tgz", content, "application/octet-stream")}
        answer = cluster.ask(path, method="POST", files=files)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "10551327"), answer.text


def test_deletes_that_wait_leave_nothing(cluster):
    answer = cluster.ask(f"{SOFTWARE}/packages?version=*&max_records=1", method="DELETE")
    assert answer.json()["error"]["code"] == "262179", answer.text
    answer = cluster.ask(f"{SOFTWARE}/packages?version={cluster.version}&return_timeout=30", method="DELETE")
    assert (answer.status_code, answer.json()["num_records"]) == (200, 1), answer.text
    assert cluster.ask(f"{SOFTWARE}/packages?version={cluster.version}").json()["num_records"] == 0
