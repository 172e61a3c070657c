"""Nets from PyTorch modules, as users call it."""

import sys

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.nets import zoo
from fastmoments.nets.network import walk

#: Layers by the names of modules and functions.
KINDS = {
    "Conv2d": "Conv", "BatchNorm2d": "BatchNorm", "ReLU": "ReLU", "relu": "ReLU", "Linear": "Dense",
    "MaxPool2d": "MaxPool", "add": "Residual", "cat": "Concat", "AvgPool2d": "AvgPool",
}  # fmt: skip


def test_without_pytorch_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r'^from_torch needs PyTorch: pip install "fastmoments\[torch\]"\.$'
    ):
        fm.from_torch(None, None)
    with pytest.raises(ImportError, match=r'^load_onnx needs onnx: pip install "fastmoments\[onnx\]"\.$'):
        fm.from_onnx(tmp_path / "net.onnx")


class TestWithPyTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        self.torch = pytest.importorskip("torch")

    @pytest.mark.parametrize(
        ("name", "block", "units"),
        [("resnet18", "Basic", (2, 2, 2, 2)), ("resnet50", "Bottleneck", (3, 4, 6, 3))],
    )
    def test_published_modules_are_the_nets_of_the_zoo(self, name, block, units):
        import torch_modules

        module = torch_modules.ResNet(getattr(torch_modules, block), units)
        found = fm.from_torch(module, self.torch.zeros(1, 3, 32, 32), init="kaiming_fan_out")
        known = zoo.NETS[name]()
        assert found.stem == known.stem
        assert found.layers[:-1] == known.layers[:-1]  # the classifier of the zoo has PyTorch's own weights
        default = fm.from_torch(module, np.zeros((1, 3, 32, 32)), init="default")
        assert default.layers[-1] == known.layers[-1]

    def test_variances_are_measured(self):
        """Of PyTorch's default: gain 1/3, biases of variance 1 / (3 fan in), within their sampling errors."""
        self.torch.manual_seed(0)
        module = self.torch.nn.Sequential(self.torch.nn.Conv2d(16, 64, 3), self.torch.nn.ReLU())
        (conv, _) = fm.from_torch(module, np.zeros((1, 16, 8, 8))).layers
        error = np.sqrt(0.8 / module[0].weight.numel())  # of a uniform variable's mean square
        assert abs(3.0 * conv.weights.gain - 1.0) < 4.0 * error
        assert abs(3.0 * 9 * 16 * conv.weights.bias_variance - 1.0) < 4.0 * np.sqrt(0.8 / 64)

    def test_the_module_stays_as_it_was(self):
        import torch_modules

        module = torch_modules.MODULES["resnet18"]()
        module.train()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        state = self.torch.get_rng_state()
        fm.from_torch(module, self.torch.randn(2, 3, 32, 32, generator=self.torch.Generator()))
        assert module.training and all(self.torch.equal(before[k], v) for k, v in module.state_dict().items())
        assert self.torch.equal(state, self.torch.get_rng_state())

    def test_wrong_calls_are_one_sentence(self):
        with pytest.raises(ValueError, match=r"takes a torch\.nn\.Module, not int"):
            fm.from_torch(3, None)
        with pytest.raises(ValueError, match="init must be"):
            fm.from_torch(self.torch.nn.ReLU(), None, init="he")
        with pytest.raises(ValueError, match="the example must be a batch as ReLU takes it"):
            fm.from_torch(self.torch.nn.ReLU(), "images")
        with pytest.raises(ValueError, match=r"Conv2d does not run on an example of shape \(1, 2, 8, 8\)"):
            fm.from_torch(self.torch.nn.Conv2d(3, 3, 3), np.zeros((1, 2, 8, 8)))


def test_torch_is_not_loaded_before_it_is_used():
    import subprocess

    code = "import fastmoments as fm, sys; fm.from_torch, fm.from_onnx; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

    def test_stations_of_a_measured_module_are_places_of_its_net(self):
        """Of all that both have a station of, but for what is added inside a sum."""
        import torch_modules

        from fastmoments.nets.torch import translated

        images = fm.load_images("synthetic:32x32x3", 2, seed=0)
        for name in ("resnet18", "densenet", "separable"):
            module = torch_modules.MODULES[name]()
            network, places = translated(module, np.moveaxis(images.array, -1, 1))
            measured = {station.path: station for station in fm.scan(module, images, reff_locs=()).stations}
            assert len(set(places) & set(measured)) > 0.9 * len(places)
            kinds = dict(walk((network,), ""))
            for path in set(places) & set(measured):
                kind, layer = measured[path].layer, type(kinds[places[path]]).__name__
                assert kind not in KINDS or KINDS[kind] == layer, path
