"""The scan of a net: what it says of itself; wrong calls, refused with a ValueError of one sentence."""

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.images import sources as data
from fastmoments.kernels.threads import workers
from fastmoments.nets import families
from fastmoments.nets.activations import ReLU
from fastmoments.nets.linear import Conv, Gaussian
from fastmoments.nets.network import Network, Residual
from fastmoments.nets.norms import BatchNorm
from fastmoments.scans.engines import engine_from
from fastmoments.scans.files import load_scan
from fastmoments.scans.scanning import limited_threads, scan
from fastmoments.scans.verification import verify

NET = families.bn_ff(depth=2, kernel_size=1)
IMAGES = np.random.default_rng(0).standard_normal((4, 2, 2, 3))
SAMPLED = {"width": 8, "nets": 2}


def of_layers(*stack):
    return lambda: scan(Network(stack), IMAGES)


CALLS = {
    "network is no net": (lambda: scan("bn_ff", IMAGES), "network must be a fastmoments Network, not str"),
    "network is a layer": (lambda: scan(Conv(), IMAGES), "network must be a fastmoments Network, not Conv"),
    "verify of no net": (lambda: verify("bn_ff", IMAGES), "network must be a fastmoments Network"),
    "unknown method": (
        lambda: scan(NET, IMAGES, "exact"),
        "one of infinite, finite, sampled, measured, given, not",
    ),
    "engine is a class": (lambda: scan(NET, IMAGES, fm.Sampled), "engine must be an engine such as"),
    "engine is a number": (lambda: scan(NET, IMAGES, 3), "engine must be an engine such as"),
    "every is zero": (lambda: scan(NET, IMAGES, every=0), "every must be a positive whole number, not 0"),
    "every is a float": (lambda: scan(NET, IMAGES, every=1.5), "every must be a positive whole number"),
    "every is a bool": (lambda: scan(NET, IMAGES, every=True), "every must be a positive whole number"),
    "precision is unknown": (lambda: fm.InfiniteWidth(dtype="half"), "dtype must be one of float64"),
    "precision of a simulation": (
        lambda: engine_from("sampled", dtype="float32"), 'dtype belongs to method="infinite"',
    ),
    "rank of a simulation": (
        lambda: engine_from("sampled", rank=4), 'rank belongs to method="infinite"',
    ),
    "station is unknown": (lambda: scan(NET, IMAGES, reff_locs=("actt",)), "reff_locs must be"),
    "stations are a string": (lambda: scan(NET, IMAGES, reff_locs="act"), "reff_locs must be a sequence"),
    "threads is zero": (lambda: scan(NET, IMAGES, threads=0), "threads must be a whole number from 1"),
    "threads is too many": (lambda: scan(NET, IMAGES, threads=10**6), "threads must be a whole number from"),
    "threads is a float": (lambda: scan(NET, IMAGES, threads=1.0), "threads must be a whole number"),
    "width without sampling": (lambda: engine_from("infinite", width=8), "width belongs to method="),
    "nets without sampling": (lambda: engine_from("infinite", nets=8), "nets belongs to method="),
    "width is negative": (lambda: fm.Sampled(**SAMPLED | {"width": -8}), "width must be"),
    "width is a float": (lambda: fm.Sampled(**SAMPLED | {"width": 8.0}), "width must be"),
    "nets is negative": (lambda: fm.Sampled(**SAMPLED | {"nets": -1}), "nets must be"),
    "seed is negative": (lambda: fm.Sampled(**SAMPLED, seed=-1), "seed must be"),
    "draw is unknown": (lambda: fm.Sampled(**SAMPLED, draw="fast"), "draw must be one of auto"),
    "convolution is unknown": (lambda: fm.InfiniteWidth(convolution="slow"), "convolution must be one of"),
    "rank is zero": (lambda: fm.InfiniteWidth(rank=0), "rank must be a positive whole number, not 0"),
    "no tap meets an image": (of_layers(Conv(2, dilation=9, padding="zeros"), ReLU()), "meets an image"),
    "no tap meets an image later on": (
        of_layers(Conv(), Conv(1, stride=5, padding="zeros", pad=2)), "meets an image of 2 x 2 positions",
    ),
    "a kernel is larger than its images": (
        of_layers(Conv(), ReLU(), Conv(5, pad=1)), "spans 5 positions, and a side of 2 has 4 with pad=1",
    ),
    "images are missing": (lambda: scan(NET, None), "array"),
    "images are text": (lambda: scan(NET, [[["a"]]]), "pixel values must be integers or floats"),
    "images are flat": (lambda: scan(NET, np.ones((4, 5))), "images must have shape"),
    "images are empty": (lambda: scan(NET, np.ones((0, 2, 2, 1))), "every axis must be at least 1 long"),
    "images are infinite": (lambda: scan(NET, IMAGES / 0.0), "NaN or infinite"),
    "images are complex": (lambda: scan(NET, 1j * IMAGES), "pixel values must be"),
    "images are ragged": (lambda: scan(NET, [[[1.0]], [[1.0, 2.0]]]), "one array"),
    "images are constant": (lambda: scan(NET, np.ones((4, 2, 2, 1))), "no signal"),
    "images are constant as they are": (
        lambda: scan(NET, np.ones((4, 2, 2, 1)), normalise=False), "at least two different images",
    ),
    "one image, fully connected": (lambda: scan(NET, IMAGES[:1]), "two different images"),
    "unknown name of images": (lambda: data.load_images("mnist"), "unknown images 'mnist'"),
    "count is zero": (lambda: data.load_images("synthetic", 0), "count must be a positive whole number"),
    "kernel size is zero": (lambda: Conv(0), "kernel_size must be a whole number from 1 to 1000, not 0"),
    "kernel size is a float": (lambda: Conv(3.0), "kernel_size must be a whole number from 1"),
    "gain is zero": (lambda: Gaussian(0.0), "gain must be a finite positive number"),
    "gain is not a number": (lambda: Gaussian(float("nan")), "gain must be a finite positive number"),
    "bias variance is negative": (lambda: Gaussian(bias_variance=-1.0), "bias_variance must be"),
    "padding is unknown": (lambda: Conv(padding="same"), "padding must be one of periodic"),
    "epsilon is negative": (lambda: BatchNorm(-1e-3), "epsilon must be a finite non-negative number"),
    "branch without weights": (lambda: Residual((ReLU(),)), "the branch needs a Conv"),
    "branch is a layer": (lambda: Residual(Conv()), "must be a sequence of layers"),
    "branch holds a name": (lambda: Residual(("Conv",)), "branch may hold"),
    "layers hold a name": (lambda: Network(("Conv",)), "layers may hold"),
    "depth is negative": (lambda: families.bn_ff(depth=-1), "depth must be a whole number from 0 to 1000000"),
    "depth is a float": (lambda: families.bn_res(depth=10.0), "depth must be a whole number"),
    "residual depth is zero": (lambda: families.bn_res(res_depth=0), "res_depth must be"),
    "a merge of images and ReLU": (of_layers(Residual((Conv(), ReLU()))), "the branch ends in a ReLU"),
    "batch norm of images": (of_layers(BatchNorm(), Conv()), "BatchNorm of a signal that is not"),
    "ReLU of the images": (of_layers(ReLU(), Conv()), "ReLU of a signal that is neither"),
    "no file": (lambda: load_scan("nowhere.json"), "There is no file nowhere.json"),
    "unknown ending": (lambda: load_scan("scan.txt"), "Cannot tell the format of scan.txt"),
    "one width": (lambda: verify(NET, IMAGES, widths=[64, 64]), "at least two different widths"),
    "width zero": (lambda: verify(NET, IMAGES, widths=(0, 64)), "all of widths must be a positive"),
    "widths is a number": (lambda: verify(NET, IMAGES, widths=64), "widths must be a sequence"),
    "widths are text": (lambda: verify(NET, IMAGES, widths="64"), "all of widths must be a positive"),
    "few nets": (lambda: verify(NET, IMAGES, nets=7), "nets must be a whole number of at least 8"),
    "seed of verify": (lambda: verify(NET, IMAGES, seed=None), "seed must be a whole number"),
    "no depths": (lambda: verify(NET, IMAGES, depths=[]), "depths must not be empty"),
    "depth zero": (lambda: verify(NET, IMAGES, depths=[0]), "all of depths must be a positive"),
    "depth beyond the net": (lambda: verify(NET, IMAGES, depths=[3]), "depths may go to 2"),
    "threshold zero": (lambda: verify(NET, IMAGES, threshold=0), "threshold must be a positive number"),
    "nothing to verify": (lambda: verify(Network(), IMAGES), "depth 0 has nothing to verify"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "words"), CALLS.values(), ids=list(CALLS))
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_wrong_calls_are_refused_in_one_sentence(call, words):
    with pytest.raises(ValueError) as caught:
        call()
    sentence = str(caught.value)
    assert words in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_a_scan_says_what_it_was_made_from():
    net = families.vanilla(5)
    images = data.load_images("synthetic:9x6x2", 3, seed=4)
    seen = []
    found = scan(net, images, every=2, progress=seen.append)
    assert found.depth.tolist() == [2, 4, 5]
    assert found.data == {
        "source": "synthetic:9x6x2", "images": 3, "height": 5, "width": 3, "points": 45, "seed": 4,
    }  # fmt: skip
    assert found.architecture == net.architecture()
    assert [(station.depth, station.loc) for station in seen if station.loc] == [
        (depth, loc) for depth in (2, 4, 5) for loc in ("input", "conv", "act")
    ]
    assert [station.path for station in seen if not station.loc] == ["", "stem.0"]


def test_images_may_be_taken_as_they_are():
    net = families.vanilla(1)
    scaled = scan(net, 3.0 * IMAGES, normalise=False)["log_nu2_signal", "input"]
    as_they_are = scan(net, IMAGES, normalise=False)["log_nu2_signal", "input"]
    np.testing.assert_allclose(scaled - as_they_are, np.log(9.0))
    by_hand = scan(net, data.normalise(IMAGES), normalise=False)["log_nu2_signal", "input"]
    np.testing.assert_allclose(scan(net, 3.0 * IMAGES)["log_nu2_signal", "input"], by_hand)


@pytest.mark.parametrize("engine", ["infinite", "finite", "sampled"])
@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1e-160, 1e160, 1e300])
def test_the_scale_of_images_does_not_matter_once_they_are_normalised(scale, engine):
    images = np.random.default_rng(2).random((6, 4, 4, 3)) / 2
    net, engine = fm.vanilla(3), {"sampled": fm.Sampled(16, 2)}.get(engine, engine)
    expected = scan(net, images, engine)["chi"]
    np.testing.assert_allclose(scan(net, images * scale, engine)["chi"], expected, rtol=1e-3)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
@pytest.mark.parametrize(
    ("engine", "family", "kernel_size"),
    [
        (engine, family, size)
        for engine in ("infinite", "finite", "sampled")
        for family in fm.FAMILIES
        for size in (1, 3)
        if (engine, family, size) != ("finite", "residual", 3)  # which is not covered
    ],
)
def test_images_as_they_are_may_be_large_and_small(family, kernel_size, scale, engine):
    images = np.random.default_rng(2).standard_normal((6, 4, 4, 3))
    images /= np.abs(images).max()
    net = fm.FAMILIES[family](3, kernel_size, epsilon=1e-3 * scale**2)
    engine = {"sampled": fm.Sampled(16, 2)}.get(engine, engine)
    found = scan(net, images * scale, engine, normalise=False)["chi"]
    assert np.isfinite(found).all()
    if family in ("vanilla", "residual"):
        expected = scan(fm.FAMILIES[family](3, kernel_size), images, engine, normalise=False)["chi"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)  # simulated nets are of single precision


def test_threads_are_put_back_also_behind_an_error():
    before = workers()
    with pytest.raises(KeyError), limited_threads(1):
        assert workers() == 1
        raise KeyError
    assert workers() == before


def test_batches_are_drawn_by_the_seed():
    images = data.load_images("synthetic:4x4x3", 12)
    engines = [fm.FiniteWidth(width=64, batch=6, batches=2, seed=seed) for seed in (1, 1, 2)]
    one, same, other = (scan(families.vanilla(2, 1), images, engine) for engine in engines)
    assert (one.data["batch"], one.data["batches"], one.data["points"]) == (6, 2, 6)
    np.testing.assert_array_equal(one["mu2_signal"], same["mu2_signal"])
    assert np.all(one["mu2_signal"] != other["mu2_signal"])
