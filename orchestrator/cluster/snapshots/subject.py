"""From a trial's configuration and a snapshot to a network that can be measured."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from orchestrator.data.dataset import Dataset
from orchestrator.measures import Audited
from orchestrator.models import build_model, named_as
from orchestrator.study.measure_options import MeasuringOptions
from orchestrator.study.spec import TrialConfig
from orchestrator.training import build_loss, update_rule_at

PROBE_SEED = 0  # The same probes for every snapshot, so that differences are not the probes'.


def subject(
    config: TrialConfig,
    seed: int,
    dataset: Dataset,
    settings: MeasuringOptions,
    device: str,
    state: Mapping[str, Tensor] | None = None,
    step: int = 0,
) -> Audited:
    """A trial's network with all that measures of it need.

    Args:
        config: Of the trial.
        seed: Of the trial; the network is rebuilt as it was initialized.
        dataset: Its data.
        settings: On how many examples it is measured.
        device: Where it is measured.
        state: Of a snapshot; without, the network is the one before training.
        step: Updates until then.
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
