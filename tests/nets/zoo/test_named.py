"""The published nets by their names."""

import pytest

import fastmoments as fm
from fastmoments.nets import zoo


@pytest.mark.parametrize("name", zoo.NETS)
def test_every_net_is_named_and_can_be_counted(name):
    net = zoo.NETS[name](classes=7)
    assert net.name == name and getattr(zoo, name.replace("-", "_"))().name == name
    assert fm.estimate(net, fm.load_images("synthetic:32x32x3", 2)).bytes > 0
    last = net.layers[-1]
    assert isinstance(last, fm.Dense) and last.channels == 7


def test_the_zoo_is_a_public_name():
    assert fm.zoo is zoo and fm.zoo.resnet18().name == "resnet18"


def test_a_net_that_is_not_there():
    with pytest.raises(AttributeError, match="resnet19"):
        zoo.resnet19  # noqa: B018


@pytest.mark.parametrize(
    "name",
    ["mlp", "resnet18", "resnet20", "resnet20-v2", "vgg11-bn", "fixup-resnet20",
     "skipinit-resnet20"],
)  # fmt: skip
def test_the_published_channels_agree_with_infinitely_many(name):
    """Random nets of the published channel numbers: log chi before the classifier, within 5% and chance."""
    images, nets = fm.load_images("synthetic:32x32x3", 4), 6
    net = zoo.NETS[name]()
    ours = fm.scan(net, images).stations[-2].mean["log_chi"]
    theirs = fm.scan(net, images, fm.Sampled(64, nets)).stations[-2]
    chance = 3.0 * theirs.sigma["log_chi"] / nets**0.5
    assert abs(ours - theirs.mean["log_chi"]) < 0.05 * abs(ours) + chance
