"""What signal and noise share behind the first weights, and what batch norm makes of it."""

import math

import numpy as np
import pytest

from fastmoments import bn_ff, bn_res
from fastmoments.engines.infinite_width.walk import InfiniteWidthWalk
from fastmoments.engines.sampled.walk import SampledRun
from fastmoments.images.sources import load_images, normalise
from fastmoments.maps.overlap import MAX_FEATURES, Overlap
from fastmoments.nets.linear import Conv, Gaussian


def explicit(images, convs, p):
    """C_qp for every q as a linear map of the pixels' noise, (q, pixels), by following unit noise."""
    n, h, w, c = images.shape
    noise = np.eye(h * w * c).reshape(h * w * c, h, w, c)
    # K over (signal, noise) of a linear net: a Gram matrix of both, convolved tap by tap.
    gram = np.einsum("nabc,mdec->nabmde", images, noise) / c
    for conv in convs:
        rows, columns = conv.padded_index(gram.shape[1]), conv.padded_index(gram.shape[2])
        outs = [np.arange(conv.output_size(size)) * conv.stride for size in gram.shape[1:3]]
        total = 0.0
        for s in range(conv.kernel_size):
            for t in range(conv.kernel_size):
                a, b = rows[outs[0] + s * conv.dilation], columns[outs[1] + t * conv.dilation]
                inside = (a >= 0)[:, None] & (b >= 0)
                part = gram[:, a][:, :, b][:, :, :, :, a][:, :, :, :, :, b]
                total = total + part * inside[None, :, :, None, None, None] * inside
        gram = conv.weights.gain / conv.kernel_size**2 * total
    n, a, b, m = gram.shape[:4]
    return gram.reshape(n * a * b, m, a * b)[:, :, p]


@pytest.mark.parametrize("padding", ["periodic", "zeros"])
@pytest.mark.parametrize("count", [1, 2])
def test_shares_are_the_second_moments_of_the_cross_covariance(padding, count):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 6, 6, 2))
    convs = [Conv(3, weights=Gaussian(gain=1.3), stride=2, padding=padding), Conv(3, padding=padding)][:count]
    overlap = Overlap.of_images(images)
    for conv in convs:
        overlap = overlap.convolved(conv)
    points, positions = 18, 9
    vectors = rng.standard_normal((points, 4))
    vectors = np.linalg.qr(vectors - vectors.mean(0))[0]
    shares, total = overlap.shares(vectors)
    expected, every = 0.0, 0.0
    for p in range(positions):
        cross = explicit(images, convs, p)
        expected = expected + np.sum((vectors.T @ cross) ** 2, axis=1) / positions
        every += np.sum((cross - cross.mean(0)) ** 2) / positions
    np.testing.assert_allclose(shares, expected, rtol=1e-12)
    assert total == pytest.approx(every, rel=1e-12)


def test_an_overlap_of_too_many_features_is_let_go():
    overlap = Overlap.of_images(np.zeros((1, 4, 4, MAX_FEATURES // 9 + 1)))
    assert overlap.convolved(Conv(3)) is None
    assert overlap.convolved(Conv(1)) is not None


@pytest.mark.parametrize("family", [bn_ff, bn_res])
def test_batch_norm_behind_few_inputs_against_sampling(family, monkeypatch):
    """Growth of the noise variance up to the first batch norm; without the overlap it is far off."""
    network = family(1, res_depth=1)
    images = normalise(load_images("synthetic:8x8x1", 4, seed=1).array)
    nets = 30

    def growth(stations):
        at = {station.loc: station.moments["log_mu2_noise"] for station in stations}
        return math.exp(at["norm"] - at["input"])  # both feel the one draw of noise that a net sees

    flow = list(SampledRun(network, images, width=1024, nets=nets, seed=0))
    values = np.array([growth([s for s in flow if s.net == net]) for net in range(nets)])
    error = values.std(ddof=1) / math.sqrt(nets)
    assert abs(growth(InfiniteWidthWalk(network, images)) - values.mean()) < 4 * error
    monkeypatch.setattr(Overlap, "of_images", classmethod(lambda cls, images: None))
    assert growth(InfiniteWidthWalk(network, images)) - values.mean() > 8 * error
