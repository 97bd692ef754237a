"""What is shown on the hosts: the README's commands, and a worker that dies in the middle."""

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
SNAPSHOTS_BEFORE_THE_LOSS = 10
RAY = ("raylet", "gcs_server", "ray::", "/ray/")
ALL = """
    SELECT checkpoint_id, c.step, reason, train_loss, test_loss, sha256, request, measure, variant,
           split, value, standard_error, m.status
    FROM checkpoints c JOIN measures m USING (checkpoint_id)
    ORDER BY ALL
"""


def blocks(readme: str) -> dict[str, str]:
    """The commands of the README that are marked for this, by name."""
    found = re.findall(r"<!-- on-premise: (\w+) -->\n```sh\n(.*?)```", readme, flags=re.DOTALL)
    return dict(found)


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def main() -> None:
    """Run it; any assertion that fails ends everything."""
    work, image = map(Path, sys.argv[1:])
    (work / "results").mkdir()
    make_bridge()
    make_keys(work)
    hosts = {n: Host(n, a, work, image) for n, a in {**ADDRESSES, **WORKERS}.items()}
    laptop = hosts["laptop"]
    give_project(work, laptop)
    # The one line of the file that is this scenario's to change; the addresses are the file's.
    config = "~/margin-study/cluster-on-premise.yaml"
    laptop.run(f"sed -i 's/ssh_user: ubuntu/ssh_user: {getpass.getuser()}/' {config}")
    commands = blocks((work / "project" / "README.md").read_text())
    exports = "\n".join(re.findall("^export .*", commands["up"], flags=re.MULTILINE))
    typed = {name: f"cd ~/margin-study\n{exports}\n{text}" for name, text in commands.items()}

    started = time.monotonic()
    laptop.run(typed["up"])
    say(f"ray up: {time.monotonic() - started:.0f} s")
    wait_until(lambda: nodes(laptop.run(typed["nodes"], check=False)) == 3, "three nodes", 240)
    say(f"three nodes after {time.monotonic() - started:.0f} s\n{laptop.run(typed['nodes'])}")
    refuse_strangers(hosts)

    tunnel = laptop.start(typed["tunnel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    probe = "exec 3<>/dev/tcp/127.0.0.1/8265"
    wait_until(lambda: laptop.start(probe, stderr=subprocess.DEVNULL).wait() == 0, "tunnel", 60)
    submitted = time.monotonic()
    say(laptop.run(typed["submit"]))
    stop(tunnel)
    say("submitted, and the way from the laptop is closed")

    results = work / "results" / "quickstart"
    wait_until(lambda: on_hosts(results) == WORKERS.keys(), "trials on both workers", 300)
    wait_until(lambda: snapshots(results) >= SNAPSHOTS_BEFORE_THE_LOSS, "snapshots", 900)
    before = completed(results)
    assert before < 12
    hosts["worker-2"].cut_power()
    say(f"power of worker-2 is cut; {before} of 12 trials are completed")

    say(f"while it runs, from the laptop:\n{laptop.run(typed['look'])}")
    assert "</html>" in laptop.run("cat ~/margin-study/report.html")
    wait_until(lambda: not re.search("RUNNING|PENDING", laptop.run(typed["job"])), "its end", 1800)
    seconds = time.monotonic() - submitted
    ended = laptop.run(typed["job"])
    say(f"the job ended {seconds:.0f} s after it was submitted:\n{ended}")
    assert "succeeded" in ended
    assert completed(results) == 12

    laptop.run(typed["down"])
    downed = time.monotonic()
    wait_until(lambda: not running(*RAY), "no process of Ray on any host", 300)
    say(f"no process of Ray on any host {time.monotonic() - downed:.0f} s after ray down")

    alone = "cd ~/margin-study && .venv/bin/python -m orchestrator run studies/quickstart.yaml -q"
    say(laptop.run(alone))
    laptop.run("cp -r ~/margin-study/results/quickstart /mnt/results/alone")
    ours, undisturbed = rows(results, ALL), rows(work / "results" / "alone", ALL)
    assert list(map(repr, ours)) == list(map(repr, undisturbed))  # as text: NaN equals NaN
    say(f"the laptop alone finds the same {len(ours)} rows")


def nodes(status: str) -> int:
    """How many nodes ``ray status`` calls healthy."""
    healthy = re.search(r"(?:Healthy|Active):\n((?: .*\n)*)", status)
    return sum(int(count) for count in re.findall(r"^ (\d+) ", healthy[1], re.M)) if healthy else 0


def refuse_strangers(hosts: dict[str, Host]) -> None:
    """Without the token nobody is let in, and the dashboard is not to be reached from outside."""
    ask = "curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8265/api/version"
    assert hosts["head"].run(ask) == "401"
    knock = f"exec 3<>/dev/tcp/{ADDRESSES['head']}/8265"
    assert "refused" in hosts["worker-1"].run(knock, check=False)
    say("the dashboard answers 401 without the token, and not at all from another host")


def rows(results: Path, sql: str) -> list[tuple]:
    with orchestrator.connect(results) as database:
        return database.execute(sql).fetchall()


def on_hosts(results: Path) -> set[str]:
    """The hosts on which trials were started, once there are results at all."""
    if not (results / "trials" / "_schema.parquet").exists():
        return set()
    return {host for (host,) in rows(results, "SELECT DISTINCT host FROM trials")}


def completed(results: Path) -> int:
    [(count,)] = rows(results, "SELECT count(*) FROM trials WHERE status = 'completed'")
    return count


def snapshots(results: Path) -> int:
    return len(list(results.glob("snapshots/*/*.json")))


if __name__ == "__main__":
    main()
