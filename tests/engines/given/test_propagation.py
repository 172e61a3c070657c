"""Mean and covariance through a given net: exact where it is linear, sampled where not, or refused."""

import math

import numpy as np
import pytest
from given import covariance, forward, stationary

import fastmoments as fm

LINEAR = {
    "dense": (fm.Conv(1, fm.Gaussian(bias_variance=0.3)), fm.Dense(3, fm.Gaussian(bias_variance=0.3))),
    "paddings": (fm.Conv(3, padding="zeros"), fm.Conv(3, padding="symmetric", stride=2), fm.Conv(2)),
    "pads": (fm.Conv(3, padding="zeros", pad=2), fm.Conv(3, pad=0), fm.Conv(3, dilation=2)),
    "groups": (fm.Conv(3, channels=4), fm.Conv(3, groups="depthwise"), fm.Conv(1, groups=2)),
    "heads": (fm.AvgPool(2), fm.AvgPool(3, 1, pad=1), fm.Conv(3), fm.Flatten(), fm.Dense(3)),
    "mean": (fm.Conv(3), fm.Scale(-2.0), fm.Dropout(), fm.GlobalAvgPool(), fm.Dense(3)),
    "residual": (
        fm.Residual(
            (fm.Conv(3, stride=2), fm.Residual((fm.Conv(3),), (fm.Conv(1), fm.Residual((fm.Conv(3),))))),
            (fm.Conv(1, stride=2),),
            scale=0.7,
        ),
        fm.Residual((fm.Conv(3, padding="zeros"),)),
    ),
}  # fmt: skip
SHAPE = (4, 5, 3)


def given(layers, shape=SHAPE, seed=0, width=4):
    return fm.sample_weights(fm.Network(tuple(layers)), shape, width=width, seed=seed)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_layers_and_merges_are_exact(name):
    """Against the matrix that the naive forward pass makes of unit images."""
    rng, net = np.random.default_rng(1), given(LINEAR[name])
    mean, before = rng.standard_normal(SHAPE), covariance(rng, *SHAPE)
    size, offset = math.prod(SHAPE), forward(net, _shaped(net, np.zeros((1, *SHAPE))))
    matrix = (forward(net, _shaped(net, np.eye(size).reshape(size, *SHAPE))) - offset).reshape(size, -1).T
    found = fm.propagate(net, mean, before)
    wanted = matrix @ before.reshape(size, size) @ matrix.T
    outputs = len(matrix)
    np.testing.assert_allclose(
        found.mean.ravel(), forward(net, _shaped(net, mean[None])).ravel(), atol=1e-13 * np.abs(wanted).max()
    )
    atol = 1e-13 * np.abs(wanted).max()
    np.testing.assert_allclose(found.covariance.reshape(outputs, outputs), wanted, rtol=0, atol=atol)
    np.testing.assert_allclose(
        found.noise.reshape(outputs, outputs), matrix @ matrix.T, rtol=1e-12, atol=1e-12
    )


def _shaped(net, images):
    return images.reshape(len(images), 1, 1, -1) if net.fully_connected else images


UNIT = (fm.BatchNorm(), fm.ReLU(), fm.Conv(3))
STATIONARY = {
    "plain": (fm.Conv(3), fm.ReLU(), fm.Conv(3, dilation=2), fm.LeakyReLU(0.2)),
    "residual": (
        fm.Conv(3),
        fm.Residual(
            (*UNIT, fm.Residual(UNIT, scale=0.5)), (fm.Conv(1), fm.Residual((fm.ReLU(), fm.Conv(3))))
        ),
        fm.BatchNorm(beta=0.2, statistics="population"),
        fm.GELU(),
    ),
    "strides": (fm.Conv(3, stride=2), fm.ReLU(), fm.AvgPool(2), fm.Tanh(), fm.Conv(2), fm.GlobalAvgPool()),
}  # fmt: skip


@pytest.mark.parametrize("name", STATIONARY)
def test_both_storages_agree(name):
    """On 8 x 4 positions; whatever they agree in, one of them is checked by sampling."""
    rng, net = np.random.default_rng(2), given(STATIONARY[name], (8, 4, 3))
    by_displacement, full = stationary(rng, 8, 4, 3)
    mean = rng.standard_normal(3)
    fft = fm.propagate(net, mean, by_displacement)
    dense = fm.propagate(net, np.broadcast_to(mean, (8, 4, 3)), full)
    grid = fft.covariance.shape[:2]
    shape = (*grid, fft.mean.size) * 2 if grid != (1, 1) else (1, 1, fft.mean.size) * 2
    for one, other in ((fft.covariance, dense.covariance), (fft.noise, dense.noise)):
        full = other.reshape(shape)
        for i, j in np.ndindex(*grid):
            for k, m in ((0, 0), (grid[0] - 1, grid[1] // 2)):
                np.testing.assert_allclose(
                    one[(i - k) % grid[0], (j - m) % grid[1]], full[i, j, :, k, m],
                    rtol=0, atol=1e-12 * np.abs(full).max(),
                )  # fmt: skip
    np.testing.assert_allclose(np.broadcast_to(fft.mean, dense.mean.shape), dense.mean, atol=1e-12)


def standard_errors(samples, found):
    """Of means and covariances of flattened samples, the largest deviations in standard errors."""
    flat = samples.reshape(len(samples), -1)
    centred = flat - flat.mean(0)
    cov = centred.T @ centred / (len(flat) - 1)
    fourth = (centred**2).T @ centred**2 / len(flat) - cov**2
    size = len(cov)
    away = np.abs(flat.mean(0) - found.mean.ravel()) / flat.std(0)
    across = np.abs(cov - found.covariance.reshape(size, size)) / np.sqrt(fourth)
    return math.sqrt(len(flat)) * np.array([away.max(), across.max()])


@pytest.mark.parametrize(
    "layers",
    [
        (fm.Residual((fm.LeakyReLU(0.1), fm.Conv(2, fm.Gaussian(bias_variance=0.5)))),),
        (fm.Residual((fm.BatchNorm(), fm.ReLU(), fm.Conv(2, padding="zeros")), scale=2.0),),
        (fm.Residual((fm.GELU(), fm.Conv(2))),),
        (fm.Residual((fm.HardSwish(), fm.Dense())), fm.GlobalAvgPool()),
    ],
)
def test_one_activation_of_a_gaussian_is_exact(layers):
    """With the skip beside it: every entry within 4.5 standard errors of 200,000 samples."""
    shape, samples = (2, 3, 2), 200_000
    rng, net = np.random.default_rng(3), given(layers, shape, width=2)
    mean, before = 0.5 * rng.standard_normal(shape), covariance(rng, *shape)
    root = np.linalg.cholesky(before.reshape(12, 12))
    x = mean + (rng.standard_normal((samples, 12)) @ root.T).reshape(samples, *shape)
    found = fm.propagate(net, mean, before)
    assert standard_errors(forward(net, _shaped(net, x)), found).max() < 4.5


def test_the_noise_is_that_of_the_derivative():
    """Differences of the forward pass, over noise and inputs, of a unit with a skip."""
    shape, samples = (2, 2, 2), 100_000
    net = given((fm.Residual((fm.ReLU(), fm.Conv(2)), (fm.Conv(1),)),), shape, width=2)
    rng = np.random.default_rng(4)
    mean, before = 0.5 * rng.standard_normal(shape), covariance(rng, *shape)
    root, step = np.linalg.cholesky(before.reshape(8, 8)), 1e-6
    x = mean + (rng.standard_normal((samples, 8)) @ root.T).reshape(samples, *shape)
    dx = step * rng.standard_normal(x.shape)
    dy = ((forward(net, x + dx) - forward(net, x - dx)) / (2 * step)).reshape(samples, -1)
    found = fm.propagate(net, mean, before).noise.reshape(8, 8)
    error = np.sqrt(((dy**2).T @ dy**2 / samples - found**2) / samples)
    assert np.abs((dy.T @ dy / samples - found) / error).max() < 4.5


@pytest.mark.parametrize("mode", ["evaluation", "training"])
def test_batch_norm_by_running_statistics_or_by_those_of_all_inputs(mode):
    rng, shape = np.random.default_rng(5), (2, 2, 3)
    arrays = {"weight": rng.uniform(0.5, 2.0, 3), "bias": rng.standard_normal(3)}
    if mode == "evaluation":
        arrays |= {"running_mean": rng.standard_normal(3), "running_var": rng.uniform(0.5, 2.0, 3)}
    net = fm.Network((fm.BatchNorm(epsilon=0.1), fm.AvgPool(2)), weights={"layers.0": arrays})
    mean, before = rng.standard_normal(shape), covariance(rng, *shape)
    found = fm.propagate(net, mean, before)
    variance = np.diagonal(before.reshape(12, 12)).reshape(4, 3).mean(0) + mean.reshape(4, 3).var(0)
    centre = arrays.get("running_mean", mean.mean((0, 1)))
    factor = arrays["weight"] / np.sqrt(arrays.get("running_var", variance) + 0.1)
    np.testing.assert_allclose(found.mean, factor * (mean.mean((0, 1)) - centre) + arrays["bias"], rtol=1e-12)
    pooled = before.reshape(4, 3, 4, 3).mean((0, 2))
    np.testing.assert_allclose(found.covariance, np.outer(factor, factor) * pooled, rtol=1e-12)


def test_noise_of_ones_own():
    rng = np.random.default_rng(6)
    net, noise = given((fm.Dense(4),), (1, 1, 5)), covariance(rng, 5)
    weight = net.weights["layers.0"]["weight"]
    found = fm.propagate(net, np.zeros(5), np.eye(5), noise=noise)
    np.testing.assert_allclose(found.noise, weight @ noise @ weight.T, rtol=1e-12)


def test_nothing_given_is_changed():
    rng = np.random.default_rng(7)
    mean, before, noise = rng.standard_normal(5), covariance(rng, 5), np.eye(5)
    kept = [each.copy() for each in (mean, before, noise)]
    fm.propagate(given((fm.ReLU(), fm.Dense()), (1, 1, 5)), mean, before, noise=noise)
    for one, other in zip((mean, before, noise), kept, strict=True):
        np.testing.assert_array_equal(one, other)


NET = given((fm.Conv(3), fm.ReLU()), (4, 4, 2))
WIDE = np.zeros((4, 4, 2)), np.zeros((4, 4, 2, 4, 4, 2))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fm.propagate(3, *WIDE), "fastmoments Network"),
        (lambda: fm.propagate(fm.Network((fm.Conv(3),)), *WIDE), "has no weights"),
        (lambda: fm.propagate(NET, np.zeros((4, 4)), WIDE[1]), r"mean must be of shape \(h, w, c\)"),
        (lambda: fm.propagate(NET, WIDE[0], np.eye(32)), "covariance must be of shape"),
        (lambda: fm.propagate(NET, *WIDE, noise=np.eye(32)), "noise must be of shape"),
        (lambda: fm.propagate(NET, "much", WIDE[1]), "array of numbers"),
        (lambda: fm.propagate(NET, np.full((4, 4, 2), np.nan), WIDE[1]), "finite"),
        (lambda: fm.propagate(given((fm.Dense(),), (1, 1, 2)), np.zeros(2), [[1, 2], [0, 1]]), "symmetric"),
        (lambda: fm.propagate(given((fm.Dense(),), (1, 1, 2)), np.zeros(2), -np.eye(2)), "negative"),
        (lambda: fm.propagate(NET, np.zeros((4, 4, 3)), np.zeros((4, 4, 3) * 2)), "weight of layers.0"),
        (lambda: fm.propagate(given((fm.MaxPool(2), fm.Conv(1))), *WIDE), "MaxPool at layers.0"),
        (lambda: fm.propagate(given((fm.LayerNorm(), fm.Conv(1))), *WIDE), "LayerNorm at layers.0"),
        (lambda: fm.propagate(fm.Network(NET.layers, weights={}), *WIDE), "no weight of layers.0"),
        (
            lambda: fm.propagate(fm.Network(NET.layers, weights={"layers.7": {"weight": [1]}}), *WIDE),
            "no layer layers.7",
        ),
        (
            lambda: fm.propagate(given((fm.Residual((fm.Conv(3, stride=2),)),), (4, 4, 2)), *WIDE),
            "the branch ends in",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_sentence(call, said):
    with pytest.raises(ValueError, match=said) as caught:
        call()
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ((fm.Conv(3, padding="zeros"),), "periodic"),
        ((fm.Conv(3), fm.Flatten(), fm.Dense()), "Flatten"),
        ((fm.Conv(3), fm.AvgPool(3, 1, pad=1)), "AvgPool"),
        ((fm.Conv(3, stride=3),), "strides"),
        ((fm.Residual((fm.Conv(3, stride=2),), (fm.Conv(1, stride=2),)),), "stride inside a residual"),
    ],
)
def test_what_is_not_the_same_everywhere_is_refused_by_stationary_storage(layers, said):
    by_displacement, _ = stationary(np.random.default_rng(0), 4, 4, 2)
    with pytest.raises(ValueError, match=said) as caught:
        fm.propagate(given(layers, (4, 4, 2)), np.zeros(2), by_displacement)
    assert str(caught.value).endswith(".")


def test_what_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr("fastmoments.engines.given.costs.free_memory", lambda: 3e8)
    net = given((fm.Conv(3), fm.ReLU()) * 2, (4, 4, 2), width=256)
    with pytest.raises(ValueError, match=r'of memory, and 300 MB are free; what fits: storage="stationary"'):
        fm.propagate(net, *WIDE)
