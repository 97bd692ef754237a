"""Spectral complexity, the norm in the margin bound of Bartlett, Foster and Telgarsky."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, nan, prod

from orchestrator.errors import MeasureError, error_text
from orchestrator.measures.base import CatalogEntry, Measure, Value
from orchestrator.measures.context import MeasureContext
from orchestrator.measures.norms.layer_factors import WeightLayer, matrix_layers, spectral_product
from orchestrator.study.measure_options.norms import SpectralComplexityOptions


def spectral_complexity(context: MeasureContext) -> float:
    """Return Π_l ‖W_l‖₂ · (Σ_l (‖(W_l − W_l0)ᵀ‖_{2,1} / ‖W_l‖₂)^{2/3})^{3/2}.

    ‖A‖_{2,1} sums the ℓ2 norms of the columns of A. The transpose makes these the rows of
    W_l − W_l0, i.e. the incoming weights of each unit. Reference matrices are the weights before
    training. The rows of a convolution are those of its operator on the image it receives: each
    kernel counts once per output position (padding counts as if it were image). Biases do not
    count; factors of normalizations are in the product (``layer_factors``). Bartlett et al.,
    arXiv:1706.08498, eq. 1.2, with Lipschitz constants 1.

    Raises:
        MeasureError: As ``layer_factors``, or if the weights before training are not known.
    """

    def compute() -> float:
        terms = [
            _row_norms(layer) / layer.factor.spectral if layer.factor.spectral else nan
            for layer in matrix_layers(context)
        ]
        return float(spectral_product(context) * sum(t ** (2 / 3) for t in terms) ** 1.5)

    return context.shared("spectral_complexity", compute)


def _row_norms(layer: WeightLayer) -> float:
    if layer.change is None:
        raise MeasureError(
            "spectral complexity needs the network's weights before training",
            "pass initial_state, the state_dict before training",
        )
    positions = prod(layer.factor.output_shape[1:])
    return float(layer.change.flatten(1).norm(dim=1).sum()) * positions


class SpectralComplexity(Measure, options=SpectralComplexityOptions):
    """Bartlett's full spectral complexity, ``spectral_complexity`` (arXiv:1706.08498, eq. 1.2).

    Without the factor of distances it is ``spectral_norm_product``. The bound concerns the ratio
    of the margin to it, which is the normalization ``spectral_complexity`` of ``margin``. Not
    invariant under rescaling of layers, as the weights before training stay fixed. Lower is less
    complex. Cost: one singular value per layer, shared; data-free.
    """

    version = 4
    entries = (
        CatalogEntry(
            measure="spectral_complexity",
            family="norm",
            symbol="Π‖W‖₂ (Σ (‖(W−W₀)ᵀ‖_{2,1}/‖W‖₂)^{2/3})^{3/2}",
            unit="1",
            direction="lower",
            citation="Bartlett, Foster, Telgarsky, arXiv:1706.08498, eq. 1.2",
            cost="one singular value per layer, shared",
        ),
    )

    def __init__(self, options: SpectralComplexityOptions) -> None:
        del options  # unused: this measure has no options

    def compute(self, context: MeasureContext) -> Iterator[Value]:
        """Yield the value, or NaN with the reason."""
        try:
            value = spectral_complexity(context)
        except MeasureError as error:
            yield Value("spectral_complexity", nan, split=None, reason=error_text(error))
            return
        reason = None if isfinite(value) else "a layer's weights are all zero or not finite"
        yield Value("spectral_complexity", value, split=None, reason=reason)
