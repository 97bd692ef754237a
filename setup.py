"""Names the Python that is needed, before pip looks for packages that no older Python has."""

import sys

from setuptools import setup

if sys.version_info < (3, 11):  # noqa: UP036 - it is an older one that runs this
    sys.exit(
        "margin-study-orchestrator needs Python 3.11 or newer, and this is Python "
        f"{sys.version_info[0]}.{sys.version_info[1]}: make the environment with a newer one, "
        "for example python3.12 -m venv .venv"
    )
setup()
