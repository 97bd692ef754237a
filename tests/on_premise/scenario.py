"""The scenario on the hosts: the README's commands, and a worker that dies during the run."""

import getpass
import re
import subprocess
import sys
import time
from pathlib import Path

import orchestrator
from tests.on_premise.hosts import (
    Host,
    give_project,
    make_bridge,
    make_keys,
    running,
    stop,
    wait_until,
)

ADDRESSES = {"laptop": "10.88.0.2", "head": "10.88.0.10"}
WORKERS = {"worker-1": "10.88.0.11", "worker-2": "10.88.0.12"}
TRIALS = 20  # In studies/quickstart.yaml.
SNAPSHOTS_BEFORE_THE_LOSS = 10
RAY = ("raylet", "gcs_server", "ray::", "/ray/")
ALL = """
    SELECT checkpoint_id, c.step, reason, train_loss, test_loss, sha256, request, measure, variant,
           split, value, standard_error, m.status
    FROM checkpoints c JOIN measures m USING (checkpoint_id) ORDER BY ALL
"""
# Ray's log lines, which are mixed with its answers.
LOGGED = re.compile(r"\d{4}-\d\d-\d\d .*\sV*(INFO|WARN)|\[\d{4}-|Warning: |Shared con| To ensure")


class Readme:
    """The README's commands, run on the laptop.

    Args:
        laptop: The host with a copy of the project.
        text: The README.
    """

    def __init__(self, laptop: Host, text: str) -> None:
        marked = r"<!-- on-premise: (\w+) -->\n```sh\n(.*?)```"
        self.laptop = laptop
        self.commands = dict(re.findall(marked, text, flags=re.DOTALL))
        # The variables of one terminal session.
        self.exports = re.findall("^export .*", self.commands["up"], flags=re.MULTILINE)

    def script(self, name: str) -> str:
        """Return the commands marked ``name``, for a new shell."""
        return "\n".join(["cd ~/margin-study", *self.exports, self.commands[name]])

    def type(self, name: str, *, check: bool = True) -> str:
        """Run the commands marked ``name`` and return their output."""
        return self.laptop.run(self.script(name), check=check)


def main() -> None:
    """Run the scenario; the first failed assertion ends it."""
    work, image = map(Path, sys.argv[1:])
    (work / "results").mkdir()
    make_bridge()
    make_keys(work)
    hosts = {n: Host(n, a, work, image) for n, a in {**ADDRESSES, **WORKERS}.items()}
    laptop = hosts["laptop"]
    give_project(work, laptop)
    # The only change to the file: the addresses are already those of the file.
    config = "~/margin-study/cluster-on-premise.yaml"
    laptop.run(f"sed -i 's/ssh_user: ubuntu/ssh_user: {getpass.getuser()}/' {config}")
    readme = Readme(laptop, (work / "project" / "README.md").read_text())

    start_cluster(readme)
    refuse_strangers(hosts)
    run_and_lose_a_worker(readme, work / "results" / "quickstart", hosts["worker-2"])
    take_down(readme)
    compare(laptop, work / "results")


def start_cluster(readme: Readme) -> None:
    started = time.monotonic()
    readme.type("up")
    say(f"ray up: {time.monotonic() - started:.0f} s")

    def three_nodes() -> bool:
        active = re.search(r"Active:\n((?: .*\n)*)", readme.type("nodes", check=False))
        return active is not None and active[1].startswith(" 3 ")

    # Each Ray command costs seconds of a core, which the hosts need.
    wait_until(three_nodes, "three nodes", 600, every=10)
    say(f"three nodes after {time.monotonic() - started:.0f} s\n{readme.type('nodes')}")


def refuse_strangers(hosts: dict[str, Host]) -> None:
    """Check that the dashboard requires the token and is unreachable from other hosts."""
    ask = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8265/api/version"
    assert hosts["head"].run(ask) == "401"
    knock = f"exec 3<>/dev/tcp/{ADDRESSES['head']}/8265"
    assert "refused" in hosts["worker-1"].run(knock, check=False)
    say("the dashboard answers 401 without the token, and refuses connections from another host")


def run_and_lose_a_worker(readme: Readme, results: Path, worker: Host) -> None:
    tunnel = readme.laptop.start(readme.script("tunnel"), stdout=subprocess.DEVNULL)
    knock = "exec 3<>/dev/tcp/127.0.0.1/8265"
    wait_until(lambda: "refused" not in readme.laptop.run(knock, check=False), "tunnel", 60)
    submitted = time.monotonic()
    readme.type("submit")
    stop(tunnel)
    say("submitted; the tunnel from the laptop is closed")

    wait_until(lambda: on_hosts(results) == WORKERS.keys(), "trials on both workers", 600)
    enough = SNAPSHOTS_BEFORE_THE_LOSS
    wait_until(lambda: snapshots(results) >= enough, "snapshots", 900)
    before = completed(results)
    assert before < TRIALS
    worker.cut_power()
    say(f"cut the power of {worker.name}; {before} of {TRIALS} trials are completed")

    say(f"during the run, from the laptop:\n{readme.type('status')}")
    assert "</html>" in readme.laptop.run("cat ~/margin-study/report.html")

    def over() -> bool:
        return re.search("RUNNING|PENDING", readme.type("job")) is None

    wait_until(over, "the end of the job", 3600, every=20)
    ended = readme.type("job")
    say(f"the job ended {time.monotonic() - submitted:.0f} s after it was submitted\n{ended}")
    assert "succeeded" in ended
    assert completed(results) == TRIALS


def take_down(readme: Readme) -> None:
    # The host without power cannot be reached.
    readme.type("down", check=False)
    downed = time.monotonic()
    wait_until(lambda: not running(*RAY), "no Ray process on any host", 60)
    say(f"no Ray process on any host {time.monotonic() - downed:.0f} s after ray down")


def compare(laptop: Host, results: Path) -> None:
    """Compare with the same study, undisturbed on one machine."""
    run = ".venv/bin/python -m orchestrator run studies/quickstart.yaml --results"
    say(laptop.run(f"cd ~/margin-study && {run} /mnt/results/alone --quiet"))
    found, undisturbed = rows(results / "quickstart", ALL), rows(results / "alone", ALL)
    assert list(map(repr, found)) == list(map(repr, undisturbed))  # As text: NaN is NaN.
    say(f"one machine gives the same {len(found)} rows")


def say(text: str) -> None:
    lines = [line for line in text.splitlines() if line and not LOGGED.search(line)]
    print(f"[{time.strftime('%H:%M:%S')}]", "\n".join(lines), flush=True)


def rows(results: Path, sql: str) -> list[tuple]:
    with orchestrator.connect(results) as database:
        return database.execute(sql).fetchall()


def on_hosts(results: Path) -> set[str]:
    """Return the hosts on which trials have started."""
    if not any((results / "trials").glob("[!_]*.parquet")):
        return set()
    return {host for (host,) in rows(results, "SELECT DISTINCT host FROM trials")}


def completed(results: Path) -> int:
    [(count,)] = rows(results, "SELECT count(*) FROM trials WHERE status = 'completed'")
    return count


def snapshots(results: Path) -> int:
    return len(list(results.glob("snapshots/*/*.json")))


if __name__ == "__main__":
    main()
