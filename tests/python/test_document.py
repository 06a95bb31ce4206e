"""The document's own calls, by the real curl, as they are printed there but for the host and the login; and the
sequence of NetApp's example script ndu_upgrade.py, which knows no library.
"""

import base64
import json
import shlex
import subprocess

import pytest
from conftest import build_package, own_lab
from servers import PASSWORD, USER, wait_for, web

HAL = '-H "accept: application/hal+json"'
JSON = '-H "accept: application/json" -H "Content-Type: application/hal+json"'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("document")
    with own_lab(folder, "--nodes", "2", version="9.5.0") as settings:
        lab = json.loads((folder / "lab" / "lab.json").read_text())
        for version in ("9.6.0", "9.7.0"):
            build_package(folder, lab, version, version, version.encode(), programs=False)
        yield settings


def curl(cluster, *arguments, folder=None, login=True):
    command = ["curl", "-sS", "--cacert", cluster.ca, "-w", "\n%{http_code}", *arguments]
    if login:
        command[1:1] = ["-u", f"{cluster.user}:{cluster.password}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, (arguments, done.stderr)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


def printed(cluster, text, folder=None):
    """A call of the document, which must succeed."""
    for host in ("<mgmt-ip>", "<mgmt_ip>"):
        text = text.replace(host, f"{cluster.host}:{cluster.port}")
    text = text.replace("username:password", f"{cluster.user}:{cluster.password}")
    program, *arguments = shlex.split(text)
    assert program == "curl"
    status, body = curl(cluster, *arguments, folder=folder)
    assert status in (200, 202), (text, status, body)
    return body


def follow(cluster, answer, description):
    """The job of a call, once it is done, as the document shows it."""
    uuid = answer["job"]["uuid"]
    href = f"/api/cluster/jobs/{uuid}"
    assert answer == {"job": {"uuid": uuid, "_links": {"self": {"href": href}}}}, answer
    look = lambda: printed(cluster, f'curl -X GET "https://<mgmt-ip>{href}" {HAL}')
    job = wait_for(lambda: (job := look())["state"] in ("success", "failure") and job, "end of the job")
    assert job["_links"]["self"]["href"] == href and job["uuid"] == uuid, job
    assert (job["description"], job["state"], job["code"]) == (description, "success", 0), job
    assert job["message"] and "error" not in job, job


def look(cluster):
    return printed(cluster, f'curl -X GET "https://<mgmt-ip>/api/cluster/software" {HAL}')


def test_software_profile(cluster):
    call = f'curl -X GET "https://<mgmt-ip>/api/cluster/software?return_timeout=15" {HAL}'
    shown = printed(cluster, call)
    assert shown["_links"]["self"]["href"] == "/api/cluster/software", shown
    assert [node["name"] for node in shown["nodes"]] == ["node1", "node2"], shown
    assert shown["version"] == shown["nodes"][0]["version"], shown


def test_downloading(cluster):
    with web(cluster.package, login=True) as port:
        body = {"url": f"http://{cluster.here}:{port}/package", "username": USER, "password": PASSWORD}
        call = f'curl -X POST "https://<mgmt-ip>/api/cluster/software/download?return_timeout=0" {JSON} -d'
        answer = printed(cluster, f"{call} {shlex.quote(json.dumps(body))}")
        follow(cluster, answer, "POST /api/cluster/software/download")
    status = printed(cluster, f'curl -X GET "https://<mgmt-ip>/api/cluster/software/download" {HAL}')
    assert status["state"] == "success" and status["message"], status
    assert status["_links"]["self"]["href"] == "/api/cluster/software/download", status


@pytest.mark.parametrize("version", ["9.7.0", "9.6.0"])
def test_uploading(cluster, tmp_path, version):
    (tmp_path / "image.tgz").symlink_to(cluster.lab.parent / f"{version}.tgz")
    call = 'curl -ku username:password -F "file=@image.tgz" -X POST'
    call += ' "https://<mgmt-ip>/api/cluster/software/upload?return_timeout=0"'
    follow(cluster, printed(cluster, call, tmp_path), "POST /api/cluster/software/upload")


def test_an_archive_as_it_is(cluster):
    """Evenkeel's own way for curl, without a form around it: here the same package again."""
    url = f"https://{cluster.host}:{cluster.port}/evenkeel/v1/packages"
    status, answer = curl(cluster, "-T", cluster.lab.parent / "9.7.0.tgz", url)
    assert status == 202, answer
    follow(cluster, answer, "POST /api/cluster/software/upload")


def test_packages(cluster):
    path = "/api/cluster/software/packages"
    call = f'curl -X GET "https://<mgmt-ip>{path}?return_records=true&return_timeout=15" {HAL}'
    found = printed(cluster, call)
    link = lambda version: {"self": {"href": f"{path}/{version}"}}
    records = [{"version": version, "_links": link(version)} for version in ("9.5.0", "9.6.0", "9.7.0")]
    assert sorted(found["records"], key=lambda record: record["version"]) == records, found
    assert found["num_records"] == 3 and found["_links"]["self"]["href"].startswith(path), found
    one = printed(cluster, f'curl -X GET "https://<mgmt-ip>{path}/9.7.0" {HAL}')
    assert one["version"] == "9.7.0" and one["create_time"] and one["_links"] == link("9.7.0"), one
    answer = printed(cluster, f'curl -X DELETE "https://<mgmt-ip>{path}/9.6.0" {HAL}')
    follow(cluster, answer, f"DELETE {path}/9.6.0")
    assert printed(cluster, call)["num_records"] == 2


def change(cluster, query, version="9.5.0"):
    """`PATCH`; its job ends well."""
    call = f'curl -X PATCH "https://<mgmt_ip>/api/cluster/software?{query}" {JSON}'
    answer = printed(cluster, f"{call} -d " + "'" + f'{{"version": "{version}"}}' + "'")
    follow(cluster, answer, "PATCH /api/cluster/software")


def test_validating(cluster):
    change(cluster, "validate_only=true")
    shown = wait_for(lambda: "validation_results" in (shown := look(cluster)) and shown, "results")
    assert all({"update_check", "status", "issue"} <= set(row) for row in shown["validation_results"]), shown
    assert shown["version"] != "9.5.0", shown


def reached(cluster, *states):
    def there():
        try:
            shown = look(cluster)
        except AssertionError:
            # The address is on its way from one node to the other.
            return None
        return shown if shown.get("state") in states else None

    return wait_for(there, f"state of {states}", 120)


def test_updating(cluster):
    """All of it also with the pause of the document, and with the other actions in the same form."""
    change(cluster, "skip_warnings=true")
    shown = look(cluster)
    assert (shown["state"], shown["pending_version"]) == ("in_progress", "9.5.0"), shown
    assert shown["estimated_duration"] > 0 and shown["elapsed_duration"] >= 0, shown
    change(cluster, "action=pause")
    shown = reached(cluster, "paused_by_user")
    assert {row["phase"] for row in shown["update_details"]} >= {"Pre-update checks"}, shown
    assert all({"name", "state", "start_time"} <= set(row) for row in shown["status_details"]), shown
    change(cluster, "action=resume")
    shown = reached(cluster, "completed", "paused_on_error", "failed")
    assert (shown["state"], shown["version"]) == ("completed", "9.5.0"), shown


def test_history(cluster):
    found = printed(cluster, f'curl -X GET "https://<mgmt-ip>/api/cluster/software/history" {HAL}')
    assert found["num_records"] == len(found["records"]) == 2, found
    # No record has a link to itself, so all of them say everything.
    for record in found["records"]:
        times = {name: record.pop(name) for name in ("start_time", "end_time", "from_version")}
        assert all(times.values()), times
        node = record.pop("node")
        assert node["_links"]["self"]["href"] == f"/api/cluster/nodes/{node['uuid']}", node
        assert record == {"state": "successful", "to_version": "9.5.0"}, record


def test_the_example_script(cluster):
    """It sends a blank at the end of its login, follows links as they come, and asks for no fields."""
    login = base64.b64encode(f"{cluster.user}:{cluster.password}".encode()).decode()
    headers = ["-H", f"Authorization: Basic {login} ", "-H", "Accept: application/json"]
    address = f"https://{cluster.host}:{cluster.port}"
    send = lambda *words: curl(cluster, *words, *headers, login=False)
    url = f"{address}/api/cluster/software?skip_warnings=true"
    status, answer = send("-X", "PATCH", url, "-d", '{"version": "9.7.0"}')
    assert status == 202, answer
    href = address + answer["job"]["_links"]["self"]["href"]
    job = wait_for(lambda: (job := send(href)[1])["state"] in ("success", "failure") and job, "end of the job")
    assert job["state"] == "success", job

    def ended():
        try:
            _, shown = send(f"{address}/api/cluster/software")
        except AssertionError:
            return None
        assert isinstance(shown["update_details"], list), shown
        return shown if shown["state"] not in ("in_progress", "waiting") else None

    shown = wait_for(ended, "end of the update", 120)
    assert (shown["state"], shown["version"]) == ("completed", "9.7.0"), shown
