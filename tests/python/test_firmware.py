"""Firmware, as the unmodified Python client of two releases brings it in and reads it."""

import subprocess
import time

from netapp_ontap import config
from netapp_ontap.resources import FirmwareHistory, Software

from conftest import bin_dir, own_lab
from test_conformance import connection

SECONDS = 180
DISKS = [f"{model}.NA02.LOD" for model in ("X423_SLTNG1T8SSX", "X422_SLTNG600A10", "X4011_LANES3T8")]


def package(folder, name, images, *options):
    """A firmware package, signed with the lab's key."""
    key = folder / "lab/keys/lab"
    files = [folder / "vendor" / image for image in images]
    command = [bin_dir() / "evenkeel", "firmware", "build", "--key", key, "-o", folder / name, *options, *files]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder / name


def over(count):
    """The history, once so many updates are over."""
    for _ in range(SECONDS):
        rows = list(FirmwareHistory.get_collection(fields="*"))
        if len(rows) == count and all(row.fw_update_state in ("completed", "failed") for row in rows):
            return rows
        time.sleep(1)
    raise AssertionError([row.to_dict() for row in rows])


def test_every_block_of_firmware_can_be_read(tmp_path):
    with own_lab(tmp_path, minute="50ms") as cluster:
        config.CONNECTION = connection(cluster, cluster.password)
        made = [bin_dir() / "evenkeel", "lab", "firmware", "--out", tmp_path / "vendor"]
        subprocess.run(made, check=True, capture_output=True, timeout=60)
        packages = [
            package(tmp_path, "dqp.zip", ["qual_devices_v3"]),
            package(tmp_path, "disks.zip", DISKS),
            package(tmp_path, "shelves.zip", ["IOM12.0300.SFW"]),
            package(tmp_path, "sp.zip", ["LABSP_5.9_SP_FW.zip"], "--model", "LABSP", "--revision", "5.9"),
        ]
        for number, file in enumerate(packages, 1):
            with open(file, "rb") as body:
                sent = cluster.ask("/api/cluster/software/upload", method="POST", files={"file": (file.name, body)})
            assert sent.status_code == 202, sent.text
            rows = over(number)
            assert [row.fw_update_state for row in rows] == ["completed"] * number, [row.to_dict() for row in rows]
        assert [row.fw_file_name for row in rows] == ["dqp.zip", "disks.zip", "shelves.zip", "sp.zip"]
        for row in rows:
            workers = [status.worker for status in row.update_status]
            assert {worker.state for worker in workers} == {"complete"}, row.to_dict()
            assert {worker.error.code for worker in workers} == {0}
            assert len({worker.node.name for worker in workers}) == 4
        # What monitoring asks for, and what devices run now: asked for in the background.
        for _ in range(SECONDS):
            software = Software()
            software.get(fields="nodes.firmware")
            firmware = [node.firmware for node in software.nodes]
            if all(it.sp_bmc.running_version == "5.9" for it in firmware):
                break
            time.sleep(1)
        assert len(firmware) == 4
        for node in firmware:
            assert node.disk.update_status == "idle" and node.disk.num_waiting_download == 0
            assert node.shelf.update_status == "idle" and node.shelf.in_progress_count == 0
            assert (node.dqp.version, node.dqp.revision) == ("3.18", "20260131")
            assert node.dqp.record_count.drive == 2
            assert node.sp_bmc.running_version == "5.9" and not node.sp_bmc.in_progress
            progress = [shown.to_dict() for shown in node.cluster_fw_progress]
            assert [shown["zip_file_name"] for shown in progress][0] == "sp.zip", progress
            # Either release of the client reads one of the two names.
            (states,) = [value for name, value in progress[0].items() if name.startswith("update_state")]
            assert {state["status"] for state in states} == {"complete"}, progress
        # As it is on the wire.
        raw = cluster.ask("/api/cluster/software?fields=nodes.firmware").json()["nodes"][0]["firmware"]
        shown = raw["cluster_fw_progress"][0]
        assert shown["update_state"] == shown["update_states"]
        assert set(shown["update_states"][0]["worker_node"]) >= {"name", "uuid"}
