"""Every layer in every engine: computed, or refused in one sentence; and what a layer is made of."""

from dataclasses import dataclass, is_dataclass, replace

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.engines import protocol
from fastmoments.engines.infinite_width.layers import carry
from fastmoments.engines.infinite_width.rates import copies
from fastmoments.engines.sampled.layers import forward
from fastmoments.images.batches import Batch
from fastmoments.maps.laws import law_after
from fastmoments.nets.layers import Layer, describe
from fastmoments.nets.network import LOCS, Network
from fastmoments.nets.toml import network_from_dict
from fastmoments.scans.engines import METHODS, engine_class, options_of

IMAGES = fm.load_images("synthetic:8x8x3", 6, seed=0)
ENGINES = [fm.InfiniteWidth(), fm.FiniteWidth(64), fm.Sampled(16, 2)]

#: What a layer cannot do without.
NEEDED = {
    "Residual": {"branch": (fm.Conv(),)},
    "Concat": {"branches": ((), (fm.Conv(),))},
    "Network": {"layers": (fm.Conv(),)},
    "MaxPool": {"size": 3, "stride": 1, "pad": 1},
}

#: Positions behind a layer of 7 x 5 before it, where they are not as many.
GRIDS = {"AvgPool": (3, 2), "GlobalAvgPool": (1, 1), "Flatten": (1, 1)}


def an_example(kind):
    return Layer.TYPES[kind](**NEEDED.get(kind, {}))


def sentence(problem):
    said = str(problem)
    return said.endswith(".") and "\n" not in said and 20 < len(said) < 500


@pytest.mark.parametrize("engine", ENGINES, ids=METHODS)
@pytest.mark.parametrize("kind", Layer.TYPES)
@pytest.mark.parametrize("before", [(), (fm.Conv(),), (fm.Conv(), fm.BatchNorm()), (fm.Conv(), fm.ReLU())])
def test_computed_or_refused(kind, engine, before):
    try:
        network = Network((*before, an_example(kind), fm.Conv(), fm.ReLU()))
        scan = fm.scan(network, IMAGES, engine)
    except ValueError as problem:
        assert sentence(problem)
        return
    assert np.isfinite(scan["log_chi"]).all()
    assert all(np.isfinite(station.snr_db) for station in scan.stations)


def with_noise(network, noise):
    """The same net, its batch norms of this noise."""

    def changed(layer):
        if layer.stacks:
            inside = {stack: tuple(map(changed, getattr(layer, stack))) for stack in layer.stacks}
            return replace(layer, **inside)
        return replace(layer, noise=noise) if isinstance(layer, fm.BatchNorm) else layer

    return Network(tuple(map(changed, network.layers)), network.stem)


@pytest.mark.parametrize("family", [fm.bn_ff, fm.bn_res])
@pytest.mark.parametrize("size", [1, 3])
def test_noise_through_the_statistics_is_computed_or_refused_and_never_taken_for_frozen(family, size):
    """Chi is smaller, since what moves mean and variance of the batch is projected off."""
    net = with_noise(family(3, size), "through")
    found = []
    for engine in (fm.InfiniteWidth(), fm.Sampled(256, 20)):
        chi, frozen = (
            fm.scan(with_noise(net, noise), IMAGES, engine)["chi"][-1] for noise in ("through", "frozen")
        )
        assert chi < 0.99 * frozen
        found.append(chi / frozen)
    assert found[0] == pytest.approx(found[1], abs=0.02)
    with pytest.raises(ValueError, match="finite") as problem:
        fm.scan(net, IMAGES, fm.FiniteWidth(64))
    assert sentence(problem.value)
    with pytest.raises(ValueError, match="finite"):
        fm.verify(net, IMAGES, method="finite")


PADDED = {
    "stem": Network(
        (fm.Conv(), fm.BatchNorm(), fm.ReLU()) * 2, stem=(fm.Conv(stride=2, padding="zeros", pad=1),)
    ),
    "strides": Network((fm.Conv(stride=2, padding="zeros", pad=1), fm.BatchNorm(), fm.ReLU()) * 2),
    "valid": Network((fm.Conv(pad=0), fm.ReLU()) * 2, stem=(fm.Conv(),)),
    "larger": Network((fm.Conv(2, pad=2), fm.BatchNorm(), fm.ReLU()) * 2),
    "one position and back": Network(
        (fm.Conv(8, pad=0), fm.ReLU(), fm.Conv(3, padding="symmetric", pad=2), fm.BatchNorm(), fm.ReLU())
    ),
    "kept": Network((fm.Conv(padding="zeros", pad=1), fm.BatchNorm(), fm.ReLU()) * 2),
    "too large": Network((fm.Conv(5, pad=0), fm.ReLU()) * 2),
    "shapes differ": Network((fm.Residual((fm.Conv(pad=0), fm.ReLU(), fm.Conv(pad=1))),), stem=(fm.Conv(),)),
    "shapes agree": Network(
        (fm.Residual((fm.ReLU(), fm.Conv(stride=2, pad=1)), (fm.Conv(1, stride=2, pad=0),)),),
        stem=(fm.Conv(),),
    ),
    "branch without end": Network(
        (fm.Residual((fm.Conv(8, pad=0),), (fm.Conv(9, pad=0),)),), stem=(fm.Conv(),)
    ),
}
#: What no engine covers, and what finite width alone does not.
IMPOSSIBLE = {"too large": "spans 5", "shapes differ": "shortcut", "branch without end": "spans 9"}
COVERED = {"stem", "kept"}


@pytest.mark.parametrize("engine", ENGINES, ids=METHODS)
@pytest.mark.parametrize("name", PADDED)
def test_a_pad_in_every_engine(name, engine):
    if name in IMPOSSIBLE or (engine.method == "finite" and name not in COVERED):
        said = "finite" if engine.method == "finite" else IMPOSSIBLE[name]
        with pytest.raises(ValueError, match=said) as caught:
            fm.scan(PADDED[name], IMAGES, engine)
        assert sentence(caught.value)
        return
    scan = fm.scan(PADDED[name], IMAGES, engine)
    assert np.isfinite(scan["log_chi"]).all()
    grid = PADDED[name].output_grid((8, 8))
    assert scan.stations[-1].grid == grid or engine.method == "sampled"
    fm.estimate(PADDED[name], IMAGES, engine)


@pytest.mark.parametrize("kind", Layer.TYPES)
def test_what_a_layer_is_made_of(kind):
    layer = an_example(kind)
    assert is_dataclass(layer) and hash(layer) == hash(an_example(kind))
    assert layer.loc in ("", *LOCS)
    assert layer.output_grid((7, 5)) == GRIDS.get(kind, (7, 5))
    assert network_from_dict({"layers": [describe(layer)]}).layers == (layer,)
    for rule in (law_after, carry, forward):
        assert rule.dispatch(type(layer)) is not rule.dispatch(object) or kind == "Network"


@dataclass(frozen=True)
class Unknown(Layer, abstract=True):
    loc = "act"


@pytest.mark.parametrize("engine", [fm.InfiniteWidth(), fm.Sampled(16, 2)], ids=["infinite", "sampled"])
def test_an_unknown_layer_is_a_type_error(engine):
    with pytest.raises(TypeError, match="Unknown"):
        fm.scan(Network((fm.Conv(), Unknown())), IMAGES, engine)


def test_an_unknown_layer_costs_a_copy():
    assert copies(Unknown()) == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_what_an_engine_is_made_of(method):
    engine = engine_class(method)()
    assert engine.method == method and hash(engine) == hash(engine_class(method)())
    assert isinstance(options_of(method), dict)
    net = fm.bn_res(2, 1)
    plan = protocol.Plan(frozenset({2}))
    assert engine.memory(net, (8, 1, 1, 12), plan) > 1e8
    for smaller in engine.smaller(net):
        assert smaller.memory(net, (1024, 1, 1, 12), plan) < engine.memory(net, (1024, 1, 1, 12), plan)
    run = engine.prepare(net, Batch(IMAGES.array, True, True), plan)
    assert [station.depth for station in run if isinstance(station, protocol.Station)]


@pytest.mark.parametrize("kind", Layer.TYPES)
@pytest.mark.parametrize(
    "before", [(), (fm.Conv(),), (fm.Conv(), fm.ReLU()), (fm.Conv(), fm.Residual([fm.Conv()]))]
)
def test_a_tangent_kernel_is_computed_or_refused(kind, before):
    images = IMAGES.array[:2, :5, :5]
    network = Network((*before, an_example(kind), fm.Conv()))
    try:
        kernel, log_scale = fm.kernel(network, images, kind="ntk", log_scale=True)
    except ValueError as problem:
        assert sentence(problem)
        return
    matrix = kernel.reshape(len(kernel) * kernel.shape[1] * kernel.shape[2], -1)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.isfinite(log_scale) and np.linalg.eigvalsh(matrix).min() > -1e-9
