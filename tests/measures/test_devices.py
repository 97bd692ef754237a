"""Measuring where the network is not on the CPU, without having such a device."""

from __future__ import annotations

import pytest

from orchestrator.measures import measure_snapshot
from orchestrator.measures.audit import Audited, audit
from orchestrator.training import UpdateRule
from tests.measures.cases import case
from tests.measures.requested import light_requests, name_in, numbers_in, requests
from tests.measures.test_audit import STUDY
from tests.pretend_device import ELSEWHERE, PretendDevice


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_another_device_gives_the_same_measures(name: str) -> None:
    subject = case(name)
    given = {"initial_state": subject.model(1).state_dict(), "update_rule": UpdateRule(0.1)}
    here = list(measure_snapshot(subject.context(**given), light_requests()))
    with PretendDevice():
        context = subject.context(device=ELSEWHERE, **given)
        there = list(measure_snapshot(context, light_requests()))
    assert [row["error"] for row in there] == [row["error"] for row in here]
    for one, other in zip(there, here, strict=True):
        assert (one["request"], name_in(one)) == (other["request"], name_in(other))
        expected = pytest.approx(numbers_in(other), rel=1e-6, abs=1e-12, nan_ok=True)
        assert numbers_in(one) == expected, one


@pytest.mark.parametrize("method", ["hutch++", "xtrace"])
def test_another_device_sketches_the_same(method: str) -> None:
    request = requests({"hessian_trace": {"method": method, "probes": 12}})
    (here,) = measure_snapshot(case("tanh").context(), request)
    with PretendDevice():
        (there,) = measure_snapshot(case("tanh").context(device=ELSEWHERE), request)
    for column in ("value", "standard_error"):
        assert there[column] == pytest.approx(here[column], rel=1e-6), there


def test_another_device_gives_the_same_audits() -> None:
    subject = case("mlp_without_bias")
    given = subject.model(), subject.dataset(), subject.loss
    first = {name: STUDY.requests[name] for name in list(STUDY.requests)[:2]}
    here = list(audit(Audited(*given), first))
    with PretendDevice():
        there = list(audit(Audited(*given, device=ELSEWHERE.type), first))
    assert [(row.change, row.measure, row.status) for row in there] == [
        (row.change, row.measure, row.status) for row in here
    ]
    for one, other in zip(there, here, strict=True):
        assert one.changed == pytest.approx(other.changed, rel=1e-6, abs=1e-12, nan_ok=True)
