"""The Ray that a study starts is closed to others, as its own processes show."""

import ipaddress
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import ray

from orchestrator.cluster.processes import private_ray
from orchestrator.cluster.processes.private_ray import kept_private, short_folder


def descendants(root):
    """Ids of the processes below ``root``, itself included."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2]
            except OSError:  # it ended meanwhile
                continue
            parents[int(entry.name)] = int(after_name.split()[1])
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def sockets_of(process):
    """Inodes of the sockets that a process holds."""
    found = set()
    try:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            target = os.readlink(descriptor)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass
    return found


def listening(processes):
    """Addresses at which TCP connections are accepted, and the processes that do."""
    owners = {inode: process for process in processes for inode in sockets_of(process)}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and rest[5] in owners:
                digits = local.partition(":")[0]
                words = [bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8)]
                address = ipaddress.ip_address(b"".join(words))
                yield getattr(address, "ipv4_mapped", None) or address, owners[rest[5]]


@ray.remote(num_cpus=0)
class Someone:
    def process(self):
        return os.getpid()


@pytest.mark.ray
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.usefixtures("local_ray")
def test_every_port_listens_on_the_loopback_interface_only():
    someone = Someone.remote()
    worker = ray.get(someone.process.remote())
    processes = descendants(os.getpid())
    found = list(listening(processes))
    names = {Path(f"/proc/{process}/comm").read_text().strip() for _, process in found}
    assert {"gcs_server", "raylet"} <= names
    assert worker in {process for _, process in found}
    open_to_others = [(str(a), p) for a, p in found if not a.is_loopback]
    assert open_to_others == []
    ray.kill(someone)


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_there_is_no_dashboard():
    assert not ray._private.worker.global_worker.node.webui_url


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_clients_without_the_token_are_refused():
    address = ray.get_runtime_context().gcs_address
    # ``ray.init`` itself would try again for minutes.
    code = (
        "from ray._raylet import GcsClient\n"
        f"print(len(GcsClient(address={address!r}).get_all_node_info(timeout=30)))"
    )
    for changes, answer in (({}, "1\n"), ({"RAY_AUTH_TOKEN": "0" * 64}, "")):
        environment = {**os.environ, "RAY_AUTH_MODE": "token", **changes}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.stdout == answer
        assert ("AuthenticationError" in done.stderr) == bool(changes)


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_only_the_user_can_read_the_token(home):
    token = home / ".ray/auth_token"
    for _ in range(2):
        with kept_private():
            pass
        first = token.read_text()
        assert len(first) == 64
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        token.chmod(0o644)  # as Ray writes it
    assert token.read_text() == first
    assert [path.name for path in token.parent.iterdir()] == ["auth_token"]
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_read_only_home_leaves_no_token_file(home, monkeypatch):
    (home / ".ray").write_text("no folder")
    with kept_private():
        pass
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_a_token_set_by_the_user_is_kept(home, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    with kept_private():
        pass
    assert os.environ["RAY_AUTH_TOKEN"] == "mine"
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("length", [30, 39, 40, 90])
def test_a_long_temporary_path_is_replaced_by_a_short_one(monkeypatch, length):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/" + "t" * (length - 1))
    # Of the 107 bytes that a socket's path may have, Ray takes 4 and 64.
    assert bool(short_folder()) == (length > 39)


def test_rays_setting_is_restored():
    before = private_ray.ray_constants.ENABLE_RAY_CLUSTER
    with kept_private():
        assert private_ray.ray_constants.ENABLE_RAY_CLUSTER is False
    assert private_ray.ray_constants.ENABLE_RAY_CLUSTER is before


def test_only_leftovers_of_killed_runs_are_removed(tmp_path):
    killed, running, beginning, others = (tmp_path / f"session_{number}" for number in range(4))
    for folder in (killed, running, beginning, others):
        (folder / "logs").mkdir(parents=True)
    (beginning / private_ray.OWNED).touch()  # Its lock comes next.
    (killed / private_ray.OWNED).touch()
    with private_ray.owned(running):
        for old in (killed, running):
            os.utime(old / private_ray.OWNED, (0, 0))
        private_ray.remove_what_killed_runs_left(tmp_path)
        assert sorted(tmp_path.iterdir()) == [running, beginning, others]
