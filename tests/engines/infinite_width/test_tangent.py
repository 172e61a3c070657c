"""The neural tangent kernel: dense formulas, gradients of wide nets, what it must be, what is refused."""

import itertools

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.engines.infinite_width.tangent import check, learn
from fastmoments.nets.layers import Layer
from fastmoments.nets.network import Network, Residual

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((3, 4, 4, 2))
FLAT = RNG.standard_normal((4, 1, 1, 6))
DENSE = fm.Dense(weights=fm.Gaussian(1.5, bias_variance=0.2))
CONV = fm.Conv(3, fm.Gaussian(2.0, bias_variance=0.1), padding="zeros")


def ntk(layers, images, **options):
    found = fm.kernel(Network(tuple(layers)), images, kind="ntk", normalise=False, **options)
    return naive.flat(found)


def oracle(layers, images):
    """(K, Theta) of plain layers and residual ones, layer by layer."""

    def through(layers, k, t):
        for layer in layers:
            shape = k.shape
            if isinstance(layer, (fm.Conv, fm.Dense)):
                conv = layer.convolution
                bias = conv.weights.bias_variance
                k, t = naive.convolve(k, conv), naive.convolve(t, conv) - bias
                t = t + k
            elif isinstance(layer, Residual):
                (k1, t1), (k2, t2) = through(layer.branch, k, t), through(layer.shortcut, k, t)
                k, t = layer.scale**2 * k1 + k2, layer.scale**2 * t1 + t2
            elif isinstance(layer, fm.GlobalAvgPool):
                k, t = (np.mean(each, (1, 2, 4, 5))[:, None, None, :, None, None] for each in (k, t))
            elif isinstance(layer, fm.Flatten):
                k, t = naive.flatten(k), naive.flatten(t)
            elif isinstance(layer, fm.Scale):
                k, t = layer.factor**2 * k, layer.factor**2 * t
            else:
                matrix = naive.flat(k)
                t = (naive.flat(t) * naive.mask_of(matrix, layer.slopes)).reshape(shape)
                k = naive.activated(matrix, layer.slopes).reshape(shape)
        return k, t

    k = np.einsum("iabf,jcdf->iabjcd", images, images) / images.shape[-1]
    return tuple(map(naive.flat, through(layers, k, np.zeros_like(k))))


NETS = {
    "dense": [DENSE, fm.ReLU(), DENSE, fm.LeakyReLU(0.3), DENSE],
    "convolution": [CONV, fm.ReLU(), fm.Conv(3, stride=2), fm.Abs(), CONV],
    "head": [CONV, fm.ReLU(), fm.GlobalAvgPool(), DENSE],
    "flat": [CONV, fm.ReLU(), fm.Flatten(), DENSE, fm.ReLU(), DENSE],
    "units": [CONV, *[Residual([fm.ReLU(), CONV, fm.ReLU(), CONV], scale=0.7)] * 2],
    "unit first": [Residual([CONV, fm.ReLU(), CONV], [CONV]), fm.Scale(0.5), fm.ReLU(), CONV],
    "unit on the images": [Residual([CONV]), CONV, fm.ReLU()],
    "shortcut": [CONV, Residual([fm.ReLU(), fm.Conv(3, stride=2)], [fm.Conv(1, stride=2)]), fm.ReLU()],
    "a branch shut off": [CONV, Residual([fm.ReLU(), CONV], scale=0.0), fm.ReLU(), DENSE],
    "pool first": [fm.Scale(0.5), CONV, fm.ReLU(), CONV],
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_against_dense_formulas(name, count):
    images = FLAT[: count + 1] if name == "dense" else IMAGES[:count]
    expected = oracle(NETS[name], images)[1]
    np.testing.assert_allclose(ntk(NETS[name], images), expected, rtol=0, atol=1e-7 * expected.max())
    off = ~np.eye(len(expected), dtype=bool)  # the naive formula rounds what stands on the diagonal
    if name in ("dense", "convolution", "units", "shortcut") and count > 1:
        np.testing.assert_allclose(
            ntk(NETS[name], images)[off], expected[off], rtol=0, atol=1e-13 * expected.max()
        )


def gradients(x, gains, bias, activation, width, rng):
    """Theta of one net, by back-propagation: the last layer has one output."""
    sizes = [x.shape[1], *[width] * (len(gains) - 1), 1]
    signals, slopes, weights = [x], [], []
    for layer, (before, behind) in enumerate(itertools.pairwise(sizes)):
        weights.append(rng.standard_normal((before, behind)) * np.sqrt(gains[layer] / before))
        y = signals[-1] @ weights[-1] + np.sqrt(bias) * rng.standard_normal(behind)
        slopes.append(activation.slope(y))
        signals.append(activation.value(y))
    back, theta = np.ones((len(x), 1)), 0.0
    for layer in reversed(range(len(gains))):
        before = signals[layer]
        theta = theta + (gains[layer] / before.shape[1] * before @ before.T + bias) * (back @ back.T)
        if layer:
            back = (back @ weights[layer].T) * slopes[layer - 1]
    return theta


@pytest.mark.parametrize("activation", [fm.ReLU(), fm.Tanh(), fm.GELU(), fm.Erf()], ids=str)
def test_against_gradients_of_wide_nets(activation):
    """Of two widths, extrapolated in 1 / width."""
    gains, bias, nets = (1.5, 2.0, 0.8), 0.1, 1000
    layers = [fm.Dense(weights=fm.Gaussian(gain, bias_variance=bias)) for gain in gains]
    expected = ntk([layers[0], activation, layers[1], activation, layers[2]], FLAT)
    rng, found = np.random.default_rng(1), {}
    for width in (64, 128):
        found[width] = np.array([
            gradients(FLAT.reshape(4, -1), gains, bias, activation, width, rng) for _ in range(nets)
        ])  # fmt: skip
    mean = 2.0 * found[128].mean(0) - found[64].mean(0)
    error = np.sqrt((4.0 * found[128].var(0) + found[64].var(0)) / nets)
    z = ((mean - expected) / error)[np.triu_indices(4)]
    assert np.abs(z).max() < 3.5 and np.mean(z**2) < 3.0
    assert np.max(error / np.diag(expected).max()) < 0.02


def test_batch_norm_by_population_statistics_against_gradients():
    """f = w2 relu(norm(W1 x)), with the derivative of mean and deviation as training has it."""
    epsilon, gamma, x = 0.1, 1.3, FLAT.reshape(4, -1)
    points, features = x.shape
    norm = fm.BatchNorm(epsilon, gamma, statistics="population")
    dense = fm.Dense(weights=fm.Gaussian(2.0))
    expected = ntk([dense, norm, fm.ReLU(), dense], FLAT)
    rng, found = np.random.default_rng(2), {}
    for width in (64, 128):
        thetas = []
        for _ in range(400):
            y = x @ rng.standard_normal((features, width)) * np.sqrt(2.0 / features)
            centred = y - y.mean(0)
            deviation = np.sqrt(np.mean(centred**2) + epsilon)
            normed = gamma * centred / deviation
            last = rng.standard_normal(width) * np.sqrt(2.0 / width)
            active = np.maximum(normed, 0.0)
            # d f_p / d y_qc, through the norm of all points q and channels c.
            back = np.einsum("pq,pc->pqc", np.eye(points), last * (normed > 0)) * gamma / deviation
            along = np.einsum("pqc,qc->p", back, centred) / (deviation**2 * centred.size)
            back = back - back.mean(1, keepdims=True) - along[:, None, None] * centred
            first = np.einsum("pqc,rsc,qs->pr", back, back, 2.0 / features * x @ x.T)
            thetas.append(first + 2.0 / width * active @ active.T)
        found[width] = np.array(thetas)
    mean = 2.0 * found[128].mean(0) - found[64].mean(0)
    error = np.sqrt((4.0 * found[128].var(0) + found[64].var(0)) / 400)
    z = ((mean - expected) / error)[np.triu_indices(points)]
    assert np.abs(z).max() < 3.5 and np.mean(z**2) < 3.0


smooth = st.sampled_from([fm.ReLU(), fm.LeakyReLU(0.2), fm.Erf(), fm.GELU(), fm.Sin(), fm.Tanh()])


@settings(max_examples=25)
@given(st.integers(0, 10**6), smooth, st.floats(0.1, 4.0), st.floats(0.0, 2.0), st.integers(1, 4))
def test_symmetric_and_not_below_the_covariance(seed, activation, gain, bias, depth):
    """Theta is positive semidefinite, and so is what all layers but the last add to it: Theta - K."""
    images = np.random.default_rng(seed).standard_normal((3, 3, 3, 2))
    layers = [fm.Conv(3, fm.Gaussian(gain, bias_variance=bias)), activation] * depth + [fm.Conv()]
    theta = ntk(layers, images)
    k = naive.flat(fm.kernel(Network(tuple(layers)), images, normalise=False))
    np.testing.assert_allclose(theta, theta.T, rtol=1e-12, atol=1e-13 * theta.max())
    for matrix in (theta, theta - k):
        assert np.linalg.eigvalsh(matrix).min() > -1e-9 * np.trace(theta)


@given(st.integers(0, 10**6), st.floats(-3, 3), st.floats(0.1, 10.0), st.integers(1, 4))
def test_scaling(seed, log_factor, ratio, depth):
    """Without biases a rectifying net is homogeneous: of degree 2 in images, of degree L in the gain."""
    images = np.random.default_rng(seed).standard_normal((3, 1, 1, 5))
    one = [fm.Dense(weights=fm.Gaussian(2.0)), fm.ReLU()] * depth
    other = [fm.Dense(weights=fm.Gaussian(2.0 * ratio)), fm.ReLU()] * depth
    expected = ntk(one, images)
    factor = np.exp(log_factor)
    np.testing.assert_allclose(ntk(one, factor * images), factor**2 * expected, rtol=1e-9)
    np.testing.assert_allclose(ntk(other, images), ratio**depth * expected, rtol=1e-9)


REFUSED = {
    "finite batch": ([CONV, fm.BatchNorm(), fm.ReLU()], "statistics of a finite batch"),
    "in a branch": ([CONV, Residual([fm.BatchNorm(), CONV])], "statistics of a finite batch"),
    "through": ([CONV, fm.BatchNorm(noise="through"), CONV], "statistics of a finite batch"),
    "behind a merge": ([CONV, Residual([CONV, fm.ReLU(), CONV]), fm.ReLU(), CONV, fm.ReLU()], None),
    "copula": ([CONV, fm.ReLU(), Residual([CONV]), fm.ReLU()], "behind a merge and then ReLU"),
    "max pool": ([CONV, fm.MaxPool(2), CONV], "formula for every layer: MaxPool"),
    "drawn in a branch": ([CONV, Residual([fm.MaxPool(3, 1, 1), CONV])], "formula for every layer: MaxPool"),
    "depthwise": ([CONV, fm.Conv(3, groups="depthwise"), fm.ReLU()], "formula for every layer: ReLU"),
    "beta": (
        [CONV, fm.BatchNorm(beta=0.1, statistics="population"), fm.ReLU()],
        "formula for every layer: BatchNorm",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence_before_any_work(name):
    layers, said = REFUSED[name]
    if said is None:  # a merge of Gaussians is one
        assert np.isfinite(ntk(layers, IMAGES)).all()
        return
    with pytest.raises(ValueError, match=said) as caught:
        check(Network(tuple(layers)))
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=said):
        ntk(layers, IMAGES)


@pytest.mark.parametrize("kind", Layer.TYPES)
def test_every_layer_says_what_it_learns(kind):
    assert learn.dispatch(Layer.TYPES[kind]) is not learn.dispatch(object) or kind == "Network"


def test_an_unknown_layer_is_a_type_error():
    with pytest.raises(TypeError, match="int has no tangent kernel"):
        learn(3, None)


def test_the_order_of_images_does_not_matter():
    order = [2, 0, 1]
    layers = [CONV, fm.Tanh(), CONV, fm.GlobalAvgPool(), DENSE]
    found = ntk(layers, IMAGES)[np.ix_(order, order)]
    np.testing.assert_allclose(ntk(layers, IMAGES[order]), found, rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_the_numbers(threads):
    layers = [CONV, fm.Tanh(), CONV, fm.ReLU(), CONV]
    np.testing.assert_array_equal(ntk(layers, IMAGES, threads=threads), ntk(layers, IMAGES, threads=1))
