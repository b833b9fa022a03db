"""How torch is set up before anything is computed."""

import torch

from lib import compute


def test_what_a_users_startup_file_changed_in_torch_is_put_right():
    before = torch.get_num_threads()
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("medium")
        compute.configure(2)
        assert torch.get_default_dtype() == torch.float32
        assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_num_threads() == 2
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(before)


def test_numbers_too_small_for_full_precision_are_zero():
    """Arithmetic with them is up to a hundred times slower on some processors."""
    compute.configure(1)
    assert (torch.tensor([1e-30]) * 1e-10).item() == 0
