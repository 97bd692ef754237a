"""The first signal ends the block in order, the second the process."""

import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, threading
from orchestrator.cluster.processes.interrupts import interrupts
if "nohup" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
with interrupts():
    try:
        print("working", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        print("tidying", flush=True)
        if "stuck" in sys.argv:
            threading.Event().wait()
print("after", signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
"""


@pytest.fixture
def program():
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "working\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_ends_the_block_and_restores_the_handlers(program, number):
    process = program()
    process.send_signal(number)
    assert process.communicate(timeout=600)[0] == "tidying\nafter True\n"
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_process_immediately(program, number):
    process = program("stuck")
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline() == "tidying\n"
    process.send_signal(signal.SIGHUP)  # The loss of one terminal is told more than once.
    process.send_signal(number)
    assert process.communicate(timeout=600)[0] == ""
    assert process.returncode == 130


def test_an_ignored_signal_stays_ignored(program):
    process = program("nohup")
    os.kill(process.pid, signal.SIGHUP)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=600)[0] == "tidying\nafter True\n"
