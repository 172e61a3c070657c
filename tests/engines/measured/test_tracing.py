"""What a traced module is made of."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from fastmoments.engines.measured.tracing import Tracing

SHAPE = (2, 6, 4, 4)


def traced(module, shape=SHAPE):
    images, tracing = torch.randn(shape), Tracing(module)
    source = tracing.begin(images)
    with torch.no_grad(), tracing:
        output = module(images)
    return tracing, source, tracing.values_of(output)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.end = function, nn.Identity()
        self.weight = nn.Parameter(torch.randn(6, 6))

    def forward(self, x):
        return self.end(self.function(self, x))


CHANNELS = {
    "relu": (lambda self, x: x.relu(), (1,)),
    "last": (lambda self, x: x.permute(0, 2, 3, 1), (3,)),
    "there and back": (lambda self, x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2), (1,)),
    "tokens": (lambda self, x: x.flatten(2).transpose(1, 2), (2,)),
    "of equal sides": (lambda self, x: x[:, :4].transpose(1, 2), (2,)),
    "mean": (lambda self, x: x.mean((2, 3)), (1,)),
    "kept": (lambda self, x: x.amax((2, 3), keepdim=True), (1,)),
    "vector": (lambda self, x: x.flatten(1), (1,)),
    "heads": (lambda self, x: x.flatten(2).transpose(1, 2).reshape(2, 16, 3, 2), (2, 3)),
    "linear": (lambda self, x: nn.functional.linear(x.permute(0, 2, 3, 1), self.weight), (3,)),
    "matmul": (lambda self, x: x.permute(0, 2, 3, 1) @ self.weight, (3,)),
    "sum": (lambda self, x: x.permute(0, 2, 3, 1) + x.permute(0, 2, 3, 1).abs(), (3,)),
    "spread": (lambda self, x: x.mean((1, 2, 3), keepdim=True) * x.permute(0, 2, 3, 1), (3,)),
    "cat": (lambda self, x: torch.cat([x, x * 2], 1), (1,)),
    "chunk": (lambda self, x: x.permute(0, 2, 3, 1).chunk(2, -1)[1], (3,)),
    "pooled": (lambda self, x: nn.functional.max_pool2d(x, 2), (1,)),
    "shuffled": (lambda self, x: x.reshape(2, 2, 3, 4, 4).transpose(1, 2).flatten(1, 2), (1,)),
    "layer norm": (lambda self, x: nn.functional.layer_norm(x.permute(0, 2, 3, 1), (6,)), (3,)),
    "whole numbers only": (lambda self, x: x.double().permute(0, 2, 3, 1), (3,)),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_where_channels_are(name):
    function, axes = CHANNELS[name]
    tracing, _, _ = traced(Function(function))
    assert next(each for each in tracing.seen if each.path == "end").axes == axes


def test_finding_channels_draws_nothing():
    """Numbers of channels go through functions again, random ones as well."""

    class Random(nn.Module):
        def forward(self, x):
            x = nn.functional.dropout(x, 0.5, training=True)
            return x * torch.rand(1)

    found = []
    for _ in range(2):
        torch.manual_seed(0)
        x = torch.ones(SHAPE)
        tracing = Tracing(Random())
        tracing.begin(x)
        with tracing:
            found.append(tracing.module(x))
    torch.manual_seed(0)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], Random()(torch.ones(SHAPE)))


def test_views_are_one_value_and_changes_another():
    module = Function(lambda self, x: x.mul(2.0).flatten(1).add_(1.0).view(2, -1))
    tracing, source, sinks = traced(module)
    doubled, changed = source + 1, source + 2
    assert tracing.before[doubled] == {source} and tracing.before[changed] == {doubled}
    assert sinks == {changed}


def test_weights_come_in_where_signal_and_parameters_are_mixed():
    def function(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        scaled = tokens * self.weight[0] + self.weight[:1]  # no mixing
        own = scaled @ scaled.transpose(1, 2) @ scaled  # neither
        return own @ (self.weight / self.weight.norm())

    tracing, _, sinks = traced(Function(function))
    assert tracing.mixing == sinks


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(6, 4, 3), SHAPE), (nn.ConvTranspose2d(6, 4, 3), SHAPE), (nn.Conv1d(6, 4, 3), (2, 6, 9)),
        (nn.Linear(4, 3), SHAPE), (nn.MultiheadAttention(4, 2, batch_first=True), None),
        (nn.LSTM(4, 3), (5, 2, 4)),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), SHAPE), (nn.Bilinear(4, 4, 2), None),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, nn.Module) else "",
)  # fmt: skip
def test_layers_with_weights(module, shape):
    class Self(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            if isinstance(module, nn.Bilinear):
                return self.inner(x, x)
            return self.inner(x, x, x) if isinstance(module, nn.MultiheadAttention) else self.inner(x)

    tracing, _, sinks = traced(Self(), shape or (2, 5, 4))
    assert tracing.mixing & sinks
