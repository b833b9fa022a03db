"""Networks: each with its own module; ``loaded`` gives one the weights of a finished training."""

from torch import Tensor, nn


def loaded(model: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """``model`` with these weights, in evaluation mode and without gradients."""
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)
