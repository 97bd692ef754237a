"""Statistics by loops, as their definitions say."""

import itertools
import math

import numpy as np


def tau_a(x, y):
    n = len(x)
    signs = [np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i in range(n) for j in range(n)]
    return sum(signs) / (n * (n - 1))


def jiang_information(x, y, codes):
    """Î of every set of at most two columns, as H(V_g | U) − H(V_g | V_μ, U) over H(V_g | U)."""

    def entropy(keys):
        return -sum(
            keys.count(key) / len(keys) * math.log2(keys.count(key) / len(keys))
            for key in set(keys)
        )

    pairs = [
        (i, j) for i, j in itertools.permutations(range(len(x)), 2) if x[i] != x[j] and y[i] != y[j]
    ]
    found = {}
    for size in range(3):
        for places in itertools.combinations(range(len(codes[0])), size):
            u = [tuple((codes[i][p], codes[j][p]) for p in places) for i, j in pairs]
            g, m = [y[i] > y[j] for i, j in pairs], [x[i] > x[j] for i, j in pairs]
            uncertain = entropy(list(zip(u, g, strict=True))) - entropy(u)
            left = entropy(list(zip(u, m, g, strict=True))) - entropy(list(zip(u, m, strict=True)))
            found[places] = (uncertain - left) / uncertain if uncertain > 1e-9 else math.nan
    return found


def pgdl_score(x, y, levels):
    """What the scoring program computes for the whole grid of ``levels``, cell by cell."""
    rows, smallest = list(itertools.product(*levels)), math.inf
    for a, b in itertools.permutations(range(len(levels)), 2):
        cells = {}
        keys = [
            f"{one}{two}{three}{four}"
            for one, two in itertools.product(levels[a], repeat=2)
            for three, four in itertools.product(levels[b], repeat=2)
        ]
        for i, j in itertools.product(range(len(x)), repeat=2):
            key = f"{rows[i][a]}{rows[j][a]}{rows[i][b]}{rows[j][b]}"
            table = cells.setdefault(key, np.zeros((2, 2)))
            table[0 if y[i] > y[j] else 1, 0 if x[i] > x[j] else 1] += 1
        information = entropies = 0.0
        for place, key in enumerate(keys):
            if key in keys[place + 1 :]:  # The last cell of a key has all of its pairs.
                information = entropies = math.nan
                continue
            joint, gap, measure = (
                counts / cells[key].sum()
                for counts in (cells[key], cells[key].sum(axis=1), cells[key].sum(axis=0))
            )
            entropies += -np.sum(gap * np.log2(gap + 1e-12))
            of_cell = 0.0
            for g, m in itertools.product(range(2), repeat=2):
                if joint[g, m]:
                    of_cell += joint[g, m] * np.log2(joint[g, m] / (gap[g] * measure[m]))
            information += of_cell
        # Both are divided by the number of cells before each other, which changes last digits.
        information, entropies = information / len(keys), entropies / len(keys)
        smallest = min(information / entropies, smallest)
    return smallest
