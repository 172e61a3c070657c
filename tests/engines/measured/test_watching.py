"""What a watched module is seen to do."""

from dataclasses import dataclass

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.autograd import forward_ad

from fastmoments.engines.measured.watching import Watch, named, numeric, swap, tensors, with_noise


class Seeing(Watch):
    def __init__(self, module, through=False):
        super().__init__(module, through)
        self.seen = []

    def after_function(self, label, name, again, arguments, known, result):
        self.seen.append(label)

    def after_module(self, call, output):
        self.seen.append((call.label, call.leaf))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu, self.inner = nn.ReLU(), nn.Sequential(nn.Tanh())

    def forward(self, x):
        x = self.relu(self.relu(x) + 1)
        x += 1
        return self.inner(1 - x)


def test_modules_and_functions_have_paths_and_numbers():
    module, x = Twice(), torch.ones(2)
    with Seeing(module) as watch:
        module(x)
    assert watch.seen == [
        "relu.relu()", ("relu", True), "add()", "relu.relu()#2", ("relu#2", True), "add()#2", "sub()",
        "inner.0.tanh()", ("inner.0", True), ("inner", False), ("Twice", False),
    ]  # fmt: skip
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())


def test_hooks_of_the_module_have_their_say():
    module = nn.Sequential(nn.ReLU())
    module[0].register_forward_hook(lambda each, given, output: output + 5)
    found = []

    class Ends(Watch):
        def after_module(self, call, output):
            found.append(float(output))

    with Ends(module):
        module(torch.ones(1))
    assert found == [6.0, 6.0]


def test_a_call_that_raised_and_was_caught_is_over():
    class Fails(nn.Module):
        def forward(self, x):
            raise ValueError

    class Catches(nn.Module):
        def __init__(self):
            super().__init__()
            self.fails, self.relu = Fails(), nn.ReLU()

        def forward(self, x):
            try:
                self.fails(x)
            except ValueError:
                return self.relu(x)

    module = Catches()
    with Seeing(module) as watch:
        module(torch.ones(1))
    assert watch.seen[-1] == ("Catches", False) and not watch.open


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("how", ["module", "function", "torch"])
def test_batch_norm_takes_the_statistics_of_the_batch(how, through):
    """dy = gamma (dx - mean dx - y mean(y dx)) / sqrt(v + eps) through, and without the means frozen."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3, eps=0.1).eval()
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias), nn.init.normal_(norm.running_mean)
    given = norm.running_mean, norm.running_var, norm.weight, norm.bias

    class Functional(nn.Module):
        def forward(self, x):
            if how == "function":
                return nn.functional.batch_norm(x, *given, False, 0.1, 0.1)
            weights = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            return torch.batch_norm(x, *weights, False, 0.1, 0.1, True)

    module = norm if how == "module" else Functional()
    x, dx = 5 + 2 * torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)
    with torch.no_grad(), forward_ad.dual_level():
        dual = with_noise(x, dx)
        with Watch(module, through):
            y, dy = forward_ad.unpack_dual(module(dual))
    axes = (0, 2, 3)
    mean, variance = x.mean(axes, keepdim=True), x.var(axes, keepdim=True, correction=0)
    gamma, beta = (each.detach().reshape(1, 3, 1, 1) for each in (norm.weight, norm.bias))
    plain = (x - mean) / torch.sqrt(variance + 0.1)
    torch.testing.assert_close(y, gamma * plain + beta, rtol=1e-4, atol=1e-5)
    moved = dx - dx.mean(axes, keepdim=True) - plain * (plain * dx).mean(axes, keepdim=True)
    right = gamma * (moved if through else dx) / torch.sqrt(variance + 0.1)
    torch.testing.assert_close(dy, right, rtol=1e-4, atol=1e-5)


def test_nested_values():
    @dataclass
    class Output:
        a: object
        b: object

    one, two = torch.ones(1), torch.ones(2, dtype=torch.int64)
    nested = {"x": [one, (two, None)], "y": Output(two, "text")}
    assert [id(each) for each in tensors(nested)] == [id(one), id(two), id(two)]
    assert [id(each) for each in numeric(nested)] == [id(one)]
    assert swap({"a": [one, (one, 3)]}, {id(one): two}) == {"a": [two, (two, 3)]}


def test_names_of_functions():
    x = torch.ones(2, 2)
    assert [named(each) for each in (torch.add, x.add_, torch.Tensor.__iadd__, torch.Tensor.__rdiv__)] == [
        *("add", "add", "add", "div")
    ]
