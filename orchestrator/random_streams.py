"""Independent random streams derived from one seed, each named by its purpose.

Every random choice has its own stream (``initialization``, ``order``, ``augmentation``,
``dropout``, ``probes`` …). Adding a measure, a worker or an interruption therefore never
shifts the random numbers of another purpose.
"""

from __future__ import annotations

import hashlib


def stream_seed(seed: int, purpose: str, *keys: str | int) -> int:
    """Derive the seed of one stream from a trial's seed.

    Args:
        seed: Seed of the whole trial (or data set).
        purpose: Purpose of the stream, for example ``"initialization"``.
        *keys: Further identification within the purpose, for example an epoch.

    Returns:
        An integer in ``[0, 2**63)``, suitable for ``torch.Generator.manual_seed`` and
        ``numpy.random.default_rng``. Equal arguments give equal seeds on every machine.

    >>> stream_seed(0, "order", 1) == stream_seed(0, "order", 1)
    True
    >>> stream_seed(0, "order", 1) == stream_seed(0, "order", 2)
    False
    """
    text = "\x1f".join([str(seed), purpose, *map(str, keys)])
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
