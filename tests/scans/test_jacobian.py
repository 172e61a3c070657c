"""The Jacobian to the output, against white noise that sets out behind a layer of wide random nets."""

import math
from unittest import mock

import numpy as np
import pytest

import fastmoments as fm
from fastmoments import AvgPool, BatchNorm, Conv, Dense, Flatten, GlobalAvgPool, MaxPool, Network, ReLU
from fastmoments import Residual as Unit
from fastmoments.engines.protocol import Station
from fastmoments.engines.sampled import walk  # noqa: F401  # registers all layers
from fastmoments.engines.sampled.layers import Draw, Flow, forward
from fastmoments.images.batches import Batch
from fastmoments.nets.network import unrolled
from fastmoments.scans import journal
from fastmoments.scans.jacobian import with_jacobian

IMAGES = fm.load_images("synthetic:8x8x2", 6, seed=3)
CONV, RELU, WIDE = Conv(3), ReLU(), Conv(3, channels=192)
MEAN, HEAD = AvgPool(3, stride=1, pad=1), (GlobalAvgPool(), Dense(10))
BRANCH = (BatchNorm(), ReLU(), Conv(3, padding="zeros"))
NETS = {
    "pools": Network(
        [WIDE, BatchNorm(), ReLU(), MEAN, WIDE, ReLU(), WIDE, MEAN, WIDE, ReLU(), *HEAD]
    ),
    "stem": Network(
        [WIDE, ReLU(), WIDE, ReLU(), *HEAD], stem=[WIDE, MaxPool(3, stride=2, pad=1)]
    ),
    "numbers": Network(
        [Conv(3, channels=128), ReLU(), Conv(3, stride=2, channels=256), ReLU(), Flatten(), Dense(10)]
    ),
    "residual": Network([Unit(BRANCH), Unit(BRANCH, scale=0.5), Unit(BRANCH, (Conv(1),))], stem=[Conv(3)]),
    "v1": Network([Conv(3), *(Unit((Conv(3), BatchNorm(), ReLU(), Conv(3), BatchNorm())), ReLU()) * 3]),
}  # fmt: skip


def carried(layer, path, flow, draw):
    """A flow through a layer, those it holds included."""

    def inside(stack, part):
        for where, each in unrolled(getattr(layer, stack), path, stack):
            carried(each, where, part, draw)
        yield from ()

    for _ in forward(layer, flow, draw, inside) or ():
        pass


def simulated(network, path, width, nets, seed):
    """Mean squared singular values of sampled nets: white noise of variance 1 behind the layer at a path."""
    values = Batch(IMAGES.array, True, network.fully_connected).values
    found = []
    for rng in np.random.default_rng(seed).spawn(nets):
        flow, draw, start = Flow.start(values, rng), Draw(rng, width, "weights"), 1
        for where, layer in network.inside(""):
            carried(layer, where, flow, draw)
            if where == path:
                flow.pair[1] = rng.standard_normal(flow.pair[1].shape, dtype=np.float32)
                flow.log_scale[1] = 0.0
                start = math.prod(flow.pair.shape[2:])
        noise = flow.pair[1].astype(float)
        square = np.mean(noise**2) * math.exp(2.0 * flow.log_scale[1])
        found.append(square * math.prod(noise.shape[1:]) / start)
    return np.mean(found), np.std(found, ddof=1) / math.sqrt(nets)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("pools", "layers.0"), ("pools", "layers.2"), ("pools", "layers.8"),
        ("stem", "stem.0"), ("stem", "stem.1"), ("stem", "layers.0"),
        ("numbers", "layers.0"), ("numbers", "layers.3"), ("residual", "layers.0"), ("residual", "layers.1"),
        ("v1", "layers.1"),
    ],
)  # fmt: skip
def test_white_noise_behind_a_layer(name, path):
    analytic = fm.scan(NETS[name], IMAGES).station(path).mean["jacobian"]
    mean, error = simulated(NETS[name], path, 192, 16, seed=11)
    assert error < 0.1 * mean
    assert abs(mean - analytic) < 3.5 * error


@pytest.mark.parametrize(
    ("name", "path", "low", "high"),
    [("pools", "layers.6", 0.4, 0.6), ("v1", "layers.2", 0.85, 0.95), ("v1", "layers.5", 0.88, 0.97)],
)
def test_where_it_is_rough(name, path, low, high):
    """Between overlapping means, and before an activated merge, where noise stands on what is large."""
    analytic = fm.scan(NETS[name], IMAGES).station(path).mean["jacobian"]
    assert low < simulated(NETS[name], path, 192, 16, seed=11)[0] / analytic < high


def test_sampled_nets_agree():
    network = NETS["pools"]
    analytic, sampled = (
        fm.scan(network, IMAGES, engine, reff_locs=()) for engine in (None, fm.Sampled(192, 16, seed=2))
    )
    assert [station.channels for station in sampled.stations] == [s.channels for s in analytic.stations]
    for one, other in zip(analytic.stations[1:], sampled.stations[1:], strict=True):
        bound = 3.5 * max(other.sigma["jacobian"], 1e-9) / 4.0
        assert abs(one.mean["jacobian"] - other.mean["jacobian"]) < bound, one.path


def test_of_finite_width_the_mean_is_that_of_simulated_nets():
    network, images = fm.bn_res(12, kernel_size=1), fm.load_images("synthetic:8x8x3", 32, seed=0)
    theory = fm.scan(network, images, fm.FiniteWidth(128)).curve("jacobian")
    curve = fm.scan(network, images, fm.Sampled(128, 40, seed=5)).curve("jacobian")
    inner = slice(1, -1)
    deviation = curve.sigma[inner] / np.sqrt(40)
    assert (np.abs(theory.mean - curve.mean)[inner] < 3.5 * deviation).all()
    assert theory.mean[-1] == curve.mean[-1] == 1.0 and theory.sigma is None


def test_channels_count_where_all_are_known():
    def station(path, grid, channels, log_noise):
        return Station(path, "Conv", 1, None, {"log_mu2_noise": log_noise}, grid=grid, channels=channels)

    def jacobian(*stations):
        return [math.exp(each.moments["log_jacobian"]) for each in with_jacobian(stations)]

    first, last = station("", (4, 4), 3, 0.0), station("layers.0", (2, 2), 6, math.log(5.0))
    assert jacobian(first, last) == pytest.approx([5.0 * (4 * 6) / (16 * 3), 1.0])
    unsaid = station("layers.0", (2, 2), None, math.log(5.0))
    assert jacobian(first, unsaid) == pytest.approx([5.0 / 4.0, 1.0])


def test_inside_of_a_unit_there_is_none():
    stations = fm.scan(NETS["residual"], IMAGES).stations
    assert {s.path for s in stations if "jacobian" in s.mean} == {
        "", "stem.0", "layers.0", "layers.1", "layers.2"
    }  # fmt: skip


def test_a_scan_that_goes_on_knows_what_means_have_left(tmp_path):
    def stop(event):
        if event.depth == 3:
            raise InterruptedError

    network = Network([MEAN, CONV, MEAN, CONV, RELU, CONV, MEAN, CONV, RELU], stem=[CONV])
    whole, path = fm.scan(network, IMAGES), tmp_path / "x.partial"
    often = mock.patch.multiple(journal, CHECKPOINT_SECONDS=0.0, CHECKPOINT_SHARE=1e9)
    with often, pytest.raises(InterruptedError):
        fm.scan(network, IMAGES, journal=path, progress=stop)
    resumed = fm.scan(network, IMAGES, journal=path, resume=True)
    np.testing.assert_array_equal(resumed["jacobian"], whole["jacobian"])


def test_deep_nets_have_its_logarithm():
    scan = fm.scan(fm.vanilla(500, kernel_size=1, gain=60.0), fm.load_images("synthetic:4x4x1", 4), every=50)
    assert scan["jacobian"][0] == math.inf
    assert scan["log_jacobian"][0] == pytest.approx(450 * math.log(30.0), rel=1e-9)
