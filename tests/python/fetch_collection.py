"""Takes the netapp.ontap collection, as it is, out of the `ansible` package: fetch_collection.py FOLDER

The folder is made whole or not at all, and is left alone when it is there for the package that is asked for.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

REQUIREMENTS = Path(__file__).with_name("requirements-collection.txt")
WANTED = "ansible_collections/netapp/ontap/"
# What the folder was made from.
ORIGIN = "requirements.txt"


def main(folder):
    origin = folder / ORIGIN
    if origin.exists() and origin.read_text() == REQUIREMENTS.read_text():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "collection"
        for wheel in download(Path(scratch)):
            with ZipFile(wheel) as archive:
                archive.extractall(made, [name for name in archive.namelist() if name.startswith(WANTED)])
        shutil.copy(REQUIREMENTS, made / ORIGIN)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def download(scratch):
    """Nothing of it is built or run."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", scratch, "-r", REQUIREMENTS]
    subprocess.run(command, check=True)
    return scratch.glob("*.whl")


main(Path(sys.argv[1]))
