"""The law of a signal at one place, which decides what may follow: one rule for each kind of layer."""

from __future__ import annotations

from functools import singledispatch

from ..nets.activations import Nonlinearity, PiecewiseLinear
from ..nets.dense import Dense
from ..nets.fixed import Fixed, Flatten
from ..nets.layer_norm import ChannelNorm
from ..nets.layers import Layer
from ..nets.linear import Conv
from ..nets.network import Network, Residual, unrolled
from ..nets.norms import BatchNorm
from .freshness import culprit, fresh_behind
from .hermite import largest_mean_slope

#: Largest square of E phi' of an activation in a net with batch norm: the share that is left of what signal
#: and noise have in common (`overlap`), and no longer followed. That of a ReLU, 0.25, costs up to 0.02 of
#: log mu2 of the noise (grey images, 3 x 3 taps), 0.4 up to 0.06.
MOST_PASSED = 0.4

#: The images; Gaussian channels; batch-normalised Gaussians; what an activation makes of them: one that
#: leaves nothing below 0, another piecewise linear one, any other; known by its second moments only.
DATA, GAUSSIAN, NORMALISED, MIXED = "images", "gaussian", "normalised", "mixed"
RECTIFIED, LEAKY, ACTIVATED = "rectified", "leaky", "activated"
#: A sum of channels of a known law and fresh Gaussians; what an activation makes of it (`post_activation`).
SUMMED, CLOSED = "summed", "closed"


@singledispatch
def law_after(layer: Layer, law: str) -> str:
    """Law of the signal behind a layer, of `law` before it.

    Raises
    ------
    ValueError
        In one sentence, if the mathematics does not cover the layer there: what is not, and what would be.
    TypeError
        If no rule is registered for the layer.
    """
    raise TypeError(f"{type(layer).__name__} has no map at infinite width.")


@law_after.register(Conv)
@law_after.register(Dense)
def _(layer: Conv | Dense, law: str) -> str:
    return GAUSSIAN


@law_after.register
def _(layer: Fixed, law: str) -> str:
    return law if law in (DATA, GAUSSIAN) else MIXED


@law_after.register
def _(layer: Flatten, law: str) -> str:
    # Gaussians of different positions, whose variances differ, are not one.
    return DATA if law == DATA else MIXED


@law_after.register
def _(layer: ChannelNorm, law: str) -> str:
    if law in (DATA, MIXED, ACTIVATED, SUMMED, CLOSED):
        raise ValueError(
            f"{type(layer).__name__} of a signal whose mean over channels is not known ({law}) is not "
            "covered at infinite width; put a Conv right before it."
        )
    return GAUSSIAN if law == GAUSSIAN else MIXED


@law_after.register
def _(layer: BatchNorm, law: str) -> str:
    if law != GAUSSIAN and (layer.statistics == "batch" or law == DATA):
        raise ValueError(
            f"BatchNorm of a signal that is not Gaussian ({law}) is not covered at infinite width; "
            "put a Conv, or a merge of branches that end in a Conv, right before it."
        )
    if layer.beta:
        raise ValueError('BatchNorm with a beta is not covered at infinite width; use method="sampled".')
    if layer.statistics == "population":
        return law if law == GAUSSIAN else MIXED
    return NORMALISED


@law_after.register
def _(layer: PiecewiseLinear, law: str) -> str:
    positive = layer.slopes[1] <= 0.0
    if law == SUMMED:
        return CLOSED if positive else LEAKY
    # The ReLU of a ReLU is itself.
    if law in (RECTIFIED, CLOSED) and layer.slopes == (1.0, 0.0):
        return law
    if law not in (GAUSSIAN, NORMALISED):
        raise ValueError(
            f"{type(layer).__name__} of a signal that is neither Gaussian nor batch-normalised ({law}) is "
            "not covered at infinite width; put a Conv before it."
        )
    return RECTIFIED if positive else LEAKY


@law_after.register
def _(layer: Nonlinearity, law: str) -> str:
    if law != GAUSSIAN:
        raise ValueError(
            f"{type(layer).__name__} of a signal that is not Gaussian ({law}) is not covered at infinite "
            "width; put a Conv before it."
        )
    return ACTIVATED


@law_after.register
def _(layer: Residual, law: str) -> str:
    shortcut, branch = (law_after_stack(stack, law) for stack in (layer.shortcut, layer.branch))
    if not (fresh_behind(layer.branch) or fresh_behind(layer.shortcut)):
        raise ValueError(
            f"Residual: the branch ends in {culprit(layer.branch)} without fresh weights behind it, which "
            "correlates it with the shortcut; end it in a Conv, or a Conv and a BatchNorm."
        )
    return merged(shortcut, branch) if layer.scale else shortcut


def merged(shortcut: str, branch: str) -> str:
    """Law of the sum of a shortcut and a branch with fresh weights."""
    if shortcut == branch == GAUSSIAN:
        return GAUSSIAN
    return SUMMED if shortcut not in (DATA, ACTIVATED, MIXED) and branch in (GAUSSIAN, NORMALISED) else MIXED


def between_units(law: str) -> str:
    """A station stands between units, so a ReLU there no longer knows the batch norm before it."""
    return MIXED if law == NORMALISED else law


def law_after_stack(layers: tuple[Layer, ...], law: str) -> str:
    """Law behind a stack of layers."""
    for _, layer in unrolled(layers, "", ""):
        law = law_after(layer, law)
    return law


def check(network: Network) -> None:
    """Refuse a net whose mathematics is not covered, before any work is done.

    Raises
    ------
    ValueError
        In one sentence: what is not covered, and what would be.
    """
    for layer in network.distinct if network.has(BatchNorm) else ():
        slope = largest_mean_slope(layer) if isinstance(layer, Nonlinearity) else 0.0
        if slope**2 > MOST_PASSED:
            raise ValueError(
                f"{layer} keeps signal and noise correlated (E phi' is up to {slope:.2f}), which "
                'is not covered in nets with BatchNorm; use a ReLU, or method="sampled".'
            )
    if len({layer.noise for layer in network.distinct if isinstance(layer, BatchNorm)}) > 1:
        raise ValueError(
            'A net with BatchNorm of noise="frozen" and of "through" is not covered at infinite width; use '
            'one of them for all, or method="sampled".'
        )
    law = between_units(law_after_stack(network.stem, DATA))
    for unit in network.units:
        law = between_units(law_after_stack(unit, law))
