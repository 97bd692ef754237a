"""Hosts as namespaces of one machine, each with an address and an sshd."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

NAMESPACES = [
    *("unshare", "--net", "--mount", "--pid", "--uts", "--ipc"),
    *("--fork", "--kill-child", "--mount-proc"),
]
BRIDGE = "br0"
# Each host sees the whole machine's memory: other processes that fill it must not end its workers.
BOOT = """
hostname "$NAME"
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run && mkdir /run/sshd
mount -t tmpfs tmpfs /mnt && mkdir /mnt/results && mount --bind "$WORK/results" /mnt/results
mount -t overlay overlay -o lowerdir="$IMAGE:$HOME",upperdir="$OWN/home",workdir="$OWN/work" "$HOME"
mount --bind "$OWN/tmp" /tmp
exec "$(command -v sshd || echo /usr/sbin/sshd)" -D -e -f /dev/null -h "$WORK/host_key" \\
  -o "AuthorizedKeysFile=$WORK/authorized_keys" -o StrictModes=no -o UsePAM=no \\
  -o PasswordAuthentication=no -o PidFile=none -o PermitRootLogin=prohibit-password \\
  -o SetEnv=RAY_memory_monitor_refresh_ms=0
"""


def make_bridge() -> None:
    """Create the bridge between the hosts, in the network namespace of this process."""
    for command in (f"link add {BRIDGE} type bridge", f"link set {BRIDGE} up"):
        subprocess.run(["ip", *command.split()], check=True)


class Host:
    """One host.

    Args:
        name: The host name.
        address: The host's address.
        work: The scenario's folder.
        image: The layer over the real home that forms the host's initial home.
    """

    def __init__(self, name: str, address: str, work: Path, image: Path) -> None:
        self.name, self.address = name, address
        own = work / name
        for part in ("home", "work", "tmp"):
            (own / part).mkdir(parents=True)
        (own / "tmp").chmod(0o1777)
        self._log = (own / "sshd.log").open("w")
        self._unshare = subprocess.Popen(
            [*NAMESPACES, "bash", "-ec", BOOT],
            env={
                **os.environ,
                "NAME": name,
                "WORK": str(work),
                "OWN": str(own),
                "IMAGE": str(image),
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        wait_until(lambda: children.read_text().strip(), f"{name} starts", 10)
        self.pid = int(children.read_text())
        self._plug_in()
        wait_until(
            lambda: "Server listening" in (own / "sshd.log").read_text(), f"{name}: sshd", 30
        )

    def _plug_in(self) -> None:
        inside = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "ip"]
        for command in (
            f"ip link add to-{self.name} type veth peer name eth0 netns {self.pid}",
            f"ip link set to-{self.name} master {BRIDGE} up",
        ):
            subprocess.run(command.split(), check=True)
        for command in (
            f"addr add {self.address}/24 dev eth0",
            "link set eth0 up",
            "link set lo up",
            "route add default dev eth0",  # Ray takes the default route's address as the node's.
        ):
            subprocess.run([*inside, *command.split()], check=True)

    def start(self, script: str, **options) -> subprocess.Popen:
        """Start a bash script in the home of this host, as its user would."""
        home = os.environ["HOME"]
        return subprocess.Popen(
            ["nsenter", f"--target={self.pid}", "--all", f"--wd={home}", "bash", "-ec", script],
            env={"HOME": home, "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "dumb"},
            text=True,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a bash script and return its output."""
        process = self.start(script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = process.communicate()
        if check and process.returncode:
            raise AssertionError(
                f"{self.name}: exit code {process.returncode} of\n{script}\n{output}"
            )
        return output

    def cut_power(self) -> None:
        """Kill every process of the host immediately, which also ends its network."""
        os.kill(self.pid, signal.SIGKILL)
        self._unshare.wait()


def stop(process: subprocess.Popen) -> None:
    """Terminate a process of :meth:`Host.start` and its whole process group."""
    os.killpg(process.pid, signal.SIGTERM)
    process.wait()


def running(*names: str) -> list[str]:
    """Return the processes of all hosts whose command line contains one of ``names``."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # The process has ended.
            continue
        found += [command] if any(name in command for name in names) else []
    return found


def wait_until(
    happened: Callable[[], object], what: str, seconds: float, *, every: float = 0.5
) -> None:
    """Wait until ``happened`` returns a true value, polling every ``every`` seconds.

    Raises:
        AssertionError: If it has not happened within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(every)


def make_keys(work: Path) -> None:
    """Create the hosts' key and the file of authorized keys."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / "host_key"], check=True
    )
    (work / "authorized_keys").touch()


def give_project(work: Path, host: Host) -> None:
    """Copy the project into the home of a host, and give the host access to the others."""
    host.run(f"cp -r {work}/project/. ~/margin-study && mkdir -m 700 ~/.ssh")
    host.run("ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519")
    (work / "authorized_keys").write_text(host.run("cat ~/.ssh/id_ed25519.pub"))
