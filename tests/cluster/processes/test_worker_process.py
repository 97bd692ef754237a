"""How worker processes are set up."""

import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from orchestrator.cluster.processes.worker_process import prepare_process

{prepare}
for _ in range(20):
    torch.ones(8 << 20)  # 32 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, torch.get_num_threads())
"""


def faults_and_threads(prepare: str) -> tuple[int, int]:
    code = FAULTS.format(prepare=prepare)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    faults, threads = done.stdout.split()
    return int(faults), int(threads)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another malloc")
@pytest.mark.slow
def test_workers_keep_freed_memory() -> None:
    paged_anew, _ = faults_and_threads("")
    kept, threads = faults_and_threads("prepare_process(1)")
    assert threads == 1
    assert kept < paged_anew / 20
