"""Construction of a measurable network from a trial's configuration and a snapshot."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from orchestrator.data.dataset import Dataset
from orchestrator.measures import Audited
from orchestrator.models import build_model, named_as
from orchestrator.study.measure_options import MeasuringOptions
from orchestrator.study.spec import TrialConfig
from orchestrator.training import build_loss, update_rule_at

PROBE_SEED = 0  # The same probes for every snapshot, so that probes cause no differences.


def subject(
    config: TrialConfig,
    seed: int,
    dataset: Dataset,
    settings: MeasuringOptions,
    device: str,
    state: Mapping[str, Tensor] | None = None,
    step: int = 0,
) -> Audited:
    """Return a trial's network with everything its measures need.

    Args:
        config: Configuration of the trial.
        seed: Seed of the trial; reproduces the network's initialization.
        dataset: Data set of the trial.
        settings: Number of examples to measure on.
        device: Device to measure on.
        state: State of a snapshot; by default, the network before training is returned.
        step: Number of updates before the snapshot.
    """
    model = build_model(
        config.model, dataset.input_shape, dataset.classes, seed, dataset.train_x.dtype
    )
    initial_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if state is not None:
        model.load_state_dict(named_as(model.state_dict(), state))
    return Audited(
        model.to(device),
        dataset,
        build_loss(config.training.loss),
        initial_state=initial_state,
        update_rule=update_rule_at(config.training, len(dataset.train_y), step),
        device=device,
        seed=PROBE_SEED,
        examples=settings.examples,
        examples_per_pass=settings.examples_per_pass,
        trial_seed=seed,
    )
