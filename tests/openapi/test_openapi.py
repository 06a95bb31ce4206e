"""schemathesis reads docs/openapi.json and asks a lab for whatever it allows, and for what it does not.

It makes up addresses to download from, so the test runs in a network namespace of its own, in which there is
nothing but this machine: `cargo xtask test` starts it in one."""

import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest
import requests

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "python"))

from conftest import LAB_VERSION, Lab, build_package, path_in  # noqa: E402

DOCUMENT = HERE.parent.parent / "docs" / "openapi.json"
USER, PASSWORD = "schemathesis", "made up, and made up again"
# A bound on what takes minutes, on a busy machine many.
RUN_SECONDS = 1800
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


@pytest.fixture(scope="module")
def loopback():
    """Nothing but the loopback, which is down in a namespace that was made a moment ago."""
    names = [name for _, name in socket.if_nameindex()]
    assert names == ["lo"], f"run me by: unshare --net …; here is a network: {names}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        request = fcntl.ioctl(any_socket, SIOCGIFFLAGS, request)
        flags = struct.unpack_from("16sH", request)[1]
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


@pytest.fixture(scope="module")
def lab(loopback, tmp_path_factory):
    """A lab of one pair with a package, an estimate, and a user for schemathesis."""
    bin_dir = Path(os.environ["EVENKEEL_BIN_DIR"]).resolve()
    folder = tmp_path_factory.mktemp("openapi")
    with Lab(bin_dir / "evenkeel", folder / "lab", "--nodes", "2") as lab:
        lab["dir"], lab["verify"] = folder / "lab", path_in(folder / "lab", lab["ca"])
        package = build_package(folder, lab, "package", LAB_VERSION, b"content")
        with open(package, "rb") as archive:
            put = call(lab, "PUT", "/evenkeel/v1/packages?return_timeout=60", data=archive)
        assert put.status_code == 201, put.text
        new = {"name": USER, "role": "admin", "password": PASSWORD}
        made = call(lab, "POST", "/evenkeel/v1/users", json=new)
        assert made.status_code == 201, made.text
        wanted = {"version": LAB_VERSION}
        estimate = "/api/cluster/software?estimate_only=true&return_timeout=60"
        estimated = call(lab, "PATCH", estimate, json=wanted)
        assert estimated.status_code == 200, estimated.text
        yield lab


def call(lab, method, path, auth=None, **kwargs):
    auth = auth or (lab["user"], lab["password"])
    return requests.request(
        method, lab["url"] + path, auth=auth, verify=lab["verify"], timeout=90, **kwargs
    )


def test_no_request_is_answered_in_another_way_than_the_document_says(lab):
    command = [Path(sys.executable).parent / "schemathesis"]
    command += ["--config-file", HERE / "schemathesis.toml", "run", DOCUMENT, "--url", lab["url"]]
    command += ["--auth", f"{USER}:{PASSWORD}", "--tls-verify", lab["verify"]]
    environment = dict(
        os.environ,
        SCHEMATHESIS_HOOKS="hooks",
        PYTHONPATH=str(HERE),
        EVENKEEL_LAB_VERSION=LAB_VERSION,
        EVENKEEL_KEPT_USERS=f"{USER},{lab['user']}",
    )
    run = subprocess.run(command, env=environment, timeout=RUN_SECONDS, cwd=lab["dir"])
    assert run.returncode == 0, "schemathesis found something: see above"


def test_each_event_is_as_the_document_says(lab):
    document = json.loads(DOCUMENT.read_text())
    event = {"$ref": "#/components/schemas/EventLine", "components": document["components"]}
    validator = jsonschema_rs.validator_for(event)
    lines = call(lab, "GET", "/evenkeel/v1/events?follow=false").text.splitlines()
    assert len(lines) > 10
    for line in lines:
        validator.validate(json.loads(line))


def test_the_lab_is_as_well_as_before(lab):
    for user in [(lab["user"], lab["password"]), (USER, PASSWORD)]:
        assert call(lab, "GET", "/api/cluster/software", auth=user).status_code == 200
    moving = call(lab, "GET", "/evenkeel/v1/transfers").json()["nodes"]
    assert [node["answers"] for node in moving] == [True, True]
    for log in lab["dir"].glob("nodes/*/evenkeeld.log"):
        assert "panicked" not in log.read_text(), log
