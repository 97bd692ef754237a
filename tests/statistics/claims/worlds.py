"""Simulated worlds in which a claim is true or false, and one study of each world.

A world draws conditions, seeds and snapshots and hands them to the claim as the report does. Its
truth is known: that of conditions without end where they are drawn, that of these conditions with
seeds without end in a grid. On the *edge* the truth lies just where the verdict changes, which is
where a wrong verdict is likeliest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from orchestrator.statistics import (
    Claim,
    Design,
    Groups,
    flatness_is_an_epiphenomenon,
    flatness_tracks_margin,
    large_batch_needs_time,
    margin_is_cheaper,
    margin_predicts_gap_at_least_as_well,
)
from orchestrator.statistics.study_design import FEWEST_CONDITIONS

Generator = np.random.Generator
SHARE = 0.7  # Of the variance, what conditions carry; of the rest networks carry 0.8.


@dataclass(frozen=True)
class World:
    """One way the world can be.

    Attributes:
        claim: Name of the claim.
        name: What the world is like.
        truth: Whether the claim is true in it; None on an edge, and where it is neither.
        draw: One study of it, judged.
        power: The least share of studies that must find the truth; 0 where none is promised.
        sliced: Whether the default suite draws some studies of it, too.
    """

    claim: str
    name: str
    truth: bool | None
    draw: Callable[[Generator], Claim]
    power: float = 0.0
    sliced: bool = False


def pairs(generator, shape, r, tail=None):
    """Two columns of correlation r: shape (*shape, 2), normal, or t with ``tail`` degrees."""
    one, other = generator.normal(size=(2, *shape))
    columns = np.stack([one, r * one + np.sqrt(1 - r * r) * other], axis=-1)
    if tail:
        columns /= np.sqrt(generator.chisquare(tail, size=(*shape, 1)) / tail)
    return columns


def nested(generator, conditions, seeds, snapshots, between, inside, share=SHARE, tail=None):
    """Two columns over conditions, networks and snapshots: shape (c, k, m, 2)."""
    left = 1 - share
    y = np.sqrt(share) * pairs(generator, (conditions, 1, 1), between, tail)
    y = y + np.sqrt(0.8 * left) * pairs(generator, (conditions, seeds, 1), inside, tail)
    return y + np.sqrt(0.2 * left) * pairs(generator, (conditions, seeds, snapshots), inside, tail)


def grouped(conditions, seeds, snapshots=1):
    trials = conditions * seeds
    return Groups(np.repeat(np.arange(trials), snapshots), np.repeat(np.arange(conditions), seeds))


def grid_design(groups, *lengths):
    """A grid whose last axis varies fastest, with uneven levels."""
    conditions = groups.condition[groups.trial]
    places = np.unravel_index(conditions, lengths)
    names = [chr(ord("a") + axis) for axis in range(len(lengths))]
    levels = {n: [f"level {one}" for one in p] for n, p in zip(names, places, strict=True)}
    return Design.of(levels, groups)


# ------------------------------------------------------------------ flatness tracks margin


def tracked(columns, groups, design, kinds=None, train_loss=None):
    x, y = columns.reshape(-1, 2).T
    loss = np.full(len(x), 0.05) if train_loss is None else train_loss
    return flatness_tracks_margin(
        10**x, y, loss, np.zeros(len(x)), groups, design=design, kinds=kinds
    )


def tracking(conditions, r, *, seeds=3, snapshots=4, tail=None, inside=None, share=SHARE):
    """Conditions drawn at random, r between them and inside."""

    def draw(generator):
        groups = grouped(conditions, seeds, snapshots)
        within = r if inside is None else inside
        columns = nested(generator, conditions, seeds, snapshots, r, within, share, tail)
        return tracked(columns, groups, Design.drawn_one_by_one(groups))

    return draw


def tracking_on_grid(lengths, r, seeds=3):
    """A grid whose axes have effects of their own, 0.4 of the variance each."""

    def draw(generator):
        cells = int(np.prod(lengths))
        groups = grouped(cells, seeds)
        y = np.sqrt(0.1) * pairs(generator, (*lengths, 1), r)
        y = y + np.sqrt(0.1) * pairs(generator, (*lengths, seeds), r)
        for axis in range(len(lengths)):
            shape = [n if place == axis else 1 for place, n in enumerate(lengths)]
            y = y + np.sqrt(0.4) * pairs(generator, (*shape, 1), r)
        return tracked(y, groups, grid_design(groups, *lengths))

    return draw


def tracking_in_grid(conditions, r, seeds=3, snapshots=4):
    """Fixed conditions: the same r between these as inside each."""
    fixed = pairs(np.random.default_rng(conditions), (conditions, 1, 1), 0.0)
    fixed = fixed - fixed.mean(axis=0)
    square = np.einsum("ckmi,ckmj->ij", fixed, fixed) / conditions
    white = fixed @ np.linalg.inv(np.linalg.cholesky(square)).T
    wanted = white @ np.linalg.cholesky(np.array([[1, r], [r, 1]])).T

    def draw(generator):
        groups = grouped(conditions, seeds, snapshots)
        noise = nested(generator, 1, conditions * seeds, snapshots, 0.0, r, share=0.0)
        noise = noise.reshape(conditions, seeds, snapshots, 2)
        columns = np.sqrt(SHARE) * wanted + np.sqrt(1 - SHARE) * noise
        return tracked(columns, groups, grid_design(groups, conditions))

    return draw


def tracking_in_architectures(conditions, inside, offset, seeds=3, snapshots=4):
    """Two architectures, each with half of the conditions, ``offset`` apart in trace and margin."""

    def draw(generator):
        groups = grouped(conditions, seeds, snapshots)
        columns = nested(generator, conditions, seeds, snapshots, inside, inside)
        kind = np.arange(conditions) % 2
        columns = columns + kind[:, None, None, None] * np.array(offset)
        loss = 10 ** generator.normal(size=columns[..., 0].shape)
        log_loss = np.log10(loss)
        columns = columns + 0.5 * np.stack([log_loss, -log_loss], axis=-1)
        kinds = np.repeat(np.array(["cnn", "mlp"])[kind], seeds * snapshots)
        design = Design.drawn_one_by_one(groups)
        return tracked(columns, groups, design, kinds.tolist(), loss.ravel())

    return draw


def unqualified(draw):
    """A claim that holds as stated only says that it does not survive: that is no wrong verdict."""

    def again(generator):
        claim = draw(generator)
        return claim if claim.reads != f"holds {claim.scope}, as stated only" else None

    return again


# ----------------------------------------------------------------------- margin is cheaper


def cheaper(conditions, ratio, *, drawn=True, seeds=3, snapshots=8, between=0.5):
    """Seconds whose ratio is lognormal over conditions, trials and snapshots."""

    def draw(generator):
        source = generator if drawn else np.random.default_rng(conditions)
        of_condition = between * source.normal(size=(conditions, 1, 1))
        if not drawn:
            of_condition -= np.median(of_condition)
        log = of_condition + 0.1 * generator.normal(size=(conditions, seeds, 1))
        log = log + 0.2 * generator.normal(size=(conditions, seeds, snapshots))
        groups = grouped(conditions, seeds, snapshots)
        seconds = ratio * np.exp(log).ravel()
        design = Design.drawn_one_by_one(groups) if drawn else grid_design(groups, conditions)
        methods = ["exact"] * len(seconds)
        return margin_is_cheaper(seconds, np.ones(len(seconds)), groups, methods, design=design)

    return draw


# ---------------------------------------------------------- margin predicts gap as well


def predicting(conditions, tau_margin, tau_trace, *, seeds=3, share=0.5, tail=None):
    """Gap, margin and trace of networks with these τ between conditions and inside."""
    a, b = np.sin(np.pi * np.array([tau_margin, tau_trace]) / 2)
    other = max(-0.9, a * b - 0.9 * np.sqrt((1 - a * a) * (1 - b * b)))
    root = np.linalg.cholesky(np.array([[1, a, b], [a, 1, other], [b, other, 1]]))

    def draw(generator):
        parts = []
        for shape in ((conditions, 1), (conditions, seeds)):
            z = generator.normal(size=(*shape, 3))
            if tail:
                z /= np.sqrt(generator.chisquare(tail, size=(*shape, 1)) / tail)
            parts.append(z @ root.T)
        y = np.sqrt(share) * parts[0] + np.sqrt(1 - share) * parts[1]
        gap, margin, trace = y.reshape(-1, 3).T
        groups = grouped(conditions, seeds)
        return margin_predicts_gap_at_least_as_well(
            margin,
            trace,
            {"loss gap": gap, "error gap": gap},
            groups,
            design=Design.drawn_one_by_one(groups),
        )

    return draw


# ------------------------------------------------------------------ large batch needs time


def batches(settings, ratio, *, at_epochs=0.4, seeds=3, spread=0.05, noise=0.05):
    """Margins that grow with updates; the largest batch has ``ratio`` of the smallest's.

    ``at_epochs`` is what the largest has of the smallest after as many epochs.
    """
    sizes = np.array([16, 64, 256])

    def draw(generator):
        effect = ratio * np.maximum(1 + spread * generator.normal(size=settings), 0.05)
        base = np.exp(0.3 * generator.normal(size=settings))
        columns = {name: [] for name in ("margin", "updates", "epochs", "size", "setting", "trial")}
        trial = 0
        for setting in range(settings):
            for size in sizes:
                for _ in range(seeds):
                    own = 1 + noise * generator.normal()
                    relative = {16: 1.0, 64: (1 + effect[setting]) / 2, 256: effect[setting]}[size]
                    # At 160 updates of 256 and of 16; at 10 epochs of both.
                    for updates, epochs, grown in _curve(size, at_epochs / ratio):
                        columns["margin"].append(base[setting] * relative * own * grown)
                        columns["updates"].append(updates)
                        columns["epochs"].append(epochs)
                        columns["size"].append(size)
                        columns["setting"].append(setting)
                        columns["trial"].append(trial)
                    trial += 1
        arrays = {name: np.array(values) for name, values in columns.items()}
        labels = arrays["setting"] * 1000 + arrays["size"]
        groups = Groups.of(arrays["trial"].tolist(), labels.tolist())
        levels = {"batch size": arrays["size"].tolist(), "other": arrays["setting"].tolist()}
        design = Design.of(levels, groups, {"other"})
        return large_batch_needs_time(
            arrays["margin"],
            {},
            arrays["updates"].astype(float),
            arrays["epochs"].astype(float),
            arrays["size"].tolist(),
            groups,
            design=design,
        )

    return draw


def _curve(size, early):
    """Updates, epochs, and the share of the margin reached by then.

    Small batches make 160 updates an epoch and train for one; the largest make 10 an epoch and
    train for 16. The share after one epoch of the largest is ``early``.
    """
    per_epoch = 2560 // size
    return [
        (per_epoch, 1, 1.0 if size == 16 else early),
        *((160, 16 * size // 256, 1.0) for _ in range(int(size != 16))),
    ]


# ------------------------------------------------------------- flatness is an epiphenomenon


def ways(settings, slopes, *, seeds=3, snapshots=3, noise=0.25, shift=0.0, usual=-1.0):
    """Log trace on margin with a line for each way of training, over the same settings."""

    def draw(generator):
        names = ["usual", *(f"way {place}" for place in range(1, len(slopes)))]
        shape = (settings, len(slopes), seeds, snapshots)
        x = np.sqrt(0.7) * generator.normal(size=(settings, 1, 1, 1))
        x = x + np.sqrt(0.1) * generator.normal(size=(settings, len(slopes), 1, 1))
        x = x + np.sqrt(0.2) * generator.normal(size=shape)
        slope = usual * np.array(slopes)[None, :, None, None]
        # In a grid the truth is that of its conditions, so these must lie on their lines.
        of_condition = noise if settings >= FEWEST_CONDITIONS else 0.0
        y = slope * x + of_condition * generator.normal(size=(settings, len(slopes), 1, 1))
        y = (
            y
            + noise * generator.normal(size=(*shape[:3], 1))
            + noise * generator.normal(size=shape)
        )
        moved = shift * np.arange(len(slopes))[None, :, None, None]
        x, y = x + moved, y - moved
        places = [one.ravel() for one in np.indices(shape)]
        trial = np.ravel_multi_index(places[:3], shape[:3])
        condition = places[0] * len(slopes) + places[1]
        groups = Groups.of(trial.tolist(), condition.tolist())
        way = [names[place] for place in places[1]]
        design = Design.of({"way": way, "other": places[0].tolist()}, groups, {"other"})
        return flatness_is_an_epiphenomenon(
            10 ** y.ravel(), x.ravel(), np.zeros(x.size), way, "usual", groups, design=design
        )

    return draw


def _tracking():
    claim = "flatness_tracks_margin"
    in_architectures = tracking_in_architectures
    yield World(claim, "edge, 6 drawn", None, tracking(6, -0.8))
    yield World(claim, "edge, 12 drawn", None, tracking(12, -0.8), sliced=True)
    yield World(claim, "edge, heavy tails", None, tracking(12, -0.8, tail=3))
    yield World(claim, "edge, 4 × 6 grid", None, tracking_on_grid((4, 6), -0.8), sliced=True)
    yield World(claim, "edge, this grid of 4", None, tracking_in_grid(4, -0.8), sliced=True)
    yield World(claim, "edge, two architectures", None, in_architectures(12, -0.8, (6, 2)))
    yield World(claim, "r = −0.6", False, tracking(12, -0.6), 0.2)
    yield World(claim, "Simpson: +0.9 inside", False, in_architectures(12, 0.9, (6, -6)), 0.9, True)
    yield World(
        claim,
        "−0.97 between conditions, +0.9 inside",
        False,
        unqualified(tracking(12, -0.97, inside=0.9, share=0.9)),
    )
    yield World(claim, "r = −0.95, 12 drawn", True, tracking(12, -0.95), 0.6)
    yield World(claim, "r = −0.95, this grid of 4", True, tracking_in_grid(4, -0.95), 0.7, True)
    yield World(
        claim, "−0.97 inside two, pooled weak", True, in_architectures(16, -0.97, (6, 2)), 0.85
    )


def _cheaper():
    claim = "margin_is_cheaper"
    yield World(claim, "edge, 6 drawn", None, cheaper(6, 10), sliced=True)
    yield World(claim, "edge, 12 drawn", None, cheaper(12, 10))
    for conditions in (2, 3, 4):
        fixed = cheaper(conditions, 10, drawn=False)
        yield World(claim, f"edge, this grid of {conditions}", None, fixed)
    yield World(claim, "20 times, 12 drawn", True, cheaper(12, 20), 0.8, True)
    yield World(claim, "20 times, this grid of 4", True, cheaper(4, 20, drawn=False), 0.9)
    yield World(claim, "5 times, 12 drawn", False, cheaper(12, 5), 0.8)


def _gap():
    claim = "margin_predicts_gap_at_least_as_well"
    yield World(claim, "edge, 6 drawn", None, predicting(6, -0.4, 0.5))
    yield World(claim, "edge, 12 drawn", None, predicting(12, -0.4, 0.5), sliced=True)
    yield World(claim, "wrong sign, as strong", False, predicting(12, 0.6, 0.6), 0.9, True)
    yield World(claim, "wrong sign, stronger", False, predicting(12, 0.6, 0.3), 0.9)
    yield World(claim, "no relation", None, predicting(12, 0.0, 0.0))
    yield World(claim, "wrong sign, trace none", False, predicting(12, 0.3, 0.0))
    yield World(claim, "stronger by 0.1, 12 drawn", True, predicting(12, -0.6, 0.5), 0.5)
    yield World(claim, "stronger by 0.2, 12 drawn", True, predicting(12, -0.7, 0.5), 0.8)


def _large_batch():
    claim = "large_batch_needs_time"
    yield World(claim, "half the margin for ever, one setting", False, batches(1, 0.5), 0.8, True)
    yield World(claim, "half the margin for ever, 6 drawn", False, batches(6, 0.5), 0.9)
    yield World(claim, "epochs suffice, too", False, batches(1, 1.0, at_epochs=1.0), 0.4)
    for settings in (1, 3, 6):
        for edge in (0.8, 1.2):
            spread = 0.05 if settings == 6 else 0.0
            draw = batches(settings, edge, spread=spread)
            name = f"edge {edge:g}, {settings} settings"
            yield World(claim, name, None, draw, sliced=(settings, edge) == (3, 0.8))
    yield World(claim, "the same, one setting", True, batches(1, 1.0), 0.5)
    yield World(claim, "the same, 6 drawn", True, batches(6, 1.0), 0.9, True)


def _epiphenomenon():
    claim = "flatness_is_an_epiphenomenon"
    yield World(claim, "slope half, 6 drawn", None, ways(6, [1, 0.5]), sliced=True)
    yield World(claim, "slope double, 12 drawn", None, ways(12, [1, 2, 1]))
    yield World(claim, "slope half, this grid of 2", None, ways(2, [1, 0.5, 1]))
    yield World(claim, "none inside, means on a line", None, ways(8, [0, 0, 0], shift=3.0))
    yield World(claim, "one line, 12 drawn", False, ways(12, [1, 1, 1]), 0.8)
    yield World(claim, "slope flipped, 6 drawn", True, ways(6, [1, -1]), 0.9, True)
    yield World(claim, "slope flipped, this grid of 2", True, ways(2, [1, -1, 1]), 0.5)


WORLDS = [*_tracking(), *_cheaper(), *_gap(), *_large_batch(), *_epiphenomenon()]
