"""Bytes that a walk stores, counted while it walks."""

import weakref

import pytest

import fastmoments as fm
from fastmoments.covariances.storage import DTYPES, Covariance
from fastmoments.engines.infinite_width.costs import MOVING, account, memory, seconds
from fastmoments.engines.infinite_width.rates import SECONDS_PER_PRODUCT
from fastmoments.engines.protocol import Plan
from fastmoments.nets import zoo
from fastmoments.nets.linear import Conv
from fastmoments.nets.network import Residual

NETS = {
    "plain": fm.vanilla(2),
    "normalised": fm.bn_ff(2),
    "shortcut": fm.residual(3),
    "nested shortcut": fm.Network([Residual([Residual([fm.ReLU(), Conv(3)]), Conv(3)])], stem=[Conv(3)]),
    "strided": fm.Network([Conv(3, stride=2), fm.ReLU()], stem=[Conv(3)]),
    "strided shortcut": fm.Network(
        [Residual([Conv(3, stride=2), fm.ReLU(), Conv(3)], [Conv(1, stride=2)])], stem=[Conv(3)]
    ),
    "padded": fm.Network([Conv(2, pad=1), fm.ReLU(), Conv(3, pad=0), fm.ReLU()], stem=[Conv(3, pad=1)]),
    "fully connected": fm.vanilla(2, 1),
    "fully connected shortcut": fm.bn_res(2, 1),
}
CASES = [(name, dtype) for name, net in NETS.items() for dtype in DTYPES[: 1 + net.normalised]]


class Kept:
    """Bytes of the arrays that covariances hold as blocks, those that nobody holds any more left out."""

    def __init__(self):
        self.arrays, self.peak = weakref.WeakValueDictionary(), 0

    def take(self, array):
        while array.base is not None:  # a view holds all of the memory it is of
            array = array.base
        self.arrays[id(array)] = array
        self.peak = max(self.peak, sum(each.nbytes for each in self.arrays.values()))


@pytest.fixture
def kept(monkeypatch):
    """What covariances of the signal store while a scan runs."""
    kept = Kept()

    def store(self, name, value):
        if name == "blocks":
            kept.take(value)
        object.__setattr__(self, name, value)

    monkeypatch.setattr(Covariance, "__setattr__", store, raising=False)
    return kept


def batch_shape(net, shape):
    """As the engine takes it."""
    return (shape[0], 1, 1, shape[1] * shape[2] * shape[3]) if net.fully_connected else shape


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_stored_bytes_are_those_of_the_covariances(name, dtype, kept):
    net, shape = NETS[name], (40 if NETS[name].fully_connected else 6, 8, 8, 1)
    fm.scan(net, fm.load_images("synthetic:8x8x1", shape[0]), fm.InfiniteWidth(dtype=dtype))
    assert account(net, batch_shape(net, shape), dtype).peak == kept.peak


def test_what_comes_down_to_one_position_is_counted_as_the_tile_it_becomes(kept):
    net = fm.Network([Conv(3), fm.ReLU(), Conv(2, stride=8), fm.ReLU(), Conv(1)])
    fm.scan(net, fm.load_images("synthetic:8x8x1", 6))
    assert account(net, (6, 8, 8, 1), "float64").peak == kept.peak + (6 * 6 - 21) * 8


def test_stored_bytes_by_hand():
    """Blocks of pairs of images, by pairs of positions, eight bytes each; twice with a shortcut."""
    found = account(fm.residual(3), (6, 12, 12, 1), "float64")
    assert found.peak == 2 * found.stored == 2 * 21 * 36**2 * 8
    found = account(fm.vanilla(3, 1), (40, 1, 1, 16), "float64")
    assert found.peak == found.stored == 40 * 40 * 8


def test_noise_that_moves_statistics_stands_at_all_points_together():
    def net(noise):
        norm = fm.BatchNorm(noise=noise)
        return fm.Network([norm, fm.ReLU(), Conv(3, stride=2), norm, fm.ReLU()], stem=[Conv(3)])

    shape, plan = (6, 12, 12, 1), Plan(frozenset({1}))
    frozen, through = (account(net(noise), shape, "float64") for noise in ("frozen", "through"))
    assert (frozen.joint, through.joint) == (0, 6 * 144)
    assert through.products == (6 * 144) ** 3 + (6 * 36) ** 3
    more = [memory(net(noise), shape, "float64") for noise in ("through", "frozen")]
    assert more[0] - more[1] == 8 * MOVING * through.joint**2
    assert seconds(net("through"), shape, plan, "float64", 1) > SECONDS_PER_PRODUCT * through.products


def test_every_layer_of_a_dense_block_leaves_a_part():
    """Of signal and noise, beside the sums of two kinds; a Conv behind the block frees them."""
    dense = fm.Concat([(), (fm.BatchNorm(), fm.ReLU(), fm.Conv())])
    shape, sizes = (4, 8, 8, 3), []
    for count in (1, 2, 5):
        found = account(fm.Network([dense] * count, stem=[fm.Conv()]), shape, "float64")
        sizes.append(found.peak)
        freed = account(fm.Network([dense] * count + [fm.Conv()], stem=[fm.Conv()]), shape, "float64")
        assert found.held == found.parts > 0 and freed.held == freed.parts == 0
    part = 8 * (10 * 64**2 + 4 * 64**2)
    assert sizes[1] - sizes[0] == part and sizes[2] - sizes[1] == 3 * part


def test_drawn_channels_are_accounted_for_and_the_covariance_that_is_never_formed_is_not():
    """The stem of ImageNet: 25,088 points behind its Conv, whose covariance would take 2.5 GB."""
    stem = (fm.Conv(7, stride=2, padding="zeros", pad=3), fm.BatchNorm(), fm.ReLU(), fm.MaxPool(3, 2, 1))
    net = fm.Network((fm.Conv(),), stem=stem)
    few, many = (memory(net, (2, 224, 224, 3), "float64", draws) for draws in (4_096, 16_384))
    assert 1.0e9 < few < many < 2.5e9  # 1.28 GB measured with 4,096
    assert account(net, (2, 224, 224, 3), "float64", 64).stored == 8 * 3 * 3136**2


def test_a_merge_of_drawn_channels_holds_shortcut_branch_and_sum():
    """resnet18 took 0.98 GB with float32 on two images of 112 x 112, most of it in its drawn first stage."""
    found = account(zoo.NETS["resnet18"](), (2, 224, 224, 3), "float32", 16_384)
    assert found.population == 3 * 2 * 16_384 * 6_272 and found.factored == 6_272
    assert 0.98e9 < memory(zoo.NETS["resnet18"](), (2, 112, 112, 3), "float32", 16_384) < 1.3e9
    # A projection's Conv takes the second moments of a copy, and nothing is drawn behind it.
    found = account(zoo.NETS["resnet50"](), (2, 224, 224, 3), "float32", 16_384)
    assert found.population == 2 * 2 * 16_384 * 6_272 and found.factored == 0
