import pytest
from pydantic import ValidationError

from orchestrator.study.learning_criterion import LearnedOptions, largest_error


@pytest.mark.parametrize(
    ("learned", "dataset", "largest"),
    [
        (None, "mnist1d", 0.45),
        ({}, "cifar100", 0.495),
        ({"train_error": None}, "digits", 0.45),
        ({"train_error": 0.1}, "digits", 0.1),
        ({"train_error": 0.1}, "npz", 0.1),
        (None, "npz", None),
        (None, "emnist", None),
        (None, None, None),
    ],
)
def test_the_largest_error_is_half_that_of_a_constant_answer_unless_stated(
    learned, dataset, largest
):
    assert largest_error(learned, dataset) == (None if largest is None else pytest.approx(largest))


@pytest.mark.parametrize("error", [0, 1.5, float("nan")])
def test_an_error_outside_0_to_1_is_refused(error):
    with pytest.raises(ValidationError):
        LearnedOptions(train_error=error)
