"""A cluster for the tests: a lab of its own, or a running cluster named by the environment.

With EVENKEEL_HOST set, the tests use that cluster, which must be idle, must not hold the package and must
not run its version; it is left at that version, without the package:

    EVENKEEL_HOST, EVENKEEL_PORT      the cluster's address
    EVENKEEL_USER, EVENKEEL_PASSWORD  the admin
    EVENKEEL_CA                       PEM file to verify the server with
    EVENKEEL_PACKAGE                  package file
    EVENKEEL_VERSION                  the version in it
    EVENKEEL_CLASH                    another package of that version; without it, that is not tested
    EVENKEEL_CLIENT_CERTIFICATE, EVENKEEL_CLIENT_KEY
                                      a client certificate in the admin's name; without it, that is not tested
    EVENKEEL_FROM                     this machine's address, as the cluster reaches it

Otherwise a lab is brought up with the programs in EVENKEEL_BIN_DIR, and taken down afterwards.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

# These win over the verification that a connection asks for, in every version of the client.
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ.pop(name, None)

LAB_VERSION = "lab-conformance-2"
# Bounds on what takes seconds, so that a hung lab ends the test and not the patience.
UP_SECONDS = 120
DOWN_SECONDS = 60


@dataclass
class Settings:
    """Where the cluster is, and what it is to be updated to."""

    host: str
    port: int
    user: str
    password: str
    ca: str
    package: str
    version: str
    clash: str | None
    here: str
    client_certificate: str | None = None
    client_key: str | None = None


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if "EVENKEEL_HOST" in os.environ:
        yield given()
        return
    bin_dir = Path(os.environ["EVENKEEL_BIN_DIR"]).resolve()
    folder = tmp_path_factory.mktemp("conformance")
    lab_dir = folder / "lab"
    with Lab(bin_dir / "evenkeel", lab_dir) as lab:
        package = build_package(bin_dir, folder, lab, "package", bytes(range(256)) * 4096)
        clash = build_package(bin_dir, folder, lab, "clash", b"something else")
        url = urlsplit(lab["url"])
        ca = path_in(lab_dir, lab["ca"])
        yield Settings(
            host=url.hostname,
            port=url.port,
            user=lab["user"],
            password=lab["password"],
            ca=ca,
            package=package,
            version=LAB_VERSION,
            clash=clash,
            here="127.0.0.1",
            client_certificate=path_in(lab_dir, lab["client_certificate"]),
            client_key=path_in(lab_dir, lab["client_key"]),
        )


def given():
    env = os.environ
    return Settings(
        host=env["EVENKEEL_HOST"],
        port=int(env["EVENKEEL_PORT"]),
        user=env["EVENKEEL_USER"],
        password=env["EVENKEEL_PASSWORD"],
        ca=env["EVENKEEL_CA"],
        package=env["EVENKEEL_PACKAGE"],
        version=env["EVENKEEL_VERSION"],
        clash=env.get("EVENKEEL_CLASH"),
        here=env.get("EVENKEEL_FROM", "127.0.0.1"),
        client_certificate=env.get("EVENKEEL_CLIENT_CERTIFICATE"),
        client_key=env.get("EVENKEEL_CLIENT_KEY"),
    )


def path_in(folder, path):
    """A path of lab.json, which may be relative to the lab's folder."""
    return str(folder / path)


class Lab:
    """`evenkeel lab up` in the background."""

    def __init__(self, evenkeel, folder, *options):
        self.evenkeel, self.folder, self.options = evenkeel, folder, options
        self.log = folder.parent / "lab.log"

    def __enter__(self):
        command = [self.evenkeel, "lab", "up", "--dir", self.folder, "--minute", "250ms"]
        command += ["--address", f"127.0.0.1:{free_port()}", *self.options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            self.wait_until_ready()
            return json.loads((self.folder / "lab.json").read_text())
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def wait_until_ready(self):
        end = time.monotonic() + UP_SECONDS
        while "ready" not in (line.strip() for line in self.log.read_text().splitlines()):
            assert self.process.poll() is None, f"the lab ended: {self.log.read_text()}"
            assert time.monotonic() < end, f"the lab is not ready: {self.log.read_text()}"
            time.sleep(0.1)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(DOWN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def build_package(bin_dir, folder, lab, name, content):
    """This build's programs and some content of its own, signed with the lab's key."""
    tree = folder / f"tree-{name}"
    (tree / "bin").mkdir(parents=True)
    for program in ("evenkeel", "evenkeeld"):
        shutil.copy(bin_dir / program, tree / "bin" / program)
    # Bytes behind an ELF file's end change nothing but the file: another daemon that works.
    with (tree / "bin" / "evenkeeld").open("ab") as daemon:
        daemon.write(f"\nevenkeeld {LAB_VERSION}\n".encode())
    (tree / "content").write_bytes(content)
    package = folder / f"{name}.tgz"
    key = path_in(folder / "lab", lab["signing_key"])
    command = [bin_dir / "evenkeel", "package", "build", "--version", LAB_VERSION]
    command += ["--root", tree, "--key", key, "-o", package]
    subprocess.run(command, check=True, timeout=120)
    return str(package)
