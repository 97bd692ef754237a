"""Time of a suite per folder: seconds of its tests, including set-ups.

If ``$MINUTES_FILE`` is set, several runs of pytest add up in that file, and each prints the sum so
far. The last run of ``.ci/run`` thus shows the total.
"""

import json
import os
from collections import Counter
from pathlib import Path

FILE = "MINUTES_FILE"


def seconds_by_folder(reports):
    """Add up the reports' durations per folder of their tests, two levels deep.

    Args:
        reports: Pairs ``(node id, seconds)``.
    """
    found = Counter()
    for node_id, seconds in reports:
        path = Path(node_id.partition("::")[0])
        found["/".join(path.parent.parts[:2])] += seconds
    return found


def added_up(found):
    """Add ``found`` to the sums of earlier runs in ``$MINUTES_FILE``, if set; return the total."""
    if not (name := os.environ.get(FILE)):
        return found
    file = Path(name)
    total = found + Counter(json.loads(file.read_text() or "{}") if file.is_file() else {})
    file.write_text(json.dumps(total))
    return total


def lines(total):
    """Return one line per folder, the longest first, and one for all."""
    rows = [*total.most_common(), ("all", sum(total.values()))]
    return [f"{seconds / 60:6.1f} min  {folder}" for folder, seconds in rows]
