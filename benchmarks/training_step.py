"""Compare a training step here with a plain PyTorch loop over a DataLoader.

    python benchmarks/training_step.py

Both train the MLP 40-128-128-10 on 4,000 examples by SGD with momentum, on one thread. They run
alternately, one epoch per round, so that other load on the machine affects both. The script prints
the medians over rounds of the time per step and of the ratio within each round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from orchestrator.data.dataset import Dataset
from orchestrator.models import build_model
from orchestrator.study.spec import TrialConfig
from orchestrator.training.learner import Learner

EXAMPLES, INPUTS, CLASSES = 4000, 40, 10
BATCH_SIZES = (16, 64, 256, 1024)
WARM_UP = 2


def generated() -> Dataset:
    """Generate Gaussian classes of the size of MNIST-1D."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (EXAMPLES,), generator=generator)
    centres = torch.randn(CLASSES, INPUTS, generator=generator)
    inputs = centres[labels] + torch.randn(EXAMPLES, INPUTS, generator=generator)
    return Dataset("generated", inputs, labels, inputs, labels, CLASSES, "")


def configuration(batch_size: int) -> TrialConfig:
    """Return the configuration of the quickstart's network and optimizer."""
    return TrialConfig.model_validate(
        {
            "data": "mnist1d",
            "model": {"name": "mlp", "width": 128, "depth": 2},
            "training": {
                "batch_size": batch_size,
                "optimizer": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
                "stop": {"epochs": 1000},
            },
        }
    )


def plain_epoch(config: TrialConfig, dataset: Dataset) -> Callable[[], None]:
    """Return an epoch as one would write it by hand."""
    model = build_model(config.model, dataset.input_shape, dataset.classes, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    batches = DataLoader(
        TensorDataset(dataset.train_x, dataset.train_y),
        batch_size=config.training.batch_size,
        shuffle=True,
    )

    def epoch() -> None:
        for inputs, labels in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()

    return epoch


def our_epoch(config: TrialConfig, dataset: Dataset) -> Callable[[], None]:
    """Return an epoch of this package's training."""
    learner = Learner(config, 0, dataset, torch.device("cpu"))

    def epoch() -> None:
        learner.begin_epoch(learner.epoch + 1)
        learner.train_until(learner.epoch * learner.updates_per_epoch)

    return epoch


def seconds(work: Callable[[], None]) -> float:
    """Return the seconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and print the results for every batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    dataset = generated()
    print(f"torch {torch.__version__}, one thread, {rounds} rounds, microseconds per step")
    print(f"{'batch':>6} {'DataLoader':>11} {'here':>7} {'ratio':>6}   quartiles of the ratio")
    for batch_size in BATCH_SIZES:
        config = configuration(batch_size)
        plain, ours = plain_epoch(config, dataset), our_epoch(config, dataset)
        pairs = [(seconds(plain), seconds(ours)) for _ in range(WARM_UP + rounds)][WARM_UP:]
        steps = -(-EXAMPLES // batch_size)
        there, here = (
            1e6 * statistics.median(column) / steps for column in zip(*pairs, strict=True)
        )
        low, ratio, high = statistics.quantiles([one / other for one, other in pairs], n=4)
        print(
            f"{batch_size:>6} {there:>11.0f} {here:>7.0f} {ratio:>6.2f}   {low:.2f} to {high:.2f}"
        )


if __name__ == "__main__":
    main()
