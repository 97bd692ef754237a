"""The progress display of a run: bars in a terminal, one plain line per minute elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from orchestrator.cluster.trials.run_state import RunState
from orchestrator.terminal import printable

PLAIN_SECONDS = 60.0
REFRESH_SECONDS = 0.5


@contextmanager
def show_progress(state: RunState, *, quiet: bool = False) -> Iterator[None]:
    """Show the progress of ``state`` on standard error until the block ends."""
    if quiet:
        yield
        return
    console = Console(stderr=True)
    stop = threading.Event()
    show = _bars if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(state, console, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(2.0)


def tell(*, quiet: bool = False) -> Callable[[str], None]:
    """Return a function that prints a line to standard error, or does nothing if ``quiet``."""
    return (lambda text: None) if quiet else _told


def _told(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def summary_line(state: RunState) -> str:
    """Return the state of a run as one line of plain text."""
    parts = [f"trials {state.completed}/{state.total}"]
    if state.failed:
        parts.append(f"{len(state.failed)} failed")
    parts.append(f"{len(state.running)} running")
    dispatcher = state.dispatcher
    if dispatcher is not None:
        parts.append(f"snapshots measured {dispatcher.measured}, waiting {dispatcher.waiting}")
        if dispatcher.failures:
            parts.append(f"{len(dispatcher.failures)} measures failed")
    parts.append(_rates(state))
    return " · ".join(part for part in parts if part)


def _rates(state: RunState) -> str:
    elapsed = time.monotonic() - state.started_at
    dispatcher = state.dispatcher
    parts = [f"{duration(elapsed)} elapsed"]
    if dispatcher is not None and elapsed > 0:
        parts.append(f"{60 * dispatcher.measured / elapsed:.0f} snapshots/min")
    left = state.seconds_left()
    if left:
        parts.append(f"about {duration(left)} of training left")
    elif dispatcher is not None and dispatcher.measured and dispatcher.waiting:
        left = dispatcher.waiting * elapsed / dispatcher.measured
        parts.append(f"about {duration(left)} of measuring left")
    return " · ".join(parts)


def duration(seconds: float) -> str:
    """Format ``seconds`` for people: ``42 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _bars(state: RunState, console: Console, stop: threading.Event) -> None:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as progress:
        trials = progress.add_task("trials", total=state.total, note="")
        snapshots = progress.add_task("snapshots", total=None, note="")
        failures = progress.add_task("failures", total=None, note="", visible=False)
        while True:
            ended = stop.is_set()
            progress.update(trials, completed=state.completed, note=f"{len(state.running)} running")
            dispatcher = state.dispatcher
            if dispatcher is not None:
                known = dispatcher.measured + dispatcher.waiting
                progress.update(
                    snapshots, completed=dispatcher.measured, total=known, note=_rates(state)
                )
                failed = [f"{i}: {text}" for i, text in state.failed.items()]
                failed += map(str, dispatcher.failures)
                if failed:
                    note = printable(failed[-1].partition("\n")[0])[:100]
                    progress.update(failures, completed=len(failed), note=note, visible=True)
            if ended:
                break
            stop.wait(REFRESH_SECONDS)


def _lines(state: RunState, console: Console, stop: threading.Event) -> None:
    while not stop.wait(PLAIN_SECONDS):
        print(summary_line(state), file=sys.stderr, flush=True)
    print(summary_line(state), file=sys.stderr, flush=True)
