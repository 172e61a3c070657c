"""The engine of one given net: its options, its scans, and what it refuses."""

import numpy as np
import pytest
from given import covariance, stationary

import fastmoments as fm
from fastmoments.engines.given.engine import FEWEST
from fastmoments.nets.layers import Layer

IMAGES = fm.load_images("synthetic:4x4x2", 40, seed=0)
NET = fm.sample_weights(
    fm.Network(
        tuple(fm.Residual((fm.BatchNorm(), fm.ReLU(), fm.Conv(3))) for _ in range(4)), (fm.Conv(3),), "small"
    ),
    (4, 4, 2), width=8,
)  # fmt: skip


@pytest.mark.parametrize("storage", ["dense", "stationary"])
def test_a_scan_has_all_that_others_have(storage, tmp_path):
    scan = fm.scan(NET, IMAGES, fm.GivenNetwork(storage=storage))
    assert scan.method == "given" and scan.width is None and scan.nets is None
    assert scan.station("").mean["chi"] == pytest.approx(1.0)
    assert np.isfinite(scan["chi"]).all() and (scan["reff_signal"] > 1.0).all()
    assert (scan["mu4_signal", "norm"] > 0.0).all() and ("mu4_signal", "act") not in scan.moments
    assert "jacobian" not in scan.moments
    rows = {row["path"]: row for row in scan.report().rows}
    assert rows["layers.0.branch.1"]["law"] == "activated" and rows["layers.0.branch.2"]["law"] == "gaussian"
    fm.save_scan(scan, tmp_path / "scan.json")
    again = fm.load_scan(tmp_path / "scan.json")
    np.testing.assert_array_equal(again["chi"], scan["chi"])
    assert again.to_dict() == scan.to_dict()


def test_both_storages_agree_on_a_stationary_law():
    by_displacement, full = stationary(np.random.default_rng(1), 4, 4, 2)
    mean = np.array([0.3, -1.0])
    laws = (
        (mean, by_displacement),
        (np.broadcast_to(mean, (4, 4, 2)), full),
    )
    found = [fm.scan(NET, fm.gaussian_images(*law), fm.GivenNetwork()) for law in laws]
    found.append(fm.scan(NET, fm.gaussian_images(*laws[1]), fm.GivenNetwork(storage="stationary")))
    for name in ("chi", "mu2_signal", "reff_signal", "reff_noise", "nu1_abs_signal", "mu4_signal"):
        for other in found[1:]:
            np.testing.assert_allclose(found[0][name], other[name], rtol=1e-11)
    assert found[0].data["points"] == 33 and found[0].data["source"] == "gaussian"


def test_it_says_what_propagate_says():
    rng = np.random.default_rng(2)
    net = fm.sample_weights(fm.Network((fm.Dense(6), fm.ReLU(), fm.Dense(3))), (1, 1, 5))
    mean, before = rng.standard_normal(5), covariance(rng, 5)
    behind = fm.propagate(net, mean, before)
    scan = fm.scan(net, fm.gaussian_images(mean, before), fm.GivenNetwork())
    last = scan.stations[-1].mean
    variances = np.diagonal(behind.covariance)
    # Of three channels at one position: over inputs, then over channels.
    assert last["mu2_signal"] == pytest.approx(variances.mean(), rel=1e-12)
    assert last["nu2_signal"] == pytest.approx((variances + behind.mean**2).mean(), rel=1e-12)
    assert last["mu2_noise"] == pytest.approx(np.trace(behind.noise) / 3, rel=1e-12)
    chi = np.sqrt(np.trace(behind.noise) / variances.sum() * np.trace(before) / 5)
    assert last["chi"] == pytest.approx(chi, rel=1e-12)


def test_a_fully_connected_net_flattens_a_law():
    rng = np.random.default_rng(3)
    net = fm.sample_weights(fm.Network((fm.Dense(6), fm.ReLU())), (2, 2, 3))
    mean, before = rng.standard_normal((2, 2, 3)), covariance(rng, 2, 2, 3)
    behind = fm.propagate(net, mean, before)
    scan = fm.scan(net, fm.gaussian_images(mean, before), fm.GivenNetwork())
    assert scan.stations[-1].mean["mu2_signal"] == pytest.approx(np.trace(behind.covariance) / 6, rel=1e-12)


def test_wide_nets_come_near_the_ensemble():
    """Its mean over the draw of weights: chi of plain nets of width 512 within some percent."""
    net = fm.Network((fm.Conv(1), fm.ReLU()) * 4)
    given = fm.sample_weights(net, (4, 4, 2), width=512, seed=3)
    found = fm.scan(given, IMAGES, fm.GivenNetwork(), normalise=True)["chi"]
    wanted = fm.scan(net, IMAGES)["chi"]
    np.testing.assert_allclose(found, wanted, rtol=0.15)


@pytest.mark.parametrize("kind", Layer.TYPES)
@pytest.mark.parametrize("storage", ["dense", "stationary"])
def test_every_layer_is_computed_or_refused_in_a_sentence(kind, storage):
    try:
        layers = (fm.Conv(3), an_example(kind), fm.Conv(3), fm.ReLU())
        net = fm.sample_weights(fm.Network(layers), (4, 4, 2), width=4)
        scan = fm.scan(net, IMAGES, fm.GivenNetwork(storage=storage))
    except ValueError as problem:
        assert str(problem).endswith(".") and "\n" not in str(problem)
        return
    assert np.isfinite(scan["log_chi"]).all()


def test_a_journal_is_of_these_weights(tmp_path):
    path = tmp_path / "scan.partial"
    first = fm.scan(NET, IMAGES, fm.GivenNetwork(check=1000), journal=path)
    scan = fm.scan(NET, IMAGES, fm.GivenNetwork(check=1000), journal=path, resume=True)
    np.testing.assert_array_equal(scan["chi"], first["chi"])
    assert scan.provenance["check"] == first.provenance["check"]
    other = fm.sample_weights(NET, (4, 4, 2), width=8, seed=5)
    with pytest.raises(ValueError, match="another scan"):
        fm.scan(other, IMAGES, fm.GivenNetwork(check=1000), journal=path, resume=True)


#: What a layer cannot do without.
NEEDED = {
    "Residual": {"branch": (fm.Conv(),)},
    "MaxPool": {"size": 2},
    "Concat": {"branches": ((), (fm.Conv(),))},
}


def an_example(kind):
    return Layer.TYPES[kind](**NEEDED.get(kind, {}))


LAW = fm.gaussian_images(np.zeros(2), np.eye(2))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fm.GivenNetwork(storage="sparse"), "storage must be one of dense, stationary"),
        (lambda: fm.GivenNetwork(check=FEWEST - 1), "at least 1000 samples"),
        (lambda: fm.GivenNetwork(seed=-1), "seed must be"),
        (lambda: fm.scan(fm.bn_ff(3), IMAGES, fm.GivenNetwork()), "has no weights"),
        (lambda: fm.scan(NET, LAW), "Gaussian images have no values"),
        (lambda: fm.kernel(NET, LAW), "Gaussian images have no values"),
        (lambda: fm.scan(NET, fm.load_images("synthetic:4x4x3", 4), fm.GivenNetwork()), r"weight of stem\.0"),
        (
            lambda: fm.scan(
                fm.sample_weights(fm.Network((fm.Dense(3),)), (2, 2, 1)),
                fm.gaussian_images(np.zeros(1), np.zeros((2, 2, 1, 1))), fm.GivenNetwork(),
            ),
            "must not be by displacement",
        ),
        (lambda: fm.scan(NET, fm.gaussian_images(np.zeros((4, 4, 2)), np.zeros((4, 4, 2) * 2)),
                         fm.GivenNetwork()), "do not vary"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_sentence(call, said):
    with pytest.raises(ValueError, match=said) as caught:
        call()
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_what_it_takes_is_known():
    found = fm.estimate(NET, IMAGES, fm.GivenNetwork())
    more = fm.estimate(NET, IMAGES, fm.GivenNetwork(check=100_000))
    assert more.bytes > found.bytes > 2e8 and found.seconds is None
    assert fm.estimate(NET, fm.gaussian_images(np.zeros((4, 4, 2)), np.zeros((4, 4, 2) * 2)),
                       fm.GivenNetwork()).bytes == found.bytes  # fmt: skip
