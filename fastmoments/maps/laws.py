"""The law of a signal at one place, which decides what may follow: one rule for each kind of layer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from itertools import takewhile

from ..nets.activations import Nonlinearity, PiecewiseLinear
from ..nets.concat import Concat
from ..nets.dense import Dense
from ..nets.fixed import Fixed, Flatten
from ..nets.layer_norm import ChannelNorm
from ..nets.layers import Layer
from ..nets.linear import Conv
from ..nets.max_pool import MaxPool
from ..nets.network import Network, Residual, unrolled
from ..nets.norms import BatchNorm
from .freshness import culprit, fresh_behind
from .hermite import largest_mean_slope

#: Largest square of E phi' of an activation in a net with batch norm: the share that is left of what signal
#: and noise have in common (`overlap`), and no longer followed. That of a ReLU, 0.25, costs up to 0.02 of
#: log mu2 of the noise (grey images, 3 x 3 taps), 0.4 up to 0.06.
MOST_PASSED = 0.4

#: The images; Gaussian channels; batch-normalised Gaussians; what an activation makes of them: one that
#: leaves nothing below 0, another piecewise linear one, any other; known by its second moments only; drawn
#: channels, which have any law.
DATA, GAUSSIAN, NORMALISED, MIXED, DRAWN = "images", "gaussian", "normalised", "mixed", "drawn"
RECTIFIED, LEAKY, ACTIVATED = "rectified", "leaky", "activated"
#: Known by its second moments only, the images' few channels in it, whose mean no norm can take off.
IMAGED = "mixed with images"
#: A sum of channels of a known law and fresh Gaussians; what an activation makes of it (`post_activation`).
SUMMED, CLOSED = "summed", "closed"


#: Laws of mean 0 over channels.
CENTRED = frozenset({GAUSSIAN, NORMALISED})
#: Channels of several laws: those of the branches of a Concat.
_MIXTURE, _AND = "mixture of ", ", "


def mixture(laws: Iterable[str]) -> str:
    """Law of channels of which some have each of these laws; mixtures among them are taken apart."""
    found = {part for law in laws for part in parts(law) or (law,)}
    return _MIXTURE + _AND.join(sorted(found))


def parts(law: str) -> tuple[str, ...]:
    """The laws of a mixture; none of another law."""
    return tuple(law.removeprefix(_MIXTURE).split(_AND)) if law.startswith(_MIXTURE) else ()


def drawn_to_end(branch: tuple[Layer, ...], law: str) -> bool:
    """Whether a branch of a Concat is drawn to its end: if channels before it are, and it can be."""
    if DRAWN not in (parts(law) or (law,)):
        return False
    try:
        law_after_stack(branch, law, to_end=True)
    except NoFormula:
        return False
    return True


class NoFormula(ValueError):
    """There is no formula for a layer behind this law: channels have to be drawn where it was Gaussian."""


@singledispatch
def law_after(layer: Layer, law: str) -> str:
    """Law of the signal behind a layer, of `law` before it.

    Raises
    ------
    NoFormula
        In one sentence, if only drawn channels go through the layer: what is not covered, and what would be.
    ValueError
        If those do not either.
    TypeError
        If no rule is registered for the layer.
    """
    raise TypeError(f"{type(layer).__name__} has no map at infinite width.")


@law_after.register
def _(layer: Dense, law: str) -> str:
    return GAUSSIAN


@law_after.register
def _(layer: Conv, law: str) -> str:
    if not layer.channelwise:
        return GAUSSIAN
    if law == DATA:
        raise ValueError(
            'Conv(groups="depthwise") of the images themselves is not covered at infinite width, where a '
            'depthwise Conv has infinitely many channels; put a Conv before it, or use method="sampled".'
        )
    # Gaussian given its weights, of which every channel has its own.
    return IMAGED if law == IMAGED else MIXED


@law_after.register
def _(layer: MaxPool, law: str) -> str:
    if layer.pointwise:
        return law
    raise NoFormula(
        f"MaxPool of a signal that is known by its second moments only ({law}) is not covered at infinite "
        "width; put a Conv before it."
    )


@law_after.register
def _(layer: Fixed, law: str) -> str:
    return law if law in (DATA, GAUSSIAN, IMAGED) else MIXED


@law_after.register
def _(layer: Flatten, law: str) -> str:
    # Gaussians of different positions, whose variances differ, are not one.
    return law if law in (DATA, IMAGED) else MIXED


@law_after.register
def _(layer: ChannelNorm, law: str) -> str:
    if law in (DATA, IMAGED):
        raise ValueError(
            f"{type(layer).__name__} of a signal with few channels ({law}) is not covered at infinite width; "
            "put a Conv before it."
        )
    if law == MIXED and layer.parts > 1:
        raise ValueError(
            f"{type(layer).__name__} of a signal whose channels may differ from group to group ({law}) is "
            "not covered at infinite width; put a Conv right before it, or use LayerNorm."
        )
    return GAUSSIAN if law == GAUSSIAN else MIXED


@law_after.register
def _(layer: BatchNorm, law: str) -> str:
    if law != GAUSSIAN and (layer.statistics == "batch" or law == DATA):
        raise NoFormula(
            f"BatchNorm of a signal that is not Gaussian ({law}) is not covered at infinite width; "
            "put a Conv, or a merge of branches that end in a Conv, right before it."
        )
    if layer.beta:
        raise NoFormula('BatchNorm with a beta is not covered at infinite width; use method="sampled".')
    if layer.statistics == "population":
        return law if law in (GAUSSIAN, IMAGED) else MIXED
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
        raise NoFormula(
            f"{type(layer).__name__} of a signal that is neither Gaussian nor batch-normalised ({law}) is "
            "not covered at infinite width; put a Conv before it."
        )
    return RECTIFIED if positive else LEAKY


@law_after.register
def _(layer: Nonlinearity, law: str) -> str:
    if law != GAUSSIAN:
        raise NoFormula(
            f"{type(layer).__name__} of a signal that is not Gaussian ({law}) is not covered at infinite "
            "width; put a Conv before it."
        )
    return ACTIVATED


@law_after.register
def _(layer: Residual, law: str) -> str:
    shortcut = unmixed(law_after_stack(layer.shortcut, law))
    branch = unmixed(law_after_stack(layer.branch, law, to_end=shortcut == DRAWN))
    drawn = DRAWN in (shortcut, branch)  # channel by channel, correlated as they are
    if not drawn and not (fresh_behind(layer.branch) or fresh_behind(layer.shortcut)):
        raise NoFormula(
            f"Residual: the branch ends in {culprit(layer.branch)} without fresh weights behind it, which "
            "correlates it with the shortcut; end it in a Conv, or a Conv and a BatchNorm."
        )
    return merged(shortcut, branch) if layer.scale else shortcut


@law_after.register
def _(layer: Concat, law: str) -> str:
    return mixture(law_after_stack(branch, law, drawn_to_end(branch, law)) for branch in layer.branches)


def unmixed(law: str) -> str:
    """Law of the channels of a mixture taken together, of which second moments are known; others stay."""
    if not parts(law):
        return law
    return IMAGED if {DATA, IMAGED} & set(parts(law)) else MIXED


def merged(shortcut: str, branch: str) -> str:
    """Law of the sum of a shortcut and a branch with fresh weights."""
    if DRAWN in (shortcut, branch):
        if {shortcut, branch} <= {DRAWN, GAUSSIAN}:
            return DRAWN
        raise NoFormula(
            f"Residual: the branch ends in drawn channels, and of the shortcut second moments only are known "
            f"({shortcut}), which is not covered at infinite width; end one of them in a Conv."
        )
    if shortcut == branch == GAUSSIAN:
        return GAUSSIAN
    if {DATA, IMAGED} & {shortcut, branch}:
        return IMAGED
    return SUMMED if shortcut not in (ACTIVATED, MIXED) and branch in (GAUSSIAN, NORMALISED) else MIXED


def between_units(law: str) -> str:
    """A station stands between units, so a ReLU there no longer knows the batch norm before it."""
    if parts(law):
        return mixture(map(between_units, parts(law)))
    return MIXED if law == NORMALISED else law


def law_after_stack(layers: tuple[Layer, ...], law: str, to_end: bool = False) -> str:
    """Law behind a stack of layers; see `course`."""
    return course(unrolled(layers, "", ""), law, to_end)[0]


def course(
    layers: Iterable[tuple[str, Layer]], law: str, to_end: bool = False, last: Iterable[str] = ()
) -> tuple[str, frozenset[str]]:
    """Law behind a stack, and where channels are drawn.

    Where a layer has no formula for the law before it, channels are drawn where the signal was Gaussian
    last, and go through the layers one by one, up to the next that mixes channels. The parts of a mixture
    go through such layers each by itself, and are drawn by themselves.

    Parameters
    ----------
    layers : iterable of (path, layer)
    law : str
        Before the first.
    to_end : bool
        Whether channels are wanted at the end, unless it is Gaussian.
    last : iterable of str
        Paths of the last layer of every unit.

    Returns
    -------
    law : str
        Behind the last.
    starts : frozenset of str
        Paths of the layers before which channels are drawn. Of the first layer with weights it is
        these, on the images, that are drawn.

    Raises
    ------
    ValueError
        If a layer is not covered.
    """
    layers, last = list(layers), frozenset(last)
    starts: set[str] = set()
    source = 0 if law == GAUSSIAN else None  # where channels could be drawn
    on_images: set[int] = set()
    index = 0
    while True:
        try:
            if index == len(layers):
                if to_end and not {GAUSSIAN, DRAWN} >= set(parts(law) or (law,)):
                    raise NoFormula(f"A signal of law {law} is not covered where channels are drawn.")
                return law, frozenset(starts)
            run = channelwise(layer for _, layer in layers[index:]) if parts(law) else 0
            if run:
                own = layers[index : index + run]
                law = mixture(course(own, part, last=last)[0] for part in parts(law))
                index += run
                continue
            path, layer = layers[index]
            after = _after(layer, law)
        except NoFormula:
            if source is None or source == len(layers):
                raise
            path, layer = layers[source]
            starts.add(path)
            # The first layer with weights is drawn with these.
            index, law, source = source + (source in on_images), DRAWN, None
            continue
        if after == GAUSSIAN:
            source = index + 1
            if law == DATA and layer.weighted:
                source = index
                on_images.add(index)
        law = between_units(after) if path in last else after
        index += 1


def channelwise(layers: Iterable[Layer]) -> int:
    """How many layers, from the first on, treat every channel by itself."""
    return sum(1 for _ in takewhile(lambda layer: layer.channelwise, layers))


def _after(layer: Layer, law: str) -> str:
    if parts(law) and not layer.stacks:
        return law_after(layer, unmixed(law))
    if law == DRAWN and not layer.stacks:
        return DRAWN if layer.channelwise else law_after(layer, MIXED)
    return law_after(layer, law)


def check(network: Network) -> frozenset[str]:
    """Refuse a net whose mathematics is not covered, before any work is done.

    Returns
    -------
    frozenset of str
        Paths before which channels are drawn (`course`), but for those inside of other layers.

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
    stem = list(unrolled(network.stem, "", "stem"))
    units = [network.unit(depth) for depth in range(1, network.depth + 1)]
    last = [layers[-1][0] for layers in (stem, *units) if layers]
    return course([*stem, *(pair for unit in units for pair in unit)], DATA, last=last)[1]
