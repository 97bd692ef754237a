"""Where a suite's time goes: seconds of its tests by folder, set-ups included.

With ``$MINUTES_FILE`` set, several runs of pytest add up there, and each prints the sum so far:
``.ci/run`` shows with its last run what all of them took.
"""

import json
import os
from collections import Counter
from pathlib import Path

FILE = "MINUTES_FILE"


def seconds_by_folder(reports):
    """Add up the reports' durations by the folder of their test, two levels deep.

    Args:
        reports: Pairs ``(node id, seconds)``.
    """
    found = Counter()
    for node_id, seconds in reports:
        path = Path(node_id.partition("::")[0])
        found["/".join(path.parent.parts[:2])] += seconds
    return found


def added_up(found):
    """Add ``found`` to what earlier runs left in ``$MINUTES_FILE``, if that is set."""
    if not (name := os.environ.get(FILE)):
        return found
    file = Path(name)
    total = found + Counter(json.loads(file.read_text() or "{}") if file.is_file() else {})
    file.write_text(json.dumps(total))
    return total


def lines(total):
    """One line for each folder, the longest first, and one for all."""
    rows = [*total.most_common(), ("all", sum(total.values()))]
    return [f"{seconds / 60:6.1f} min  {folder}" for folder, seconds in rows]
