import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import UserError
from orchestrator.training.nested import copy_nested, copy_tensor, put_together, take_apart

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
tensors = st.lists(st.integers(-5, 5), max_size=3).map(torch.tensor)
trees = st.recursive(
    plain | tensors,
    lambda children: (
        st.lists(children, max_size=3)
        | st.tuples(children, children)
        | st.dictionaries(st.text(max_size=3) | st.integers(), children, max_size=3)
    ),
    max_leaves=10,
)


def same(one, other):
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(trees)
def test_nested_values_survive_being_taken_apart_and_put_together(tree):
    structure, found = take_apart(tree, "a test")
    stored = json.loads(json.dumps(structure))
    assert same(put_together(stored, found), tree)


@given(trees)
def test_nested_copies_are_equal(tree):
    assert same(copy_nested(tree), tree)


def test_nested_copies_share_no_memory():
    tree = {"a": [torch.zeros(2)], 1: (torch.zeros(2),)}
    copied = copy_nested(tree)
    copied["a"][0].add_(1)
    copied[1][0].add_(1)
    copied["a"].append(None)
    assert same(tree, {"a": [torch.zeros(2)], 1: (torch.zeros(2),)})


def test_a_copied_tensor_has_contiguous_memory_of_its_own():
    part = torch.arange(12.0, requires_grad=True).view(3, 4).t()[1:3]
    copied = copy_tensor(part)
    assert torch.equal(copied, part)
    assert copied.is_contiguous()
    assert not copied.requires_grad
    assert copied.untyped_storage().nbytes() == 6 * 4


def test_a_value_that_cannot_be_stored_is_refused():
    with pytest.raises(UserError, match="the optimizer's state cannot be stored: got a set"):
        take_apart({"a": [{1}]}, "the optimizer's state")
