"""Output margins: how far the true class is ahead of the best other one."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isinf, nan

import numpy as np
import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.errors import MeasureError
from orchestrator.measures.base import CatalogEntry, Direction, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.norms.layer_factors import frobenius_product, spectral_product
from orchestrator.study.measure_options.margins import MarginOptions, Normalizer

LOGIT_NORM_FLOOR = 1e-10
_CITATION = "Jiang et al., arXiv:1810.00113; Bartlett et al., arXiv:1706.08498"
_SUMMARIES: tuple[tuple[str, str, str, Direction], ...] = (
    ("mean", "E γ", "logit", "higher"),
    ("median", "median γ", "logit", "higher"),
    ("p10", "10th percentile of γ", "logit", "higher"),
    ("p25", "25th percentile of γ", "logit", "higher"),
    ("min", "min γ", "logit", "higher"),
    ("negative_share", "Pr[γ < 0]", "1", "lower"),
)
_OF_WEIGHTS: dict[Normalizer, str] = {"spectral": "spectral", "frobenius": "Frobenius"}


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """The margin γ_i = z_y − max_{j≠y} z_j of each example; negative where it is misclassified.

    Args:
        logits: Shape ``(n, classes)``.
        labels: Shape ``(n,)``.

    Returns:
        Shape ``(n,)``, float64. No softmax is taken, so confident examples don't saturate.

    Raises:
        MeasureError: If there is one class only.
    """
    if logits.shape[1] < 2:
        raise MeasureError(
            f"a margin compares the true class with another one, but the network has "
            f"{logits.shape[1]} output"
        )
    z = logits.to(torch.float64)
    true = z.gather(1, labels[:, None])
    others = z.scatter(1, labels[:, None], -inf).amax(dim=1)
    return true[:, 0] - others


def logit_norms(logits: Tensor) -> Tensor:
    """‖z_i − mean_c z_ic‖₂ of each example, at least ``LOGIT_NORM_FLOOR``; shape ``(n,)``.

    From the logit normalization of Andriushchenko et al., arXiv:2302.07011.
    """
    z = logits.to(torch.float64)
    norms: Tensor = torch.linalg.vector_norm(z - z.mean(1, keepdim=True), dim=1)
    return norms.clamp_min(LOGIT_NORM_FLOOR)


def total_variation(logits: Tensor) -> float:
    """sqrt(Σ_c Var_i z_ic), the spread of the logits over examples (variance with 1/n).

    Jiang et al., arXiv:1810.00113, at the output layer.
    """
    z = logits.to(torch.float64)
    return z.var(dim=0, correction=0).sum().sqrt().item()


def summarize(values: Tensor) -> dict[str, float]:
    """Mean, median, 10th and 25th percentile and minimum of ``values``, by name.

    Quantiles interpolate linearly between order statistics (definition 7 of Hyndman and Fan,
    NumPy's default). A NaN makes every one of them NaN.
    """
    array = values.cpu().numpy()
    with np.errstate(invalid="ignore"):
        quantiles = np.quantile(array, [0.5, 0.1, 0.25, 0.0])
    median, p10, p25, smallest = quantiles.tolist()
    mean = values.mean().item()
    return {"mean": mean, "median": median, "p10": p10, "p25": p25, "min": smallest}


def negative_share(values: Tensor) -> float:
    """Share of ``values`` below 0; NaN if one of them is NaN."""
    return nan if values.isnan().any() else (values < 0).to(torch.float64).mean().item()


class Margin(Measure):
    """Summaries of the output margins of all examples, right and wrong ones alike.

    The variant says what the margin is divided by:

    - ``raw``: nothing. Changes with the logit scale.
    - ``logit_norm``: each example's own ‖z − mean z‖₂, at least 1e-10.
    - ``total_variation``: sqrt(Σ_c Var_i z_c) over the same examples.
    - ``spectral``: Π_l ‖W_l‖₂ (Bartlett et al., arXiv:1706.08498, the product in equation 1.2).
    - ``frobenius``: Π_l ‖W_l‖_F (Neyshabur et al., arXiv:1503.00036).

    ``layer_factors`` says which layers the products run over. Where a product is undefined for
    a network, the value is NaN with the reason.

    Invariances: rescaling of ReLU layers that leaves the function unchanged leaves every
    variant unchanged (the two products where there are no biases); multiplying all logits by
    a constant, in the last layer, leaves all but ``raw`` unchanged; permuting hidden units and
    adding a number to all logits change nothing. Higher is expected to be better. Cost: one
    forward pass, shared; the products add a few products with each weight.
    """

    entries = tuple(
        CatalogEntry(f"margin_{name}", "margin", symbol, unit, direction, _CITATION, "1 F")
        for name, symbol, unit, direction in _SUMMARIES
    )

    def __init__(self, options: MarginOptions) -> None:
        # Those that need weights come last: what needs logits alone is safe from their faults.
        self.normalizations = sorted(options.normalizations, key=lambda name: name in _OF_WEIGHTS)

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield each summary of each normalization, on train and on test.

        Raises:
            MeasureError: If there is one class only.
        """
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            raw = margins(context.logits(split), context.labels(split))
            for normalization in self.normalizations:
                values, reason = _normalized(context, split, raw, normalization)
                for name, value in summarize(values).items():
                    yield Value(
                        f"margin_{name}", value, variant=normalization, split=split, reason=reason
                    )
                if normalization == "raw":
                    share = negative_share(raw)
                    yield Value("margin_negative_share", share, variant="raw", split=split)


def _normalized(
    context: MeasureContext, split: Split, raw: Tensor, normalization: Normalizer
) -> tuple[Tensor, str | None]:
    """The margins divided by their norm, and why they aren't finite if that is known."""
    if normalization == "raw":
        return raw, None
    if normalization == "logit_norm":
        return raw / logit_norms(context.logits(split)), None
    if normalization == "total_variation":
        spread = total_variation(context.logits(split))
        reason = "the logits are the same for all examples" if spread == 0 else None
        return raw / spread, reason
    product = spectral_product if normalization == "spectral" else frobenius_product
    try:
        divisor = product(context)
    except MeasureError as error:
        return torch.full_like(raw, nan), str(error)
    if isinf(divisor) or divisor == 0:
        # An infinite product would turn every margin into a harmless looking 0.
        reason = f"the product of {_OF_WEIGHTS[normalization]} norms is {divisor}"
        return torch.full_like(raw, nan), reason
    return raw / divisor, None
