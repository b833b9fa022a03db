"""Products in lower precision, and what must stay exact beside them."""

import pytest
import torch
from torch import nn

from lib import precision
from lib.precision import exactly, fast_precision, multiplying_in


def test_a_weight_that_changed_between_two_products_counts_with_its_new_value():
    """A generator learns against the discriminator of this step, not against one that was cast before its update."""
    weight, x = nn.Parameter(torch.ones(2, 2)), torch.ones(1, 2)
    with multiplying_in("bfloat16"):
        before = x @ weight
        with torch.no_grad():
            weight.add_(1)
        after = x @ weight
    assert before.dtype == after.dtype == torch.bfloat16
    assert before.tolist() == [[2, 2]]
    assert after.tolist() == [[4, 4]]


def test_fast_is_what_this_machine_multiplies_natively(monkeypatch):
    for able, expected in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        monkeypatch.setattr(precision, "fast_precision", lambda able=able: able)
        with multiplying_in("fast"):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
    assert fast_precision() in ("float32", "bfloat16")


def test_exactly_ends_a_lower_precision_and_an_unknown_one_is_named():
    with multiplying_in("bfloat16"), exactly():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with pytest.raises(ValueError, match="precision must be"):
        multiplying_in("half")
