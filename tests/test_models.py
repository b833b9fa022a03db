import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.models.cnn import CNN, certainty
from lib.models.feedforward import ACTIVATIONS, FeedForward, FeedForwardStack


@pytest.mark.parametrize(
    ("hidden", "parameters"), [(32, 25450), (64, 50890), (128, 101770), (256, 203530), (512, 407050)]
)
def test_feedforward_parameters(hidden, parameters):
    assert sum(p.numel() for p in FeedForward(hidden).parameters()) == parameters


def test_feedforward_is_two_matrix_products():
    torch.manual_seed(0)
    model, x = FeedForward(16, "tanh"), torch.rand(5, 1, 28, 28)
    by_hand = torch.tanh(x.view(5, 784) @ model.W1 + model.b1) @ model.W2 + model.b2
    torch.testing.assert_close(model(x), by_hand)


def test_initial_weights_fill_the_prescribed_range():
    torch.manual_seed(0)
    model = FeedForward(400)
    for parameter, bound in ((model.W1, 400**-0.5), (model.b1, 400**-0.5), (model.W2, 10**-0.5)):
        assert parameter.abs().max() <= bound
        assert parameter.abs().max() > 0.97 * bound
        assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_sigmoid_squashes_the_logits_and_others_do_not():
    torch.manual_seed(0)
    x = torch.rand(20, 784)
    for name in ACTIVATIONS:
        logits = FeedForward(64, name)(x)
        assert (logits.min() > 0 and logits.max() < 1) == (name == "sigmoid"), name


def test_unknown_activation():
    with pytest.raises(ValueError, match="unknown activation 'rleu'; choose one of linear, relu"):
        FeedForward(8, "rleu")


def test_stack_computes_what_its_networks_compute():
    torch.manual_seed(0)
    networks = [FeedForward(8, name) for name in ACTIVATIONS]
    stack, x = FeedForwardStack(networks), torch.rand(3, 784)
    for i, network in enumerate(networks):
        torch.testing.assert_close(stack(x)[i], network(x))
        torch.testing.assert_close(stack.network(i)(x), network(x))


def test_cnn_shapes_and_parameters():
    model = CNN()
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert [sum(p.numel() for p in layer.parameters()) for layer in model] == [416, 0, 0, 12832, 0, 0, 0, 15690]


def test_pooling_before_relu_is_the_reports_network():
    torch.manual_seed(0)
    model, x = CNN(), torch.randn(4, 1, 28, 28)
    h = F.max_pool2d(F.relu(model[0](x)), 2)
    h = F.max_pool2d(F.relu(model[3](h)), 2)
    assert model(x).equal(model[7](h.flatten(1)))


def test_certainty_ignores_scale_and_is_large_for_clear_cases():
    logits = torch.tensor([[9.0] + [0.0] * 9, [0.01 * i for i in range(10)]])
    torch.testing.assert_close(certainty(logits), certainty(10 * logits))
    deviation = (9**2 * 0.1 - 0.9**2) ** 0.5 * (10 / 9) ** 0.5
    clear = torch.tensor([27 / deviation] + [0.0] * 9).softmax(0)[0]
    assert certainty(logits)[0].item() == pytest.approx(clear.item(), rel=1e-5)
    assert certainty(logits)[0] > certainty(logits)[1]


def test_no_module_has_hidden_state():
    assert not [name for model in (FeedForward(), CNN()) for name, _ in model.named_buffers()]
    assert all(isinstance(p, nn.Parameter) for p in FeedForward().parameters())
