"""How far the Gaussian closure holds in one given net, beside simpler ones, in one run.

    python -m bench.given

Random He nets, plain, with batch norm, and with batch norm and skips, under a stationary Gaussian input:
relative errors of the trace and of the full covariance (Frobenius norm), of the effective rank, of the trace
of the noise and of chi behind some units, against samples through the same weights; means over seeds of
absolute errors. "full" is `fastmoments`; "series" has the four leading terms of the expansion in place of the
bivariate moments, "diagonal" forgets all covariances behind every layer. "sampling" is half of what halves
of the samples differ by: errors of this size are not seen.

Then a fully connected net under N(0, I): the mean squared error of its final mean, and how many samples have
the same error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from threadpoolctl import threadpool_limits

import fastmoments as fm
from fastmoments.engines.given import field as fields
from fastmoments.engines.given.check import passed as send
from fastmoments.engines.given.check import samples_of
from fastmoments.engines.given.field import Field
from fastmoments.engines.given.propagation import field_of
from fastmoments.engines.given.route import all_layers, passed
from fastmoments.engines.given.walk import by_displacement
from fastmoments.engines.sampled.layers import Flow
from fastmoments.maps.rectified import hermite_table, normal_table, standardised

from .common import arguments, deliver, table

METHODS = ("full", "series", "diagonal")
QUANTITIES = ("trace", "covariance", "r_eff", "noise", "chi")


def nets(depth: int, width: int) -> dict[str, fm.Network]:
    """The three kinds."""
    plain, norm = (fm.Conv(3), fm.ReLU()), (fm.Conv(3), fm.BatchNorm(), fm.ReLU())
    unit = fm.Residual((fm.BatchNorm(), fm.ReLU(), fm.Conv(3)))
    stem = (fm.Conv(3, fm.Gaussian(gain=1.0)),)
    return {
        "plain": fm.Network(plain * depth, name="plain"),
        "bn": fm.Network(norm * depth, name="bn"),
        "bn_res": fm.Network((unit,) * depth, stem, "bn_res"),
    }


def input_law(side: int) -> np.ndarray:
    """Covariance by displacement of a synthetic image of three channels, of variance 1."""
    images = fm.load_images(f"synthetic:{side}x{side}x3", 256, seed=0).array
    images = (images - images.mean((0, 1, 2))) / images.std((0, 1, 2))
    return by_displacement(images)


def four_terms(activation, mean, covariance, noise, mirror):
    """The rectifier by the terms of r to r^4; variances are exact."""
    deviations = np.sqrt(np.diagonal(covariance[0]))
    a = standardised(mean, deviations)
    normal, series = normal_table(a), hermite_table(a)
    r = np.clip(covariance / np.outer(deviations, deviations), -1.0, 1.0)
    both, factor = (np.outer(normal[0], normal[0]) * r**power for power in (1, 0))
    for n in range(3):
        product = np.outer(series[n], series[n])
        both = both + product * r ** (n + 2) / ((n + 1) * (n + 2))
        factor = factor + product * r ** (n + 1) / (n + 1)
    itself = np.arange(len(mean))
    square = (a * a + 1.0) * normal[0] + a * np.exp(-0.5 * a * a) / np.sqrt(2.0 * np.pi)
    both[0, itself, itself] = square - normal[2] ** 2
    factor[0, itself, itself] = normal[0]
    covariance[:] = both * np.outer(deviations, deviations)
    noise *= factor
    return deviations * normal[2], normal[0]


@contextmanager
def bent_by(function) -> Iterator[None]:
    """Another map of activations for all that is inside."""
    before = fields.bend
    fields.bend = function or before
    try:
        yield
    finally:
        fields.bend = before


def forget(field: Field) -> None:
    """Leave variances only."""
    for (i, j), pair in field.blocks.items():
        for part, block in enumerate(pair):
            kept = np.zeros_like(block)
            if i == j:
                np.fill_diagonal(kept[0], np.diagonal(block[0]))
            pair[part] = kept


def analytic(net: fm.Network, law: np.ndarray, depths: list[int], method: str) -> dict[int, dict]:
    """Covariances by displacement of signal and noise behind units."""
    field, found = field_of(np.zeros(len(law[0, 0])), law), {}
    ends = {net.unit(depth)[-1][0]: depth for depth in depths}
    with bent_by(four_terms if method == "series" else None), threadpool_limits(1, user_api="blas"):
        for path, _ in passed(all_layers(net), field, net.weights):
            if method == "diagonal":
                forget(field)
            if path in ends:
                found[ends[path]] = {"signal": field.own[0].copy(), "noise": field.own[1].copy()}
    return found


def sampled(net: fm.Network, law: np.ndarray, depths: list[int], samples: int, seed: int) -> list[dict]:
    """The same of two halves of samples, which go through batch norm together."""
    rng = np.random.default_rng(seed)
    flow = Flow.start(samples_of(field_of(np.zeros(len(law[0, 0])), law), samples, rng), rng)
    ends = {net.unit(depth)[-1][0]: depth for depth in depths}
    halves: list[dict] = [{}, {}]
    for path in send(all_layers(net), flow, net):
        if path not in ends:
            continue
        for half, found in enumerate(halves):
            signal, noise = (
                np.exp(scale) * values[half::2].astype(np.float64)
                for values, scale in zip(flow.pair, flow.log_scale, strict=True)
            )
            mean = signal.mean((0, 1, 2))
            channels = len(mean)
            found[ends[path]] = {
                "signal": by_displacement(signal - mean).reshape(-1, channels, channels),
                "noise": by_displacement(noise).reshape(-1, channels, channels),
            }
    return halves


def errors(found: dict, wanted: dict) -> dict[str, float]:
    """Relative errors of one station."""

    def numbers(of: dict) -> dict[str, float]:
        signal, noise = of["signal"][0], of["noise"][0]
        return {
            "trace": np.trace(signal),
            "r_eff": np.trace(signal) / np.linalg.eigvalsh(signal)[-1],
            "noise": np.trace(noise),
            "chi": np.sqrt(np.trace(noise) / np.trace(signal)),
        }

    ours, theirs = numbers(found), numbers(wanted)
    away = found["signal"] - wanted["signal"]
    of = {name: abs(ours[name] / theirs[name] - 1.0) for name in ours}
    return of | {"covariance": float(np.linalg.norm(away) / np.linalg.norm(wanted["signal"]))}


def compared(options) -> Iterator[list[dict]]:
    """Yield the rows of every kind of net."""
    depths = sorted({depth for depth in (1, 5, 20) if depth <= options.depth} | {options.depth})
    law = input_law(options.side)
    for kind, net in nets(options.depth, options.width).items():
        if kind not in options.kinds.split(","):
            continue
        rows = []
        found: dict[tuple[int, str], list[dict]] = {}
        seconds = dict.fromkeys((*METHODS, "sampling"), 0.0)
        for seed in range(options.seeds):
            given = fm.sample_weights(net, (options.side, options.side, 3), width=options.width, seed=seed)
            start = time.perf_counter()
            halves = sampled(given, law, depths, options.samples, seed)
            seconds["sampling"] += time.perf_counter() - start
            for depth in depths:
                one, other = (half[depth] for half in halves)
                whole = {name: 0.5 * (one[name] + other[name]) for name in one}
                for half in (one, other):
                    found.setdefault((depth, "sampling"), []).append(errors(half, whole))
                halves[0][depth] = whole
            for method in METHODS:
                start = time.perf_counter()
                behind = analytic(given, law, depths, method)
                seconds[method] += time.perf_counter() - start
                for depth in depths:
                    found.setdefault((depth, method), []).append(errors(behind[depth], halves[0][depth]))
        for depth in depths:
            for method in (*METHODS, "sampling"):
                each = found[depth, method]
                means = {name: float(np.mean([of[name] for of in each])) for name in QUANTITIES}
                took = seconds[method] / options.seeds
                rows.append({"net": kind, "layer": depth, "method": method, **means, "seconds": took})
        yield rows


def perceptron(options) -> dict:
    """Mean squared error of the final mean of a fully connected net, full and diagonal."""
    width = options.perceptron
    net = fm.sample_weights(fm.Network((fm.Dense(), fm.ReLU()) * options.layers), (1, 1, width), width=width)
    matrices = [of["weight"].T.astype(np.float32) for of in net.weights.values()]
    rng, step = np.random.default_rng(0), 10_000
    start, total, square = time.perf_counter(), np.zeros(width), np.zeros(width)
    for _ in range(max(options.inputs // step, 1)):
        x = rng.standard_normal((step, width), dtype=np.float32)
        for matrix in matrices:
            x = np.maximum(x @ matrix, 0.0)
        total += x.sum(0, dtype=np.float64)
        square += (x * x).sum(0, dtype=np.float64)
    inputs = max(options.inputs // step, 1) * step
    sampling, mean = time.perf_counter() - start, total / inputs
    variance = float(np.mean(square / inputs - mean**2))
    noise = variance / inputs
    found: dict = {"inputs": inputs, "noise": noise, "power": float(np.mean(mean**2)), "rows": []}
    # What is compiled first does not count.
    fm.propagate(fm.Network(net.layers[:2], weights=dict(list(net.weights.items())[:1])), mean, np.eye(width))
    for method in ("full", "diagonal"):
        field = field_of(np.zeros(width), np.eye(width))
        start = time.perf_counter()
        with threadpool_limits(1, user_api="blas"):
            for _ in passed(all_layers(net), field, net.weights):
                if method == "diagonal":
                    forget(field)
        seconds = time.perf_counter() - start
        error = float(np.mean((field.here.mean - mean) ** 2)) - noise
        same = variance / max(error, 1e-300)
        found["rows"].append(
            {
                "method": method, "squared error": error, "seconds": seconds, "samples alike": same,
                "their seconds": same * sampling / inputs,
            }
        )  # fmt: skip
    return found


def main() -> None:
    parser = arguments(
        __doc__.splitlines()[0], depth=20, width=32, side=8, seeds=3, samples=4000, inputs=200_000,
        perceptron=256, layers=32, kinds="plain,bn,bn_res",
    )  # fmt: skip
    options = parser.parse_args()
    columns = {"net": "", "layer": "d", "method": "", **dict.fromkeys(QUANTITIES, ".2%"), "seconds": ".2f"}
    rows = []
    for part in compared(options):
        table(part, columns)
        rows += part
    mlp = perceptron(options)
    shown = {"method": "", "squared error": ".2e", "seconds": ".2f", "samples alike": ".0f"}
    table(mlp["rows"], shown | {"their seconds": ".3f"})
    print(f"of {mlp['inputs']} inputs, whose own error of {mlp['noise']:.1e} is taken off")
    deliver(options.json, nets=rows, perceptron=mlp)


if __name__ == "__main__":
    main()
