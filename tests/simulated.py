"""A simulation without scales, blocks or tricks, and nets and images for it."""

import naive
import numpy as np

from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import Network, Residual
from fastmoments.nets.norms import BatchNorm

RNG = np.random.default_rng(5)

FLAT = RNG.standard_normal((6, 1, 1, 10))

SQUARE = RNG.standard_normal((3, 5, 4, 2))

MIXED = Network(
    layers=(
        Conv(3, weights=Gaussian(gain=0.7, bias_variance=0.3), padding="zeros"),
        ReLU(),
        BatchNorm(0.1),
        Conv(2, dilation=2, padding="symmetric", weights=Gaussian(bias_variance=2.0)),
        Residual(
            branch=(
                ReLU(),
                Conv(3, stride=2),
                BatchNorm(0.0),
                ReLU(),
                Conv(1, weights=Gaussian(bias_variance=0.5)),
            ),
            shortcut=(Conv(1, weights=Gaussian(gain=9.0), stride=2),),
        ),
        ReLU(),
        BatchNorm(1e-3),
    ),
    stem=(Conv(3, weights=Gaussian(gain=1.5), padding="periodic"), BatchNorm(0.2)),
)


def naive_convolve(conv, images, weights):
    """Loops over outputs and taps, padding by numpy's own modes; float64."""
    k, s, d = conv.kernel_size, conv.stride, conv.dilation
    sizes, *around = zip(*(naive.pad_amounts(size, conv) for size in images.shape[1:3]), strict=True)
    widths = [(0, 0), *zip(*around, strict=True), (0, 0)]
    padded = np.pad(np.asarray(images, dtype=np.float64), widths, mode=naive.NUMPY_PADDING[conv.padding])
    weights = weights.astype(np.float64).reshape(k, k, images.shape[3], -1)
    output = np.zeros((len(images), *sizes, weights.shape[-1]))
    for row in range(sizes[0]):
        for column in range(sizes[1]):
            for u in range(k):
                for v in range(k):
                    output[:, row, column] += padded[:, row * s + u * d, column * s + v * d] @ weights[u, v]
    return output


def naive_layer(layer, x, dx, rng, width):
    if isinstance(layer, ReLU):
        return x * (x > 0), dx * (x > 0)
    if isinstance(layer, BatchNorm):
        deviation = np.sqrt(x.var(axis=(0, 1, 2)) + layer.epsilon)
        return (x - x.mean(axis=(0, 1, 2))) / deviation, dx / deviation
    fan_in = layer.kernel_size**2 * x.shape[-1]
    weights = rng.standard_normal((fan_in, width), dtype=np.float32) * np.sqrt(layer.weights.gain / fan_in)
    bias = 0.0
    if layer.weights.bias_variance:
        bias = np.sqrt(layer.weights.bias_variance) * rng.standard_normal(width, dtype=np.float32)
    return naive_convolve(layer, x, weights) + bias, naive_convolve(layer, dx, weights)


def naive_moments(x, dx, images):
    def rank(values):
        values = np.linalg.eigvalsh(np.cov(values.reshape(-1, values.shape[-1]).T))
        return values.sum() / values.max()

    centred = x - x.mean(axis=(0, 1, 2))
    mu2, mu2_noise = np.mean(centred**2), np.mean(dx**2)
    linear = {"nu1_abs_signal": np.abs(x).mean(), "nu2_signal": np.mean(x**2), "mu2_signal": mu2}
    linear |= {"mu4_signal": np.mean(centred**4), "mu2_noise": mu2_noise}
    linear["chi"] = np.sqrt(mu2_noise / mu2 * np.mean(np.var(images, axis=(0, 1, 2))))
    ranks = {"reff_signal": rank(x), "reff_noise": rank(dx)}
    return {f"log_{name}": np.log(value) for name, value in linear.items()} | ranks


def naive_stations(network, images, width, seed):
    """All (depth, loc, moments) of net 0, in float64 from the same random stream."""
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
    x, dx = images, rng.standard_normal(images.shape, dtype=np.float32).astype(float)
    for layer in network.stem:
        x, dx = naive_layer(layer, x, dx, rng, width)
    for depth, unit in enumerate(network.units, 1):
        residual = unit[0] if isinstance(unit[0], Residual) else None
        yield depth, "input", naive_moments(x, dx, images)
        skip, skip_noise, seen = x, dx, set()
        layers = residual.branch if residual else unit
        for index, layer in enumerate(layers):
            x, dx = naive_layer(layer, x, dx, rng, width)
            loc = {Conv: "conv", BatchNorm: "norm", ReLU: "act"}[type(layer)]
            if residual and index == len(layers) - 1 and loc in seen:
                loc = "branch"
            if loc not in seen:
                yield depth, loc, naive_moments(x, dx, images)
            seen.add(loc)
        if residual:
            for layer in residual.shortcut:
                skip, skip_noise = naive_layer(layer, skip, skip_noise, rng, width)
            x, dx = x + skip, dx + skip_noise
            yield depth, "merge", naive_moments(x, dx, images)
            for layer in unit[1:]:
                x, dx = naive_layer(layer, x, dx, rng, width)
            if unit[1:]:
                yield depth, "out", naive_moments(x, dx, images)
