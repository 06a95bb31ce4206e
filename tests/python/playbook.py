"""Playbooks with the unmodified netapp.ontap collection: real processes of ansible-playbook."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# A play of a few short tasks takes seconds, but two cores may have much else to do.
SECONDS = 300
SOFTWARE_UPDATE = "netapp.ontap.na_ontap_software_update"
FIRMWARE_UPGRADE = "netapp.ontap.na_ontap_firmware_upgrade"
REST_INFO = "netapp.ontap.na_ontap_rest_info"
RESTIT = "netapp.ontap.na_ontap_restit"


class Playbook:
    """One that runs, in the background, with the login that all its tasks share. No task ends it. What it
    writes is in a new folder below `folder`.
    """

    def __init__(self, folder, cluster, *tasks, port=None):
        folder = Path(tempfile.mkdtemp(prefix="play-", dir=folder))
        self.answers, self.log = folder / "results.json", folder / "log"
        tasks = registered(tasks)
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "module_defaults": {"group/netapp.ontap.netapp_ontap": login(cluster, port)},
            "tasks": [*tasks, self.keep(task["register"] for task in tasks)],
        }
        book = folder / "playbook.json"
        book.write_text(json.dumps([play], indent=2))
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", book]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment(folder, cluster)
            )

    def keep(self, names):
        content = "{{ [" + ", ".join(names) + "] | to_json }}"
        return {"ansible.builtin.copy": {"dest": str(self.answers), "content": content, "mode": "0600"}}

    def results(self, seconds=SECONDS):
        """What each task registered, once the playbook is over."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait()
            raise AssertionError(f"the playbook goes on after {seconds} s: {self.log.read_text()}") from None
        assert code == 0, self.log.read_text()
        return json.loads(self.answers.read_text())

    def result(self, seconds=SECONDS):
        """Of its only task."""
        (result,) = self.results(seconds)
        return result


def login(cluster, port):
    return {
        "hostname": cluster.host,
        "http_port": port or cluster.port,
        "username": cluster.user,
        "password": cluster.password,
        "https": True,
        "validate_certs": True,
        "use_rest": "always",
    }


def registered(tasks):
    options = {"ignore_errors": True}
    return [options | {"register": f"result{number}"} | task for number, task in enumerate(tasks)]


def environment(folder, cluster):
    """Nothing of whoever runs the tests: no configuration of theirs, no collection."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_COLLECTIONS_PATH": os.environ["EVENKEEL_COLLECTIONS"],
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "REQUESTS_CA_BUNDLE": cluster.ca,
    }
