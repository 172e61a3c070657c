"""Max pooling of signal and noise: against loops over windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.engines.sampled.max_pool import pooled
from fastmoments.nets.max_pool import MaxPool

PAIR = np.random.default_rng(0).standard_normal((2, 2, 7, 6, 3)).astype(np.float32)


def naive(layer, pair):
    """Window by window, channel by channel."""
    rows, columns = layer.seen(pair.shape[2]), layer.seen(pair.shape[3])
    out = np.empty((2, pair.shape[1], len(rows), len(columns), pair.shape[4]), np.float32)
    for n, i, j, c in np.ndindex(out.shape[1:]):
        places = [(y, x) for y in rows[i] for x in columns[j] if y >= 0 and x >= 0]
        best = max(places, key=lambda place: pair[(0, n, *place, c)])
        out[:, n, i, j, c] = pair[(slice(None), n, *best, c)]
    return out


@given(st.integers(1, 4), st.integers(1, 3), st.none() | st.integers(0, 2))
def test_the_winner_and_its_noise(size, stride, pad):
    layer = MaxPool(size, stride, None if pad is None else min(pad, size // 2))
    np.testing.assert_array_equal(pooled(layer, PAIR), naive(layer, PAIR))


def test_it_is_a_derivative():
    layer, step = MaxPool(3, 2, 1), 1e-3
    moved = PAIR[:1] + np.float32(step) * PAIR[1:]
    found = (pooled(layer, np.concatenate([moved, moved]))[0] - pooled(layer, PAIR)[0]) / step
    assert np.mean(np.abs(found - pooled(layer, PAIR)[1]) < 1e-2) > 0.97


def test_torch_agrees():
    torch = pytest.importorskip("torch")
    for layer in (MaxPool(), MaxPool(3, 2, 1), MaxPool(3, 1, 0)):
        signal = torch.tensor(PAIR[0].transpose(0, 3, 1, 2))
        theirs = torch.nn.functional.max_pool2d(signal, layer.size, layer.step, layer.pad)
        np.testing.assert_array_equal(pooled(layer, PAIR)[0], theirs.numpy().transpose(0, 2, 3, 1))


@pytest.mark.parametrize("engine", [fm.Sampled(16, 2), fm.InfiniteWidth(draws=256)])
def test_batch_norm_behind_it_takes_the_means_away(engine):
    """What works in place has to see the pooled values themselves, however they lie in memory."""
    net = fm.Network([fm.Conv(3), fm.MaxPool(3, 2, 1), fm.BatchNorm(), fm.ReLU()])
    scan = fm.scan(net, fm.load_images("synthetic:8x8x3", 4, seed=0), engine, reff_locs=())
    pooled, normed = (scan.station(f"layers.{place}").mean for place in (1, 2))
    assert pooled["nu2_signal"] > 1.5 * pooled["mu2_signal"]
    assert normed["nu2_signal"] == pytest.approx(normed["mu2_signal"], rel=1e-5)
