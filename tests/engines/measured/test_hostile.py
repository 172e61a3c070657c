"""Modules that do what modules should not: computed, or one sentence; afterwards they are as before."""

import random
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from torch import nn
from torch_modules import conv

import fastmoments as fm

IMAGES = fm.load_images("synthetic:8x8x3", 4, seed=0)


def module(forward, **parts):
    """A module with these parts and this forward."""

    class Hostile(nn.Module):
        def __init__(self):
            super().__init__()
            for name, part in parts.items():
                if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
                    self.register_buffer(name, part)
                else:
                    setattr(self, name, part)

    Hostile.forward = forward
    return Hostile()


def layer():
    return nn.Conv2d(3, 3, 3, padding=1)


def raising(*given):
    raise RuntimeError("not today")


def with_hook(register):
    made = nn.Sequential(layer(), nn.ReLU())
    getattr(made[1], register)(raising)
    return made


def random_course(self, x):
    for _ in range(random.randrange(1, 50)):
        x = self.a(x)
    return x


def own_statistics(self, x):
    self.mean.mul_(0.9).add_(x.mean((0, 2, 3)).detach(), alpha=0.1)
    self.count += 1
    return self.a(x - self.mean[:, None, None])


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, dy):
        return dy


def tied():
    made = nn.Sequential(layer(), nn.ReLU(), layer())
    made[2].weight = made[0].weight
    return made


def keyword_only(self, *, x):
    return x


def grown(self, x):
    self.add_module(f"extra{len(self._modules)}", nn.ReLU())
    return self.a(x)


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(layer(), nn.ReLU()))


def jit_traced():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(torch.jit.trace(layer(), torch.zeros(1, 3, 8, 8)), nn.ReLU())


def in_numpy(self, x):
    return torch.from_numpy(x.numpy() * 2)


def switching(self, x):
    self.train()
    return F.dropout(self.a(x), training=self.training)


#: Makers, and what is said of those that are refused.
HOSTILE = {
    "no parameters": (lambda: nn.ReLU(), None),
    "no functions": (lambda: nn.Identity(), "returns the images themselves"),
    "no modules": (lambda: nn.Sequential(), "returns the images themselves"),
    "whole numbers in": (
        lambda: nn.Sequential(nn.Flatten(), nn.Embedding(5, 3)), r"^1 \(Embedding\) cannot be"),
    "whole numbers inside": (lambda: module(lambda self, x: F.one_hot(x.long().clamp(0, 3), 4)), "int64"),
    "returns None": (lambda: module(lambda self, x: None), "returns NoneType|returns None"),
    "returns a number": (lambda: module(lambda self, x: 3.0), "returns float"),
    "returns a text": (lambda: module(lambda self, x: "text"), "returns str"),
    "returns a table": (lambda: module(lambda self, x: {"out": self.a(x), "more": [x]}, a=layer()), None),
    "returns a pair": (lambda: module(lambda self, x: (self.a(x), x.sum()), a=layer()), None),
    "returns what is constant": (
        lambda: module(lambda self, x: self.a, a=torch.ones(4, 3)), "not made of the images"),
    "a leaf that returns None": (lambda: module(lambda self, x: (self.b(x), self.a(x))[1], a=layer(),
                                                b=module(lambda self, x: None)), None),
    "random course": (lambda: module(random_course, a=layer()), "takes another course"),
    "random numbers": (lambda: module(lambda self, x: self.a(x) + torch.rand_like(x), a=layer()), None),
    "in place on the images": (
        lambda: module(lambda self, x: self.a(x.mul_(2).clamp_(-1, 1)), a=layer()), None),
    "in place into a buffer": (lambda: module(lambda self, x: self.a(self.b[: len(x)].copy_(x)), a=layer(),
                                              b=torch.zeros(9, 3, 8, 8)), None),
    "tied weights": (tied, None),
    "one module many times": (lambda: nn.Sequential(*[layer()] * 4), None),
    "complex": (
        lambda: module(lambda self, x: torch.fft.ifft2(torch.fft.fft2(self.a(x)) * 2).real, a=layer()), None),
    "complex out": (lambda: module(lambda self, x: torch.fft.fft2(self.a(x)), a=layer()), None),
    "half precision": (lambda: nn.Sequential(layer(), nn.ReLU()).half(), None),
    "bfloat16": (lambda: nn.Sequential(layer(), nn.BatchNorm2d(3), nn.ReLU()).bfloat16(), None),
    "double precision": (lambda: nn.Sequential(layer(), nn.ReLU()).double(), None),
    "two precisions": (lambda: nn.Sequential(layer(), layer().double()), r"^1 \(Conv2d\) cannot be called"),
    "a hook that raises": (lambda: with_hook("register_forward_hook"), r"^1 \(ReLU\) .*not today"),
    "a hook before that raises": (lambda: with_hook("register_forward_pre_hook"), r"^1 \(ReLU\) .*not today"),
    "a forward that raises": (lambda: nn.Sequential(layer(), module(raising)), r"^1 \(Hostile\) .*not today"),
    "keyword only": (lambda: module(keyword_only), "TypeError"),
    "two arguments": (lambda: module(lambda self, x, y: x), "TypeError"),
    "on the meta device": (lambda: nn.Conv2d(3, 3, 3, device="meta"), "meta device"),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(3, 3)), "after a first call only"),
    "scripted": (scripted, "compiled by torch.jit"),
    "traced by jit": (jit_traced, "compiled by torch.jit"),
    "statistics of its own": (
        lambda: module(own_statistics, a=layer(), mean=torch.zeros(3), count=torch.tensor(0)),
                              None),
    "changes its weights": (
        lambda: module(lambda self, x: (self.a.weight.data.mul_(1.1), self.a(x))[1], a=layer()),
                            None),
    "changes its mode": (lambda: module(switching, a=layer()), None),
    "grows": (lambda: module(grown, a=layer()), None),
    "spectral norm": (lambda: nn.utils.parametrizations.spectral_norm(layer()), None),
    "weight norm": (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(layer()), nn.ReLU()), None),
    "no derivative": (
        lambda: module(lambda self, x: Straight.apply(self.a(x)), a=layer()), "Hostile cannot be .*jvp"),
    "derivative 0": (lambda: module(lambda self, x: torch.round(self.a(x)), a=layer()), "has died out"),
    "dead": (lambda: nn.Sequential(layer(), module(lambda self, x: x * 0)), "has died out"),
    "infinite": (lambda: nn.Sequential(layer(), module(lambda self, x: x / 0)), "not finite"),
    "overflows": (
        lambda: nn.Sequential(*(module(lambda self, x: x * 1e15) for _ in range(4))), "not finite in float"),
    "detached": (lambda: module(lambda self, x: self.a(x.detach()), a=layer()), "has died out"),
    "through numpy": (lambda: module(in_numpy), "numpy|not made of"),
    "asks for gradients": (
        lambda: module(lambda self, x: torch.autograd.grad(self.a(x).sum(), x)[0], a=layer()),
                           "cannot be called"),
    "loops over images": (
        lambda: module(lambda self, x: torch.stack([self.a(each) for each in x]), a=layer()), None),
    "catches what fails": (lambda: nn.Sequential(module(lambda self, x: caught(self.a, x), a=layer())), None),
    "a leaf without signal": (
        lambda: module(lambda self, x: self.a(x) + self.b(self.c), a=layer(), b=nn.Linear(8, 8),
                                             c=torch.ones(3, 8, 8)), None),
    "dropout": (lambda: nn.Sequential(layer(), nn.Dropout(0.9), nn.Dropout2d(0.9), layer()), None),
    "instance and group norms": (
        lambda: nn.Sequential(layer(), nn.InstanceNorm2d(3), nn.GroupNorm(3, 3)), None),
    "nested tables": (lambda: module(lambda self, x: {"a": {"b": (self.a(x),)}}, a=layer()), None),
    "a frozen part": (lambda: nn.Sequential(layer().requires_grad_(False), layer()), None),
    "without gradients inside": (lambda: module(torch.no_grad()(lambda self, x: self.a(x)), a=layer()), None),
}  # fmt: skip


def caught(function, x):
    try:
        function(torch.zeros(1, 99, 2, 2))
    except RuntimeError:
        return function(x)


def described(made):
    """State, modes and hooks of a module, bit for bit."""
    tensors = {
        name: (value.dtype, tuple(value.shape), None if value.is_meta else value.detach().cpu().view(-1).view(
            torch.uint8).numpy().tobytes())
        for name, value in made.state_dict(keep_vars=False).items()
        if not isinstance(value, nn.parameter.UninitializedTensorMixin)
    }  # fmt: skip
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_hooks_with_kwargs")
    modes = {
        name: (each.training, *(dict(getattr(each, hook)) for hook in hooks if hasattr(each, hook)))
        for name, each in made.named_modules()
    }
    grads = [each.requires_grad for each in made.parameters()]
    return tensors, modes, grads


@pytest.mark.parametrize("name", HOSTILE)
def test_computed_or_one_sentence(name):
    torch.manual_seed(0), random.seed(0)
    make, said = HOSTILE[name]
    made = make()
    if name not in ("scripted", "traced by jit"):
        made.train()
    before, dice = described(made), torch.get_rng_state()
    if said is None:
        scan = fm.scan(made, IMAGES)
        assert np.isfinite(scan.stations[-1].mean["log_chi"]) and np.isfinite(scan["log_nu2_signal"]).all()
    else:
        with pytest.raises((ValueError, ArithmeticError), match=said) as caught:
            fm.scan(made, IMAGES)
        sentence = str(caught.value)
        assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 500
    assert described(made) == before and torch.equal(torch.get_rng_state(), dice)


@pytest.mark.parametrize("name", HOSTILE)
def test_translated_or_one_sentence(name):
    torch.manual_seed(0), random.seed(0)
    made = HOSTILE[name][0]()
    before, dice = described(made), (torch.get_rng_state(), random.getstate())
    try:
        found = fm.from_torch(made, torch.zeros(1, 3, 8, 8))
    except ValueError as refusal:
        sentence = str(refusal)
        assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 500
    else:
        assert isinstance(found, fm.Network)
    assert described(made) == before
    assert torch.equal(torch.get_rng_state(), dice[0]) and random.getstate() == dice[1]


def test_there_are_forty():
    assert len(HOSTILE) >= 40


def test_ctrl_c_leaves_a_module_as_it_was():
    made = nn.Sequential(layer(), nn.BatchNorm2d(3), module(lambda self, x: raise_interrupt()))
    before = described(made)
    with pytest.raises(KeyboardInterrupt):
        fm.scan(made, IMAGES)
    assert described(made) == before


def raise_interrupt():
    raise KeyboardInterrupt


def test_inside_inference_mode():
    with torch.inference_mode():
        inside = fm.scan(nn.Sequential(conv(3, 4)), IMAGES)
    assert np.isfinite(inside["chi"]).all()
