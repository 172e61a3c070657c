"""Small given nets and inputs, and the naive forward pass through their weights."""

import numpy as np

import fastmoments as fm
from fastmoments.nets.network import unrolled


def covariance(rng, *shape):
    """Of random variables in an array of that shape."""
    size = int(np.prod(shape))
    root = rng.standard_normal((size, size + 2)) / np.sqrt(size)
    return (root @ root.T).reshape(*shape, *shape)


def stationary(rng, height, width, channels):
    """By displacement, and the same as a full covariance."""
    waves = rng.standard_normal((height, width, channels, channels + 1, 2)) @ [1.0, 1.0j]
    spectrum = waves @ waves.conj().swapaxes(2, 3) / channels
    there = spectrum[-np.arange(height) % height][:, -np.arange(width) % width]
    by_displacement = np.fft.ifft2(0.5 * (spectrum + there.conj()), axes=(0, 1)).real
    full = np.empty((height, width, channels, height, width, channels))
    for i, j in np.ndindex(height, width):
        for k, m in np.ndindex(height, width):
            full[i, j, :, k, m] = by_displacement[(i - k) % height, (j - m) % width]
    return by_displacement, full


def naive_conv(conv, weight, bias, x):
    """Of images (n, h, w, c), position by position and tap by tap."""
    groups = x.shape[3] // weight.shape[1]
    if groups > 1:
        parts = zip(np.split(weight, groups), np.split(x, groups, axis=3), strict=True)
        return np.concatenate([naive_conv(conv, each, None, part) for each, part in parts], axis=3)
    down, across = conv.taps(x.shape[1]), conv.taps(x.shape[2])
    found = np.zeros((len(x), len(down), len(across), len(weight)))
    for p, q in np.ndindex(len(down), len(across)):
        for a, b in np.ndindex(conv.kernel_size, conv.kernel_size):
            if down[p, a] >= 0 and across[q, b] >= 0:
                found[:, p, q] += x[:, down[p, a], across[q, b]] @ weight[:, :, a, b].T
    return found + (0.0 if bias is None else bias)


def forward(network, x):
    """Images (n, h, w, c) through a given net; batch norm by the batch, or by running statistics."""
    for stack in network.stacks:
        x = _stack(network, list(unrolled(getattr(network, stack), "", stack)), x)
    return x


def _stack(network, layers, x):
    for path, layer in layers:
        arrays = network.weights.get(path, {})
        if isinstance(layer, fm.Residual):
            branch, shortcut = (
                _stack(network, list(unrolled(getattr(layer, name), path, name)), x)
                for name in ("branch", "shortcut")
            )
            x = shortcut + layer.scale * branch
        elif isinstance(layer, fm.Conv):
            x = naive_conv(layer, arrays["weight"], arrays.get("bias"), x)
        elif isinstance(layer, fm.Dense):
            x = x @ arrays["weight"].T + arrays.get("bias", 0.0)
        elif isinstance(layer, fm.BatchNorm):
            mean = arrays.get("running_mean", x.mean((0, 1, 2)))
            variance = arrays.get("running_var", x.var((0, 1, 2)))
            x = arrays.get("weight", layer.gamma) * (x - mean) / np.sqrt(variance + layer.epsilon)
            x = x + arrays.get("bias", layer.beta)
        elif isinstance(layer, fm.GlobalAvgPool):
            x = x.mean((1, 2), keepdims=True)
        elif isinstance(layer, fm.AvgPool):
            down, across = layer.averages(x.shape[1]), layer.averages(x.shape[2])
            x = np.einsum("ph,qw,nhwc->npqc", down, across, x)
        elif isinstance(layer, fm.Flatten):
            x = x.reshape(len(x), 1, 1, -1)
        elif isinstance(layer, fm.Scale):
            x = layer.factor * x
        elif not isinstance(layer, fm.Dropout):
            x = layer.value(x)
    return x
