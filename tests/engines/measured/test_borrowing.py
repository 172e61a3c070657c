"""A module on loan comes back as it was."""

import random

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn

from fastmoments.engines.measured.borrowing import borrowed, seed


class Keeper(nn.Module):
    """Changes all that it can in a call."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.register_buffer("seen", torch.tensor([0.0, float("nan")]))
        self.register_buffer("spread", torch.zeros(1).expand(3))
        self.calls, self.kept, self.table = 0, [], {"a": 1}

    def forward(self, x):
        self.calls += 1
        self.kept.append(x)
        self.table["b"] = x
        self.last = x
        self.seen += 1
        self.conv.weight.data.mul_(2.0)
        self.norm.weight = nn.Parameter(torch.zeros(4))
        self.conv.register_forward_hook(lambda *each: None)
        self.train()
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
        return self.norm(self.conv(x))


def state(module):
    """All that a module is, with the identity of what it holds."""
    return {
        path: {
            name: (id(value), value.copy() if isinstance(value, (dict, list)) else value)
            for name, value in vars(each).items()
        }
        for path, each in module.named_modules()
    }, {name: value.clone() for name, value in module.state_dict().items()}


def same(module, before):
    attributes, tensors = before
    now, _ = state(module)
    assert now == attributes
    for name, value in module.state_dict().items():
        assert value.numpy().tobytes() == tensors[name].numpy().tobytes()


@pytest.mark.parametrize("problem", [None, ValueError, KeyboardInterrupt])
def test_whatever_happens_it_is_as_before(problem):
    module = Keeper()
    module.norm.eval()
    before, number = state(module), torch.get_num_threads()
    dice = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    try:
        with borrowed(module, 1):
            assert not any(each.training for each in module.modules())
            assert torch.get_num_threads() == 1 and not torch.is_grad_enabled()
            module(torch.ones(2, 3, 5, 5))
            if problem is not None:
                raise problem
    except (ValueError, KeyboardInterrupt):
        pass
    same(module, before)
    assert torch.get_num_threads() == number and torch.is_grad_enabled()
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.equal(torch.get_rng_state(), dice[0]) and random.getstate() == dice[2]
    assert np.array_equal(np.random.get_state()[1], dice[1])  # noqa: NPY002


def test_a_seed_is_of_all_that_modules_draw_from():
    def draw():
        return torch.rand(1).item(), np.random.rand(), random.random()  # noqa: NPY002

    with borrowed(nn.ReLU(), 1):
        seed(2**60 + 1)
        first = draw()
        seed(2**60 + 1)
        assert draw() == first
        seed(2)
        assert not set(draw()) & set(first)
