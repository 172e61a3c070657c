import pytest

import fastmoments as fm
from fastmoments.nets import zoo
from fastmoments.nets.network import unrolled

#: Trained numbers of the published nets, as PyTorch's model zoo counts them.
PARAMETERS = {
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "resnet152": 60_192_808, "vgg11": 132_863_336, "vgg13": 133_047_848, "vgg16": 138_357_544,
    "vgg19": 143_667_240, "vgg11-bn": 132_868_840, "vgg13-bn": 133_053_736, "vgg16-bn": 138_365_992,
    "vgg19-bn": 143_678_248,
}  # fmt: skip


def count(layers, channels, grid):
    """Numbers that are trained in a stack, and the channels and positions behind it.

    A Conv has biases where no batch norm follows it and no unit is made of it (those of vgg).
    """
    total = 0
    found = [layer for _, layer in unrolled(layers, "", "")]
    normed = any(isinstance(layer, fm.BatchNorm | fm.Residual) for layer in found)
    for layer in found:
        after = layer.output_channels(channels, grid, 0)
        if isinstance(layer, fm.Residual):
            parts = [count(stack, channels, grid) for stack in (layer.branch, layer.shortcut)]
            total += sum(part[0] for part in parts)
            after = parts[0][1]
        elif isinstance(layer, fm.Conv):
            total += layer.kernel_size**2 * channels * after + (0 if normed else after)
        elif isinstance(layer, fm.Dense):
            total += channels * after + after
        elif isinstance(layer, fm.BatchNorm):
            total += 2 * channels
        channels, grid = after, layer.output_grid(grid)
    return total, channels, grid


@pytest.mark.parametrize("name", PARAMETERS)
def test_as_many_numbers_as_published(name):
    net = zoo.NETS[name]()
    total, channels, grid = count((*net.stem, *net.layers), 3, (224, 224))
    if name.endswith("bn"):  # whose convolutions have biases as well
        total += sum(layer.channels for layer in net.layers if isinstance(layer, fm.Conv))
    assert (total, channels, grid) == (PARAMETERS[name], 1000, (1, 1))


def test_a_wide_net_is_as_large_as_published():
    net = zoo.NETS["wide-resnet-28-10"]()
    assert count((*net.stem, *net.layers), 3, (32, 32))[0] == pytest.approx(36.5e6, rel=1e-3)


@pytest.mark.parametrize("name", zoo.NETS)
def test_every_net_is_named_and_can_be_counted(name):
    net = zoo.NETS[name](classes=7)
    assert net.name == name and getattr(zoo, name.replace("-", "_"))().name == name
    assert fm.estimate(net, fm.load_images("synthetic:32x32x3", 2)).bytes > 0
    last = net.layers[-1]
    assert isinstance(last, fm.Dense) and last.channels == 7


def test_a_net_that_is_not_there():
    with pytest.raises(AttributeError, match="resnet19"):
        zoo.resnet19  # noqa: B018


@pytest.mark.parametrize("name", ["mlp", "resnet18", "resnet20", "resnet20-v2", "vgg11-bn"])
def test_the_published_channels_agree_with_infinitely_many(name):
    """Random nets of the published channel numbers: log chi before the classifier, within 5% and chance."""
    images, nets = fm.load_images("synthetic:32x32x3", 4), 6
    net = zoo.NETS[name]()
    ours = fm.scan(net, images).stations[-2].mean["log_chi"]
    theirs = fm.scan(net, images, fm.Sampled(64, nets)).stations[-2]
    chance = 3.0 * theirs.sigma["log_chi"] / nets**0.5
    assert abs(ours - theirs.mean["log_chi"]) < 0.05 * ours + chance
