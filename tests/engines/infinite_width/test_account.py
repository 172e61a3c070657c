"""The walk without arrays goes where the walk with them goes."""

import pytest

import fastmoments as fm
from fastmoments.engines.infinite_width import drawn, layers
from fastmoments.engines.infinite_width.account import Account
from fastmoments.engines.infinite_width.costs import account
from fastmoments.engines.infinite_width.population import Population, of_gaussian
from fastmoments.engines.protocol import Plan
from fastmoments.nets import zoo

DEPTHWISE = fm.Conv(3, groups="depthwise", padding="zeros")
INCEPTION = fm.Concat([[fm.Conv(1, channels=4), fm.ReLU()], [fm.MaxPool(3, 1, 1), fm.Conv(1, channels=4)]])
#: Nets and the shape of their images, by where channels are drawn.
NETS = {
    "nowhere": (fm.bn_res(2), (2, 4, 4, 3)),
    "first weights": (zoo.NETS["resnet18"](classes=10), (2, 32, 32, 3)),
    "residual branch": (
        fm.Network(
            [fm.Residual([fm.Conv(1), fm.ReLU(), DEPTHWISE, fm.ReLU(), fm.Conv(1)])] * 2,
            stem=[fm.Conv(3, stride=2)],
        ),
        (2, 8, 8, 3),
    ),
    "branch of a Concat": (
        fm.Network([INCEPTION, fm.Conv(1, channels=4)] * 2, stem=[fm.Conv(3, channels=4)]),
        (2, 6, 6, 3),
    ),
    "behind a Concat": (
        fm.Network([INCEPTION, fm.MaxPool(2), fm.Conv(1, channels=4)], stem=[fm.Conv(3, channels=4)]),
        (2, 6, 6, 3),
    ),
    "dense": (zoo.NETS["densenet121"](classes=10), (2, 32, 32, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_channels_are_drawn_where_the_walk_draws_them(name, monkeypatch):
    """Points of every covariance they are drawn from, and of everything that second moments are taken of."""
    net, shape = NETS[name]
    found = {"drawn": [0], "settled": []}

    def noted(signal, *others):
        found["drawn"].append(signal.points)
        return of_gaussian(signal, *others)

    monkeypatch.setattr(drawn, "of_gaussian", noted)
    monkeypatch.setattr(layers, "of_gaussian", noted)
    covariances = Population.covariances
    monkeypatch.setattr(
        Population, "covariances", lambda own: (found["settled"].append(own.points), covariances(own))[1]
    )
    batch = fm.load_images(f"synthetic:{shape[1]}x{shape[2]}x{shape[3]}", shape[0])
    fm.scan(net, batch, fm.InfiniteWidth(draws=64))
    accounted, second_moments = [], Account.second_moments
    monkeypatch.setattr(
        Account,
        "second_moments",
        lambda own, at: (accounted.append(own.points(at)), second_moments(own, at))[1],
    )
    depths = frozenset(range(net.depth + 1))
    taken = account(net, shape, "float64", 64, Plan(depths, frozenset({"act"})))
    assert taken.factored == max(found["drawn"])
    assert sorted(accounted) == sorted(found["settled"])
