"""Run the README's section "A cluster" verbatim on three simulated hosts of one machine.

Run ``python -m tests.on_premise`` as root. It needs Linux with namespaces and overlayfs,
openssh-server, rsync and iproute2, and about 3 GB of disk. It takes some ten minutes; the first run
takes longer, because it installs the packages once into the initial home folder of all hosts.

Each host has its own network, process and mount namespaces and host name, and its own sshd, home,
/tmp and /dev/shm. All hosts see one folder for results, which stands for the file server. They live
inside one process namespace and end with it, so nothing is left. ``ray stop``, which ends every Ray
process that it can see, sees only their processes.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.on_premise.hosts import NAMESPACES

ROOT = Path(__file__).parents[2]
TOOLS = ("ip", "nsenter", "rsync", "ssh", "ssh-keygen", "sshd", "unshare")
INSTALL = """
mount -t overlay overlay -o lowerdir="$HOME",upperdir="$IMAGE/home",workdir="$IMAGE/work" "$HOME"
rm -rf ~/margin-study ~/.ray ~/.ssh
cp -r "$PROJECT" ~/margin-study && cd ~/margin-study
bash --login -i -c 'python3 -m venv .venv'
.venv/bin/pip install -q -c constraints.txt setuptools
.venv/bin/pip install -q -c constraints.txt --no-build-isolation -e '.[cluster]'
find . -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -r {} +
"""


def main() -> None:
    """Check the machine, install the hosts' initial home, and run the scenario on them."""
    parser = argparse.ArgumentParser(prog="python -m tests.on_premise", description=__doc__)
    default = Path("/var/tmp/margin-study-on-premise")
    parser.add_argument("--images", type=Path, default=default, help="kept between runs")
    images = parser.parse_args().images
    if os.geteuid() != 0:
        sys.exit("cannot run here: namespaces and mounts need root")
    missing = [
        tool for tool in TOOLS if shutil.which(tool, path="/usr/sbin:/sbin:" + os.defpath) is None
    ]
    if missing:
        sys.exit(f"cannot run here: install openssh-server, rsync and iproute2 for {missing}")
    refused = subprocess.run([*NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if refused.returncode:
        sys.exit(f"cannot run here: namespaces are not allowed: {refused.stderr.strip()}")

    work = Path(tempfile.mkdtemp(prefix="margin-study-hosts-", dir="/var/tmp"))
    try:
        copy_project(work / "project")
        image = install(images, work / "project")
        scenario = [sys.executable, "-m", "tests.on_premise.scenario", str(work), str(image)]
        ended = subprocess.run([*NAMESPACES, *scenario], cwd=ROOT, check=False)
    finally:
        shutil.rmtree(work)
    sys.exit(ended.returncode)


def copy_project(to: Path) -> None:
    """Copy the files that git tracks, and new ones that it does not ignore."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def install(images: Path, project: Path) -> Path:
    """Return an upper layer of the home folder, with the project's packages installed."""
    pins = [(project / name).read_bytes() for name in ("constraints.txt", "pyproject.toml")]
    image = images / hashlib.sha256(b"".join([*pins, INSTALL.encode()])).hexdigest()[:12]
    if not (image / "done").exists():
        print(f"installing the initial home of every host into {image}", flush=True)
        shutil.rmtree(images, ignore_errors=True)
        for layer in ("home", "work"):
            (image / layer).mkdir(parents=True)
        private = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        environment = {**os.environ, "IMAGE": str(image), "PROJECT": str(project)}
        subprocess.run([*private, "bash", "-ec", INSTALL], env=environment, check=True)
        (image / "done").touch()
    return image / "home"


if __name__ == "__main__":
    main()
