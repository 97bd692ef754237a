"""Output margins: the lead of the true class over the best other class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, isinf, nan

import numpy as np
import torch
from torch import Tensor

from orchestrator.data.dataset import Split
from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.base import CatalogEntry, Direction, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.margins.calibration import calibration
from orchestrator.measures.norms.homogeneity import homogeneous_norm
from orchestrator.measures.norms.layer_factors import frobenius_product, spectral_product
from orchestrator.measures.norms.spectral_complexity import spectral_complexity
from orchestrator.study.measure_options.margins import MarginOptions, Normalizer

LOGIT_NORM_FLOOR = 1e-10
_CITATION = "Jiang et al., arXiv:1810.00113; Bartlett et al., arXiv:1706.08498"
_INVARIANCES = (
    "layer rescaling (all but homogeneous, spectral_complexity), logit scale (all but raw, "
    "probability, homogeneous, spectral_complexity)"
)
_SUMMARIES: tuple[tuple[str, str, str, Direction], ...] = (
    ("mean", "E γ", "logit", "higher"),
    ("median", "median γ", "logit", "higher"),
    ("p10", "10th percentile of γ", "logit", "higher"),
    ("p25", "25th percentile of γ", "logit", "higher"),
    ("min", "min γ", "logit", "higher"),
    ("negative_share", "Pr[γ < 0]", "1", "lower"),
)
_OF_WEIGHTS: dict[Normalizer, tuple[str, Callable[[MeasureContext], float]]] = {
    "spectral": ("the product of spectral norms", spectral_product),
    "frobenius": ("the product of Frobenius norms", frobenius_product),
    "spectral_complexity": ("the spectral complexity", spectral_complexity),
    "homogeneous": ("the parameter norm to the power of the degree", homogeneous_norm),
}


_TEMPERATURE = CatalogEntry(
    measure="calibration_temperature",
    family="margin",
    symbol="T",
    unit="1",
    direction="neutral",
    citation="Guo et al., arXiv:1706.04599, section 4.2",
    cost="1 F",
    invariances="layer rescaling",
)


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the margin γ_i = z_y − max_{j≠y} z_j of each example; negative if misclassified.

    Args:
        logits: Shape ``(n, classes)``.
        labels: Shape ``(n,)``.

    Returns:
        Shape ``(n,)``, float64. No softmax is taken, so confident examples do not saturate.

    Raises:
        MeasureError: If the network has only one class.
    """
    if logits.shape[1] < 2:
        raise MeasureError(
            f"a margin compares the true class with another class, but the network has "
            f"{logits.shape[1]} output"
        )
    z = logits.to(torch.float64)
    true = z.gather(1, labels[:, None])
    others = z.scatter(1, labels[:, None], -inf).amax(dim=1)
    return true[:, 0] - others


def logit_norms(logits: Tensor) -> Tensor:
    """Return ‖z_i − mean_c z_ic‖₂ of each example, at least ``LOGIT_NORM_FLOOR``; shape ``(n,)``.

    This is the norm in the logit normalization of Andriushchenko et al., arXiv:2302.07011.
    """
    z = logits.to(torch.float64)
    norms: Tensor = torch.linalg.vector_norm(z - z.mean(1, keepdim=True), dim=1)
    return norms.clamp_min(LOGIT_NORM_FLOOR)


def total_variation(logits: Tensor) -> float:
    """Return sqrt(Σ_c Var_i z_ic), the spread of the logits over examples (variance with 1/n).

    As in Jiang et al., arXiv:1810.00113, at the output layer.
    """
    z = logits.to(torch.float64)
    return z.var(dim=0, correction=0).sum().sqrt().item()


def probability_margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Return p_y − max_{j≠y} p_j of the softmax, between −1 and 1; shape ``(n,)``, float64.

    It is computed from the logit margin γ as p_y (1 − e^{−γ}), which avoids subtracting nearly
    equal probabilities.
    """
    gamma = margins(logits, labels)
    p = logits.to(torch.float64).softmax(dim=1)
    own = p.gather(1, labels[:, None])[:, 0]
    other = p.scatter(1, labels[:, None], -inf).amax(dim=1)
    return torch.where(gamma >= 0, -own * torch.expm1(-gamma), other * torch.expm1(gamma))


def summarize(values: Tensor) -> dict[str, float]:
    """Return the mean, median, 10th and 25th percentile and minimum of ``values``, by name.

    Quantiles interpolate linearly between order statistics (definition 7 of Hyndman and Fan,
    NumPy's default). A single NaN makes all of them NaN.
    """
    array = values.cpu().numpy()
    with np.errstate(invalid="ignore"):
        quantiles = np.quantile(array, [0.5, 0.1, 0.25, 0.0])
    median, p10, p25, smallest = quantiles.tolist()
    mean = values.mean().item()
    return {"mean": mean, "median": median, "p10": p10, "p25": p25, "min": smallest}


def negative_share(values: Tensor) -> float:
    """Return the share of ``values`` below 0; NaN if any value is NaN."""
    return nan if values.isnan().any() else (values < 0).to(torch.float64).mean().item()


class Margin(Measure, options=MarginOptions):
    """Summaries of the output margins of all examples, correct and misclassified.

    The variant is the quantity by which the margin is divided; the first five are the default:

    - ``raw``: no divisor. It changes with the logit scale.
    - ``logit_norm``: each example's own ‖z − mean z‖₂, at least 1e-10.
    - ``total_variation``: sqrt(Σ_c Var_i z_c) over the same examples.
    - ``spectral``: Π_l ‖W_l‖₂ (Bartlett et al., arXiv:1706.08498, the product in equation 1.2).
    - ``frobenius``: Π_l ‖W_l‖_F (Neyshabur et al., arXiv:1503.00036).
    - ``spectral_complexity``: the whole of equation 1.2, distances from initialization included.
    - ``homogeneous``: ‖θ‖₂^D, where f(cθ) = c^D f(θ) (Lyu and Li, arXiv:1906.05890, equation 2);
      undefined if the network is not homogeneous, as with biases. The margin is then unchanged
      when all parameters are scaled, but changes when layers are rescaled against each other.
    - ``calibrated``: the temperature that is best on a fixed half of the test split (Guo et al.,
      arXiv:1706.04599); on the test split only the other half is summarized. The temperature
      is ``calibration_temperature``.

    ``probability`` is not a quotient but p_y − max_{j≠y} p_j of the softmax.

    ``layer_factors`` defines which layers the products run over. If a divisor is undefined for
    a network, the value is NaN with the reason.

    Invariances: function-preserving rescaling of ReLU layers changes only ``homogeneous`` and
    ``spectral_complexity`` (whose weights before training stay fixed), and the two products if
    the network has biases. Multiplying all logits by a constant, in the last layer, changes only
    ``homogeneous``, ``spectral_complexity``, ``raw`` and ``probability``. Permuting hidden units
    and adding a number to all logits change nothing. Higher is expected to be better. Cost: one
    forward pass, shared; the products add a few products with each weight.
    """

    version = 4
    entries = tuple(
        CatalogEntry(
            f"margin_{name}", "margin", symbol, unit, direction, _CITATION, "1 F", _INVARIANCES
        )
        for name, symbol, unit, direction in _SUMMARIES
    )

    def __init__(self, options: MarginOptions) -> None:
        # Those that need weights come last, so that their errors cannot affect the others.
        self.normalizations = sorted(options.normalizations, key=lambda name: name in _OF_WEIGHTS)
        if "calibrated" in self.normalizations:
            self.entries = (*Margin.entries, _TEMPERATURE)

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield each summary of each normalization, on train and on test.

        Raises:
            MeasureError: If the network has only one class.
        """
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            raw = margins(context.logits(split), context.data.labels(split))
            if "calibrated" in self.normalizations and split == "test":
                yield _temperature(context)
            for normalization in self.normalizations:
                values, reason = normalized_margins(context, split, raw, normalization)
                for name, value in summarize(values).items():
                    yield Value(
                        f"margin_{name}",
                        value,
                        variant=normalization,
                        split=split,
                        n_examples=len(values),
                        reason=reason,
                    )
                if normalization == "raw":
                    share = negative_share(raw)
                    yield Value("margin_negative_share", share, variant="raw", split=split)


def normalized_margins(
    context: MeasureContext, split: Split, raw: Tensor, normalization: Normalizer
) -> tuple[Tensor, str | None]:
    """Return the margins divided by their norm, and why they are not finite if that is known.

    Args:
        context: The network and its data.
        split: Split of the examples.
        raw: Raw margins of the examples, shape ``(n,)``.
        normalization: The divisor; see :class:`Margin`.

    Returns:
        One margin per example; for ``calibrated`` on test, only for the other half.
    """
    if normalization == "raw":
        return raw, None
    if normalization == "logit_norm":
        return raw / logit_norms(context.logits(split)), None
    if normalization == "total_variation":
        spread = total_variation(context.logits(split))
        reason = "the logits are the same for all examples" if spread == 0 else None
        return raw / spread, reason
    if normalization == "probability":
        return probability_margins(context.logits(split), context.data.labels(split)), None
    if normalization == "calibrated":
        return _calibrated(context, split, raw)
    what, find = _OF_WEIGHTS[normalization]
    try:
        divisor = find(context)
    except MeasureError as error:
        return torch.full_like(raw, nan), error_text(error)
    if isinf(divisor) or divisor == 0:
        # An infinite divisor would turn every margin into a harmless-looking 0.
        return torch.full_like(raw, nan), f"{what} is {divisor}"
    return raw / divisor, None


def _calibrated(context: MeasureContext, split: Split, raw: Tensor) -> tuple[Tensor, str | None]:
    try:
        found = calibration(context)
    except MeasureError as error:
        return torch.full_like(raw, nan), error_text(error)
    return (raw if split == "train" else raw[found.others]) / found.temperature, None


def _temperature(context: MeasureContext) -> Value:
    name = "calibration_temperature"
    fitted_on = context.data.n_examples("test") // 2
    try:
        found = calibration(context).temperature
    except MeasureError as error:
        return Value(name, nan, split="test", n_examples=fitted_on, reason=error_text(error))
    return Value(name, found, split="test", n_examples=fitted_on)
