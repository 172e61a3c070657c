"""Measured moments against other ways to the same numbers."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch_modules import MODULES, Translated, conv, draw, mlp

import fastmoments as fm
from fastmoments.engines.measured.redrawing import RESET
from fastmoments.nets import zoo
from fastmoments.nets.network import LOCS

IMAGES = fm.load_images("synthetic:8x8x3", 8, seed=0)
ALL = (
    "nu1_abs_signal",
    "nu2_signal",
    "mu2_signal",
    "mu4_signal",
    "mu2_noise",
    "chi",
    "reff_signal",
    "reff_noise",
)


def smooth():
    """A net whose batch norm, if any, has statistics of its own."""
    torch.manual_seed(0)
    return nn.Sequential(
        conv(3, 6), nn.Tanh(), nn.Conv2d(6, 4, 3, 2), nn.GELU(), nn.Flatten(), nn.Linear(36, 5)
    )


@pytest.mark.parametrize("make", [smooth, mlp, MODULES["vit, unfused"], MODULES["convnext"]])
def test_noise_is_multiplied_by_the_jacobian(make):
    """mu2 of the noise behind each module against the Jacobian by reverse-mode differentiation."""
    torch.manual_seed(1)
    images = IMAGES if make is smooth else fm.load_images("synthetic:32x32x3", 2, seed=0)
    module = make().eval()
    scan = fm.scan(module, images, fm.Measured(seed=3))
    from fastmoments.images.sources import normalise

    rng = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(0,)))
    values = normalise(images)
    noise = rng.standard_normal(values.shape, dtype=np.float32)
    x, dx = (torch.from_numpy(each.transpose(0, 3, 1, 2).astype(np.float32)) for each in (values, noise))
    paths = [path for path, each in module.named_modules() if path and not list(each.children())][-6:]
    for path in paths:
        kept = {}
        hook = module.get_submodule(path).register_forward_hook(
            lambda *each, kept=kept: kept.update(out=each[2])
        )
        x.requires_grad_(True)
        module(x)
        hook.remove()
        # J dx as the derivative of J' u along u.
        u = torch.zeros_like(kept["out"], requires_grad=True)
        (back,) = torch.autograd.grad(kept["out"], x, u, create_graph=True)
        (forth,) = torch.autograd.grad(back, u, dx)
        assert scan.station(path).mean["mu2_noise"] == pytest.approx(float((forth**2).mean()), rel=1e-4)


def plain(depth=4, width=16):
    conv = fm.Conv(3, padding="zeros", pad=1, channels=width)
    return fm.Network((conv, fm.ReLU()) * depth)


def compared(network, images, nets, locs=LOCS):
    """Differences of measured and simulated means in standard errors, over all stations."""
    sampled = fm.scan(network, images, fm.Sampled(16, nets, seed=1), reff_locs=locs)
    measured = fm.scan(Translated(network), images, fm.Measured(nets, draw, seed=2), reff_locs=locs)
    found = {station.path.removesuffix(".add()"): station for station in measured.stations}
    scores = {name: [] for name in ALL}
    for station in sampled.stations[1:]:
        other = found[station.path]
        assert (other.grid, other.channels) == (station.grid, station.channels)
        for name in set(ALL) & set(station.mean) & set(other.mean):
            error = np.hypot(station.sigma[name], other.sigma[name]) / np.sqrt(nets)
            scores[name].append(abs(station.mean[name] - other.mean[name]) / error)
    return scores


def test_a_plain_net_agrees_with_its_simulation():
    scores = compared(plain(), IMAGES, 20)
    assert all(len(each) >= 8 and max(each) < 4.0 for each in scores.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "resnet20-v2", "vgg11-bn"])
def test_published_nets_agree_with_their_simulations(name):
    """Stations of a net go together, so that all may be off by about two errors at once."""
    large = "vgg" in name
    images = fm.load_images("synthetic:32x32x3", 4, seed=0) if large else IMAGES
    scores = compared(zoo.NETS[name](), images, 20, () if large else LOCS)
    for each in scores.values():
        assert not each or (max(each) < 4.5 and np.sqrt(np.mean(np.square(each))) < 2.2)


def test_means_and_deviations_are_over_nets():
    network, engine = plain(2), fm.Measured(5, draw, seed=4)
    scan, again = (fm.scan(Translated(network), IMAGES, engine) for _ in range(2))
    assert scan.nets == 5 and scan.curve("chi").sigma[-1] > 0
    assert np.array_equal(scan["chi"], again["chi"])
    fewer = fm.scan(Translated(network), IMAGES, fm.Measured(3, draw, seed=4))
    first = fm.scan(Translated(network), IMAGES, fm.Measured(1, draw, seed=4))
    assert fewer["chi"][-1] != scan["chi"][-1] and first.nets == 1
    other = fm.scan(Translated(network), IMAGES, fm.Measured(5, draw, seed=5))
    assert other["chi"][-1] != scan["chi"][-1]


def test_a_module_redraws_itself():
    module = smooth()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    scan = fm.scan(module, IMAGES, fm.Measured(4, RESET))
    one = fm.scan(module, IMAGES)
    assert scan.curve("nu2_signal").sigma[-1] > 0 and one.nets == 1
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def growing(depth, gain, norm=False):
    torch.manual_seed(0)
    layers = []
    for _ in range(depth):
        layers += [conv(8, 8), *([nn.BatchNorm2d(8)] if norm else []), nn.ReLU()]
        nn.init.normal_(layers[0].weight if not norm else layers[-3].weight, std=gain)
    for each in layers:
        if isinstance(each, nn.Conv2d):
            nn.init.normal_(each.weight, std=gain)
    return nn.Sequential(conv(3, 8), *layers)


class Times(nn.Module):
    """The identity, with a derivative of its own."""

    def __init__(self, factor):
        super().__init__()

        class Function(torch.autograd.Function):
            @staticmethod
            def forward(x):
                return x.clone()

            @staticmethod
            def setup_context(ctx, inputs, output):
                pass

            @staticmethod
            def jvp(ctx, dx):
                return factor * dx

        self.function = Function

    def forward(self, x):
        return self.function.apply(x) + 0.0


@pytest.mark.parametrize("factor", [100.0, 0.01])
def test_noise_is_followed_out_of_single_precision(factor):
    """Every unit multiplies the noise and leaves the signal."""
    scan = fm.scan(nn.Sequential(*(Times(factor) for _ in range(60))), IMAGES)
    last = scan.stations[-1].mean
    assert last["log_mu2_noise"] == pytest.approx(120 * np.log(factor), abs=0.05)
    assert last["log_nu2_signal"] == pytest.approx(0.0, abs=1e-5)


class Way(nn.Module):
    """A unit on whose branch the noise grows or decays, and comes back as it was."""

    def __init__(self, factor, times):
        super().__init__()
        there, back = (nn.Sequential(*(Times(each) for _ in range(times))) for each in (factor, 1 / factor))
        self.there, self.back = there, back

    def forward(self, x):
        return x + self.back(self.there(x))


@pytest.mark.parametrize("factor", [1e10, 1e-10])
def test_noise_may_leave_the_range_where_it_cannot_be_rescaled(factor):
    module = nn.Sequential(*(Way(factor, 6) for _ in range(2)))
    mean = fm.scan(module, IMAGES).stations[-1].mean
    assert mean["log_mu2_noise"] == pytest.approx(4 * np.log(2.0), abs=0.05)
    with pytest.raises(
        ArithmeticError, match=r"^0.there.3: the noise leaves the range of float32, or a func"
    ):
        fm.scan(nn.Sequential(Way(factor, 9)), IMAGES)
    wide = nn.Sequential(Way(factor, 9), nn.Conv2d(3, 3, 1)).double()
    assert np.isfinite(fm.scan(wide, IMAGES)["log_chi"]).all()


def test_frozen_and_moved_statistics_are_those_of_the_simulation():
    found = {}
    for noise in ("frozen", "through"):
        layers = (fm.Conv(3, padding="zeros", pad=1, channels=16), fm.BatchNorm(1e-5, noise=noise), fm.ReLU())
        net = fm.Network(layers * 3)
        images = fm.load_images("synthetic:4x4x3", 4, seed=0)
        sampled = fm.scan(net, images, fm.Sampled(16, 30, seed=1))
        measured = fm.scan(Translated(net), images, fm.Measured(30, draw, batch_statistics=noise))
        error = np.hypot(sampled.standard_error("chi"), measured.standard_error("chi"))
        assert np.all(abs(sampled["chi"] - measured["chi"]) < 4 * error)
        found[noise] = measured["chi"][-1]
    assert found["through"] < 0.97 * found["frozen"]


def test_running_statistics_are_neither_used_nor_changed():
    module = growing(2, 0.2, norm=True)
    scan = fm.scan(module, IMAGES)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            assert int(each.num_batches_tracked) == 0
            each.running_mean.fill_(3.0)
            each.running_var.fill_(100.0)
    assert np.array_equal(fm.scan(module, IMAGES)["chi"], scan["chi"])


def test_stations_at_some_depths():
    module = growing(6, 0.2)
    whole, some = fm.scan(module, IMAGES), fm.scan(module, IMAGES, every=3)
    assert some.depth.tolist() == [3, 6, 7] and whole.depth.tolist() == list(range(1, 8))
    assert np.array_equal(some["chi"], whole["chi"][[2, 5, 6]])
    assert some.station("4").mean["chi"] == whole.station("4").mean["chi"]
    assert np.array_equal(some["chi", "input"], whole["chi", "input"][[2, 5, 6]])
    assert [row["path"] for row in some.report().rows if row["layer"] == "Conv2d"] == ["3", "9", "11"]


@pytest.mark.parametrize("ending", [".json", ".npz"])
def test_a_measured_scan_is_written_and_read(tmp_path, ending):
    scan = fm.scan(MODULES["fixup"](), fm.load_images("synthetic:32x32x3", 2), every=2)
    fm.save_scan(scan, tmp_path / f"a{ending}")
    read = fm.load_scan(tmp_path / f"a{ending}")
    assert read.method == "measured" and np.array_equal(read["chi"], scan["chi"])
    assert [each.path for each in read.stations] == [each.path for each in scan.stations]
    assert str(read.report()) == str(scan.report())
    fm.plot_scan(read)


def test_a_scan_is_resumed(tmp_path):
    module, journal = Translated(plain(2)), tmp_path / "a.partial"
    engine = fm.Measured(3, draw, seed=1)

    def stop(station):
        if station.net == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fm.scan(module, IMAGES, engine, journal=journal, progress=stop)
    assert fm.load_scan(journal)["chi"].size == 2
    resumed = fm.scan(module, IMAGES, engine, journal=journal, resume=True)
    assert np.array_equal(resumed["chi"], fm.scan(module, IMAGES, engine)["chi"])
    torch.nn.init.normal_(module.layers[0].weight)
    with pytest.raises(ValueError, match="belongs to another scan"):
        fm.scan(module, IMAGES, engine, journal=journal, resume=True)


def test_every_station_of_every_net_is_there_where_a_branch_is_shut():
    module = MODULES["fixup"]()
    scan = fm.scan(
        module,
        fm.load_images("synthetic:32x32x3", 2),
        fm.Measured(2, lambda each: each[0].reset_parameters()),
    )
    shut = scan.station("2.conv2").mean
    assert shut["nu2_signal"] == 0.0 and np.isnan(shut["chi"])
    assert scan.station("2.add()#5").mean["chi"] == pytest.approx(scan.station("1").mean["chi"])


def test_precision_is_that_of_the_module():
    module = smooth()
    single, double = fm.scan(module, IMAGES), fm.scan(module.double(), IMAGES)
    half = fm.scan(smooth().to(torch.bfloat16), IMAGES)
    assert double["chi"] == pytest.approx(single["chi"], rel=1e-5) and not np.array_equal(
        double["chi"], single["chi"]
    )
    assert half["chi"] == pytest.approx(single["chi"], rel=0.05)
    assert double.stations[-1].error < 1e-14 < single.stations[-1].error < 1e-5 < half.stations[-1].error


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_are_measured(kind):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = kind(3, 6, batch_first=True), nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.inner(x.flatten(2).transpose(1, 2))[0][:, -1])

    scan = fm.scan(Recurrent(), IMAGES)
    assert np.isfinite(scan["log_chi"]).all() and scan.station("inner").grid == (1, 64)
    assert scan.station("inner").channels == 6 and torch.backends.mkldnn.enabled


def test_one_warning_at_most():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fm.scan(MODULES["resnet18"](), fm.load_images("synthetic:32x32x3", 2))
