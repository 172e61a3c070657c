"""Fully connected plain nets at finite width.

The mean of mu2 by pair closure, that of the other moments from martingales; variances of the diagonal's
moments and of the noise by diffusion, of mu2, mu4 and the effective rank by the adjoint pass, at up to
`NODES` depths, between which they are interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from ..layers import Conv
from .adjoint import deviations
from .arc_cosine import correlations
from .chaos import Field, linear_form, rectified_form
from .law import Law
from .log_diffusion import NoiseDiffusion
from .matrices import centred
from .noise_rank import noise_rank
from .pair_closure import Pairs

#: Depths at which the adjoint pass is made; modes that repel the leading one.
NODES, MODES = 16, 10


@dataclass(frozen=True)
class _Place:
    """A net behind one of its layers.

    Attributes
    ----------
    kernel : shape (M, M)
        At infinite width, of He layers.
    typical : shape (M, M)
        The same, its leading eigenvalue driven away from the others by the sampling noise.
    pairs, noise
        Laws of the covariance and of the noise.
    diagonal : shape (M, M)
        Covariance over nets of log K_ii and log K_jj.
    """

    kernel: np.ndarray
    typical: np.ndarray
    pairs: Pairs
    noise: NoiseDiffusion
    diagonal: np.ndarray


def stations(network, images: np.ndarray, width: int, depths: frozenset, log_input: float) -> Iterator:
    """Yield (depth, loc, laws) of every station wanted; parameters as in `batch_normalised.stations`."""
    gains = [layer.gain for unit in network.units for layer in unit if isinstance(layer, Conv)]
    places, fields = _walk(images, len(gains), width, bool(network.stem))
    behind = len(places) - len(gains)  # layers before the first ReLU, and the images
    nodes = _nodes(depths)
    found = {depth: _adjoint(places, fields, depth, behind, width) for depth in nodes}
    curves = {name: _through_nodes(nodes, [found[d][name] for d in nodes]) for name in found[nodes[-1]]}
    log_gain = math.log(network.stem[0].gain) if network.stem else 0.0
    if not gains:
        yield 0, "input", _laws(places[-1], found[0], width, log_gain, log_input, rectified=False)
    for depth, gain in enumerate(gains, 1):
        at, last = places[behind + depth - 1], places[behind + depth - 2]
        if depth in depths:
            earlier = {name: float(curve(depth - 1)) for name, curve in curves.items()}
            if depth > 1 or network.stem:
                yield depth, "input", _laws(last, earlier, width, log_gain, log_input, rectified=depth > 1)
            sampled = _sampled(last, earlier, width)
            yield (
                depth,
                "conv",
                _laws(sampled[0], sampled[1], width, log_gain + math.log(gain), log_input, rectified=False),
            )
        log_gain += math.log(0.5 * gain)
        if depth in depths:
            here = {name: float(curve(depth)) for name, curve in curves.items()}
            laws = _laws(at, here, width, log_gain, log_input, rectified=True)
            yield depth, "act", laws | _ranks(at, here, width)


def _walk(images, depth: int, width: int, linear: bool) -> tuple[list[_Place], list[Field]]:
    """Forward through the net, as if every gain was 2: places behind each layer, fields in each ReLU."""
    points, features = images.shape
    kernel = images @ images.T / features
    nothing = np.zeros((points, points))
    start = Pairs.exact(correlations(kernel)[0])
    places = [_Place(kernel, kernel, start, NoiseDiffusion.of_images(points, features), nothing)]
    if linear:
        c = correlations(kernel)[0]
        typical = _repelled(kernel, width, lambda form: linear_form(form), kernel)
        noise = places[0].noise.sampled(width)
        places.append(_Place(kernel, typical, start.sampled(width), noise, 2.0 * c * c / width))
    fields = []
    for _ in range(depth):
        last = places[-1]
        field, typical = Field.of(last.kernel), Field.of(last.typical)
        fields.append(field)
        kernel = field.rectified()
        places.append(
            _Place(
                kernel,
                _repelled(
                    typical.rectified(),
                    width,
                    lambda form, at=typical: rectified_form(form, at),
                    last.typical,
                ),
                last.pairs.rectified(width),
                last.noise.rectified(width, field.arc, correlations(kernel)[0]),
                last.diagonal + (4.0 * field.arc.j2 - 1.0) / width,
            )
        )
    return places, fields


def _repelled(kernel: np.ndarray, width: int, expand, source: np.ndarray) -> np.ndarray:
    """A covariance whose leading eigenvalue its sampling has driven away from the next ones.

    To second order in the noise E, lambda_1 gains E (u_1' E u_k)^2 / (lambda_1 - lambda_k) from each
    mode k, which loses it.
    """
    values, vectors = np.linalg.eigh(centred(kernel))
    count = min(MODES, len(values) - 1)
    leading, others = vectors[:, -1], vectors[:, -2 : -2 - count : -1].T
    if count < 1 or values[-1] <= 0.0:
        return kernel
    forms = leading[:, None] * others[:, None, :]
    chaos = expand(0.5 * (forms + np.swapaxes(forms, 1, 2)))
    moved = chaos.covariance(chaos, source) / width
    own = np.maximum(values[-2 : -2 - count : -1], 0.0)
    gaps = np.maximum(values[-1] - own, 1e-3 * values[-1])
    moved = np.minimum(moved / gaps, 0.5 * own)
    return kernel + moved.sum() * np.outer(leading, leading) - (others.T * moved) @ others


def _nodes(depths: frozenset) -> list[int]:
    """Depths of the adjoint pass: about evenly spaced in the logarithm, 0 and both ends included."""
    wanted = sorted(depths)
    if len(wanted) > NODES:
        places = np.unique(np.round(np.geomspace(1, max(wanted), NODES)).astype(int)).tolist()
    else:
        places = sorted({*wanted, *(depth - 1 for depth in wanted)})
        if len(places) > NODES:
            places = wanted
    return sorted({0, *places})


def _through_nodes(nodes: list[int], values: list[float]):
    if len(nodes) == 1:
        return lambda depth: values[0]
    return PchipInterpolator(nodes, values)


def _adjoint(places, fields, depth: int, behind: int, width: int) -> dict[str, float]:
    """Variances at the activation of this depth (0: before the first), by name, and the chi covariance."""
    at = places[behind + depth - 1]
    covariance = centred(at.kernel)
    points, trace = len(covariance), float(np.trace(covariance))
    values, vectors = np.linalg.eigh(covariance)
    centre = np.eye(points) - 1.0 / points
    leading = np.outer(vectors[:, -1], vectors[:, -1])
    rest = trace - values[-1]
    variances = np.diag(covariance)
    forms = [centre / trace, centred(np.diag(2.0 * variances / np.sum(variances**2)))]
    if rest > 1e-12 * trace:
        forms.append((centre - leading) / rest - leading / values[-1])
    else:
        forms.append(np.zeros_like(centre))
    first = places[0].kernel if behind == 2 else None
    noises = [place.noise for place in places[behind - 1 : behind - 1 + depth]]
    found = deviations(np.array(forms), fields[:depth], noises, width, first)
    names = ("log_mu2_signal", "log_mu4_signal", "reff_signal")
    return dict(zip(names, found.variances, strict=True)) | {"shared": float(found.with_noise[0])}


def _sampled(at: _Place, variances: dict, width: int) -> tuple[_Place, dict]:
    """The channels of a linear layer behind `at`: its laws with one more sampling."""
    c = correlations(at.kernel)[0]
    covariance = centred(at.kernel)
    trace = float(np.trace(covariance))
    squares = np.diag(covariance) / np.sum(np.diag(covariance) ** 2)
    spectrum = float(np.sum(covariance**2)) / trace**2
    fourth = 4.0 * float(squares @ covariance**2 @ squares)
    later = {
        **variances,
        "log_mu2_signal": variances["log_mu2_signal"] + 2.0 * spectrum / width,
        "log_mu4_signal": variances["log_mu4_signal"] + 2.0 * fourth / width,
    }
    place = _Place(
        at.kernel, at.typical, at.pairs.sampled(width), at.noise.sampled(width),
        at.diagonal + 2.0 * c * c / width,
    )  # fmt: skip
    return place, later


def _laws(at: _Place, variances: dict, width: int, log_gain, log_input, *, rectified: bool) -> dict:
    """The laws of a station, from the place behind its layer; before a ReLU it is Gaussian."""
    own = np.diag(at.kernel)
    root = np.sqrt(own)
    covariance = centred(np.outer(root, root) * at.pairs.mean_correlation())
    second, half = own / own.sum(), root / root.sum()
    mu2 = float(np.trace(covariance)) / len(own)
    spread = max(variances["log_mu2_signal"], 0.0)
    log_mu2 = Law(math.log(mu2) - 0.5 * spread, spread) if mu2 > 0.0 else Law(-math.inf, spread)
    log_noise = Law(-0.5 * at.noise.variance(), at.noise.variance())
    chi = Law(
        0.5 * (log_noise.mean - log_mu2.mean + log_input),
        0.25 * (log_noise.variance + spread - 2.0 * variances["shared"]),
    )
    absolute = math.sqrt((1.0 if rectified else 2.0) / math.pi) * float(root.mean())
    # E sqrt(K_ii) is below the root of E K_ii.
    shrink = -0.125 * float(half @ np.diag(at.diagonal))
    of_half = 0.25 * float(half @ at.diagonal @ half)
    laws = {
        "log_nu1_abs_signal": Law(math.log(absolute) + shrink - 0.5 * of_half + 0.5 * log_gain, of_half),
        "log_nu2_signal": _shifted(
            Law.logarithm(float(own.mean()), float(second @ at.diagonal @ second)), log_gain
        ),
        "log_mu2_signal": _shifted(log_mu2, log_gain),
        "log_mu2_noise": _shifted(log_noise, log_gain),
        "log_chi": chi,
    }
    if not rectified:
        fourth = 3.0 * float(np.mean(np.diag(covariance) ** 2))
        # A mean square of a lognormal variable is that much above the square of its mean.
        typical = math.log(fourth) - spread if fourth > 0.0 else -math.inf
        laws["log_mu4_signal"] = Law(typical + 2.0 * log_gain, variances["log_mu4_signal"])
    return laws


def _shifted(law: Law, by: float) -> Law:
    return Law(law.mean + by, law.variance)


def _ranks(at: _Place, variances: dict, width: int) -> dict[str, Law]:
    """Effective ranks: that of the signal has a lognormal excess over 1."""
    values = np.maximum(np.linalg.eigvalsh(centred(at.typical)), 0.0)
    excess = float(values.sum() / values[-1]) - 1.0 if values[-1] > 0.0 else 0.0
    relative = math.expm1(min(max(variances["reff_signal"], 0.0), 50.0))
    points, noise = len(values), at.noise
    pairs = max(points * (points - 1), 1)
    coherence = max(float(noise.coherence.sum()) / pairs - 1.0 / width, 0.0)
    mean, deviation = noise_rank(points, width, noise.total - noise.common, coherence)
    return {
        "reff_signal": Law(1.0 + excess, relative * excess**2),
        "reff_noise": Law(mean, deviation**2),
    }
