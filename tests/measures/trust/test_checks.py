"""Each check against networks that break it, and networks that must pass every one."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from orchestrator.data import Dataset
from orchestrator.measures import MeasureContext, measure_snapshot
from orchestrator.measures.base import BUILT_IN
from orchestrator.measures.build import required_checks
from orchestrator.measures.trust.checks import context_findings
from orchestrator.measures.trust.finding import CHECKS, SPOILS_TRAINING, Finding, objection
from orchestrator.study.training_options import CrossEntropyOptions, MseOptions, MultiMarginOptions
from orchestrator.training import build_loss
from tests.measures.cases import CASES, CROSS_ENTROPY, Case, case, mlp, random_dataset
from tests.measures.test_catalog import all_requests
from tests.measures.trust.networks import (
    HONEST,
    INPUTS,
    PARAMETERS,
    REPEATABLE,
    SECOND,
    SEPARATE,
    Made,
)

OF_MEASURES = set(CHECKS) - SPOILS_TRAINING | {"data_unchanged"}


def found(model, shape=(5,), loss=CROSS_ENTROPY, checks=OF_MEASURES, **options):
    context = MeasureContext(model, random_dataset(shape, 30, 3), loss, **options)
    return context_findings(context, checks)


def built(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def not_passed(findings):
    return {name: finding for name, finding in findings.items() if finding.status != "passed"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", HONEST)
def test_honest_networks_pass_every_check(name, dtype):
    build, shape = HONEST[name]
    context = MeasureContext(
        built(build), blank_in_part(random_dataset(shape, 30, 3)), CROSS_ENTROPY, dtype=dtype
    )
    findings = context_findings(context, OF_MEASURES)
    assert findings.keys() == OF_MEASURES
    assert not not_passed(findings)


def blank_in_part(data: Dataset) -> Dataset:
    """Half of each example is 0, as the border of an image is."""
    for inputs in (data.train_x, data.test_x):
        inputs[..., : inputs.shape[-1] // 2] = 0
    return data


@pytest.mark.parametrize("subject", CASES, ids=lambda case: case.name)
def test_no_test_network_of_the_measures_fails_a_check(subject: Case) -> None:
    findings = context_findings(subject.context(), OF_MEASURES)
    assert not [finding for finding in findings.values() if finding.status == "failed"]


@pytest.mark.parametrize(
    "options",
    [
        CrossEntropyOptions(label_smoothing=0.1),
        MseOptions(name="mse"),
        MultiMarginOptions(name="multi_margin"),
        MultiMarginOptions(name="multi_margin", p=2),
    ],
    ids=str,
)
def test_built_in_losses_pass_every_check(options):
    assert not not_passed(found(built(lambda: mlp(5, 6, 3)), loss=build_loss(options)))


FAMILIES = {
    "repeatable": REPEATABLE,
    "examples_separate": SEPARATE,
    "parameter_gradients": PARAMETERS,
    "input_gradients": INPUTS,
    "second_derivatives": SECOND,
}


@pytest.mark.parametrize(
    ("check", "name"), [(check, name) for check, family in FAMILIES.items() for name in family]
)
def test_each_fault_is_found_by_its_check(check, name):
    findings = found(built(FAMILIES[check][name]))
    assert findings[check].status == "failed", findings
    assert findings[check].reason
    assert findings[check].hint
    before = CHECKS[: CHECKS.index(check)]
    assert not not_passed({c: findings[c] for c in before if c in findings and "grad" not in c})


def test_a_network_that_keeps_moved_weights_is_not_repeatable():
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.kept = nn.Linear(5, 3), None

        def forward(self, x):
            used = self.a.weight if self.kept is None else self.kept
            self.kept = self.a.weight.detach().clone()
            return F.linear(x, used)

    finding = found(Keeping())["repeatable"]
    assert finding.status == "failed"
    assert "it kept some of those weights" in finding.reason


def test_tensors_made_in_float32_are_reported_with_the_precision_that_works():
    model = Made(
        lambda s, x: s.o(s.r(x, torch.zeros(1, len(x), 4))[0][:, -1]),
        r=nn.GRU(3, 4, batch_first=True),
        o=nn.Linear(4, 3),
    )
    finding = found(model, (6, 3))["measuring_precision"]
    assert finding.status == "failed"
    assert "runs in float32, but not in float64" in finding.reason
    assert "measuring: {dtype: float32}" in finding.hint
    single = found(model, (6, 3), dtype=torch.float32)
    assert single["measuring_precision"].status == "passed"
    assert single["second_derivatives"].status == "undecided"


def test_derivatives_are_undecided_if_logits_lose_digits():
    model = Made(lambda s, x: s.a(x).float(), a=nn.Linear(5, 3))
    findings = not_passed(found(model))
    assert findings.keys() == {"parameter_gradients", "input_gradients", "second_derivatives"}
    assert {finding.status for finding in findings.values()} == {"undecided"}


def test_a_loss_that_writes_into_its_inputs_gets_copies():
    class Writing:
        def per_example(self, logits, labels):
            logits[torch.arange(len(labels)), labels] -= 2.0
            return F.cross_entropy(logits, labels, reduction="none")

    assert not not_passed(found(built(lambda: mlp(5, 6, 3)), loss=Writing()))


def test_checks_leave_the_context_and_the_random_state_unchanged():
    subject = case("residual_batch_norm")
    context = subject.context()
    before = {name: value.clone() for name, value in context.model.state_dict().items()}
    state = torch.get_rng_state()
    context_findings(context, OF_MEASURES)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[n]) for n, value in context.model.state_dict().items())
    assert all(p.grad is None for p in context.parameters.values())
    assert torch.equal(context.data("train")[0], subject.dataset().train_x)


def test_only_measures_that_require_a_failed_check_have_no_value():
    requests = {name: all_requests()[name] for name in ("margin", "hessian_trace", "norms")}
    context = MeasureContext(
        built(SECOND["wrong_second"]), random_dataset((5,), 30, 3), CROSS_ENTROPY
    )
    rows = list(measure_snapshot(context, requests))
    status = {name: {r["status"] for r in rows if r["request"] == name} for name in requests}
    assert status["hessian_trace"] == {"error"}
    assert status["margin"] <= {"ok", "nonfinite"}
    (row,) = (row for row in rows if row["status"] == "error")
    assert row["error"].startswith("trust check second_derivatives failed: ")
    assert "hint: " in row["error"]
    trusted = list(measure_snapshot(context, requests, findings={}))
    assert not [row for row in trusted if row["status"] == "error"]


def test_random_networks_have_norms_and_no_margins():
    requests = {name: all_requests()[name] for name in ("margin", "norms", "singular_values")}
    context = MeasureContext(
        built(REPEATABLE["functional_dropout"]), random_dataset((5,), 30, 3), CROSS_ENTROPY
    )
    rows = list(measure_snapshot(context, requests))
    assert {row["request"] for row in rows if row["status"] == "error"} == {"margin"}


def test_every_measure_requires_the_checks_of_what_it_differentiates():
    """Measures of the Hessian need second derivatives, those that move inputs their gradients."""
    names = {measure.__name__: measure.requires for measure in BUILT_IN.values()}
    assert {n for n, checks in names.items() if "second_derivatives" in checks} == {
        *("HessianTrace", "HessianSpectrum", "HessianSpectralDensity", "HessianFrobeniusNorm"),
        *("EdgeOfStability", "RelativeFlatness"),
    }
    assert {n for n, checks in names.items() if "input_gradients" in checks} == {
        *("InputMargin", "DeepfoolMargin", "PgdMargin", "Robustness", "LocalLipschitz"),
    }
    assert {n for n, checks in names.items() if not checks} == {
        *("Norms", "ConvolutionNorms", "StableRank", "SingularValues", "Separation"),
    }
    assert required_checks(all_requests().values()) == OF_MEASURES


def test_an_objection_names_the_first_failed_check():
    findings = {
        "input_gradients": Finding("input_gradients", "failed", "hidden", "show them"),
        "repeatable": Finding("repeatable", "failed", "random"),
        "measuring_precision": Finding("measuring_precision", "undecided", "no memory"),
    }
    assert objection(set(CHECKS), findings) == "trust check repeatable failed: random"
    assert objection({"input_gradients"}, findings).endswith("hidden\n  hint: show them")
    assert objection({"measuring_precision", "outputs_fit"}, findings) is None
