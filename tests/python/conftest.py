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

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

# These win over the verification that a connection asks for, in every version of the client.
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
    os.environ.pop(name, None)

LAB_VERSION = "lab-conformance-2"
# Bounds on what takes seconds, so that a hung lab ends the test and not the patience.
UP_SECONDS = 120
DOWN_SECONDS = 60


def pytest_configure(config):
    if importlib.util.find_spec("marshmallow"):
        # The client's own use of it, not ours.
        config.addinivalue_line("filterwarnings", "ignore::marshmallow.warnings.ChangedInMarshmallow4Warning")


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
    # Of a lab only.
    lab: Path | None = None

    def ask(self, path, method="GET", **kwargs):
        """A request as it is, without any client's help."""
        url = f"https://{self.host}:{self.port}{path}"
        options = {"auth": (self.user, self.password), "verify": self.ca, "timeout": 90}
        return requests.request(method, url, **(options | kwargs))

    def evenkeel(self, *arguments):
        """The operator's command on this lab; what it prints."""
        command = [bin_dir() / "evenkeel", *arguments]
        env = os.environ | {"EVENKEEL_LAB": str(self.lab)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if "EVENKEEL_HOST" in os.environ:
        yield given()
        return
    with own_lab(tmp_path_factory.mktemp("conformance")) as settings:
        yield settings


@contextmanager
def own_lab(folder, *options, minute="250ms", version=LAB_VERSION):
    """A lab, and packages in `folder` that it believes."""
    if "EVENKEEL_HOST" in os.environ:
        pytest.skip("a lab of its own only")
    with Lab(bin_dir() / "evenkeel", folder / "lab", *options, minute=minute) as lab:
        package = build_package(folder, lab, "package", version, bytes(range(256)) * 4096)
        clash = build_package(folder, lab, "clash", version, b"something else", programs=False)
        url = urlsplit(lab["url"])
        yield Settings(
            host=url.hostname,
            port=url.port,
            user=lab["user"],
            password=lab["password"],
            ca=path_in(folder / "lab", lab["ca"]),
            package=package,
            version=version,
            clash=clash,
            here="127.0.0.1",
            client_certificate=path_in(folder / "lab", lab["client_certificate"]),
            client_key=path_in(folder / "lab", lab["client_key"]),
            lab=folder / "lab",
        )


def bin_dir():
    return Path(os.environ["EVENKEEL_BIN_DIR"]).resolve()


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

    def __init__(self, evenkeel, folder, *options, minute="250ms"):
        self.evenkeel, self.folder = evenkeel, folder
        self.options = ["--minute", minute, *options]
        self.log = folder.parent / "lab.log"

    def __enter__(self):
        command = [self.evenkeel, "lab", "up", "--dir", self.folder]
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


def build_package(folder, lab, name, version, content, programs=True):
    """Some content, with this build's programs or without any, signed with the lab's key."""
    tree = folder / f"tree-{name}"
    tree.mkdir()
    (tree / "content").write_bytes(content)
    if programs:
        (tree / "bin").mkdir()
        for program in ("evenkeel", "evenkeeld"):
            shutil.copy(bin_dir() / program, tree / "bin" / program)
        # Bytes behind an ELF file's end change nothing but the file: another daemon that works.
        with (tree / "bin" / "evenkeeld").open("ab") as daemon:
            daemon.write(f"\nevenkeeld {version}\n".encode())
    package = folder / f"{name}.tgz"
    key = path_in(folder / "lab", lab["signing_key"])
    command = [bin_dir() / "evenkeel", "package", "build", "--version", version]
    command += ["--root", tree, "--key", key, "-o", package]
    subprocess.run(command, check=True, timeout=120)
    return str(package)
