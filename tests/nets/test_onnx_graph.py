"""ONNX files as PyTorch modules."""

import contextlib
import io
import warnings

import numpy as np
import pytest

import fastmoments as fm

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
import torch_modules  # noqa: E402
from torch import nn  # noqa: E402


def exported(module, path, shape=(3, 32, 32), opset=20):
    """A file of a module in training mode, by the exporter that needs nothing beside PyTorch."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.randn(2, *shape),), path, dynamo=False, opset_version=opset,
            training=torch.onnx.TrainingMode.TRAINING, input_names=["images"],
            dynamic_axes={"images": {0: "n"}},
        )  # fmt: skip
    return path


@pytest.mark.parametrize(
    "name", ["resnet18", "vgg16-bn", "convnext", "mlp", "densenet", "fixup", "separable"]
)
def test_both_ways_give_the_same_net_and_the_same_outputs(tmp_path, name):
    torch.manual_seed(0)
    module = torch_modules.MODULES[name]().train()
    path = exported(module, tmp_path / f"{name}.onnx")
    images = torch.randn(2, 3, 32, 32)
    assert fm.from_onnx(path) == fm.from_torch(module, images, name=name)
    loaded = fm.load_onnx(path)
    with torch.no_grad():
        state = torch.get_rng_state()
        expected = module(images)
        torch.set_rng_state(state)
        assert torch.allclose(loaded(images), expected, rtol=1e-5, atol=1e-6)


def test_activations_that_an_exporter_takes_apart(tmp_path):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.GELU(), nn.Mish())
    path = exported(module, tmp_path / "net.onnx", opset=13)
    kinds = [type(layer).__name__ for layer in fm.from_onnx(path).layers]
    assert kinds == ["Conv", "SiLU", "Conv", "GELU", "Scale", "Scale", "Mish"]
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(fm.load_onnx(path)(images), module(images), atol=1e-6)


def file(tmp_path, nodes, constants=(), outputs=("y",), shape=("n", 3, 8, 8)):
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(*node[:3], **node[3]) for node in nodes],
        "graph",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )
    path = tmp_path / "net.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)]), path)
    return path


def test_a_bias_behind_a_product(tmp_path):
    weight, bias = np.ones((192, 4), np.float32), np.arange(4, dtype=np.float32)
    path = file(
        tmp_path,
        [
            ("Flatten", ["x"], ["f"], {}),
            ("MatMul", ["f", "w"], ["p"], {}),
            ("Add", ["p", "b"], ["y"], {}),
        ],
        [("w", weight), ("b", bias)],
    )
    images = torch.randn(2, 3, 8, 8)
    expected = images.flatten(1) @ torch.tensor(weight) + torch.tensor(bias)
    assert torch.allclose(fm.load_onnx(path)(images), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("Softmax", ["x"], ["y"], {})], "is a Softmax, which has no counterpart here"),
        ([("Conv", ["x", "x"], ["y"], {})], "a Conv computes its weights"),
        (
            [("MaxPool", ["x"], ["y"], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"})],
            "a pool has auto_pad",
        ),
        (
            [("AveragePool", ["x"], ["y"], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]})],
            "padding must be the same on both sides",
        ),
        ([("Clip", ["x"], ["y"], {})], "a Clip needs a least and a largest value"),
    ],
)
def test_nodes_without_a_counterpart_are_named(tmp_path, nodes, message):
    with pytest.raises(ValueError, match=message) as caught:
        fm.load_onnx(file(tmp_path, nodes))
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(ValueError, match=r"^Cannot read .*: No such file or directory\.$"):
        fm.load_onnx(tmp_path / "missing.onnx")
    path = tmp_path / "text.onnx"
    path.write_text("no graph")
    with pytest.raises(ValueError, match="is no ONNX file"):
        fm.load_onnx(path)


def test_a_file_that_leaves_sizes_open_needs_an_example(tmp_path):
    path = file(tmp_path, [("Relu", ["x"], ["y"], {})], shape=("n", 3, "height", "width"))
    with pytest.raises(ValueError, match="does not say which shape its images have; give an example"):
        fm.from_onnx(path)
    assert fm.from_onnx(path, torch.zeros(1, 3, 8, 8)).layers == (fm.ReLU(),)


def test_both_ways_give_the_same_moments(tmp_path):
    """At infinite width to 1e-6; measured, with the same weights, to what single precision leaves."""
    torch.manual_seed(1)
    convs = [nn.Conv2d(before, 16, 3, padding=1) for before in (3, 16)]
    layers = (convs[0], nn.BatchNorm2d(16), nn.ReLU(), convs[1], nn.GELU(), nn.AdaptiveAvgPool2d(1))
    module = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 5)).train()
    path, images = exported(module, tmp_path / "net.onnx", (3, 8, 8)), fm.load_images("synthetic:8x8x3", 4)
    example = torch.zeros(2, 3, 8, 8)
    pairs = [
        (fm.from_onnx(path), fm.from_torch(module, example), 1e-6),
        (fm.load_onnx(path), module, 1e-4),
    ]
    for one, other, bound in pairs:
        first, second = fm.scan(one, images), fm.scan(other, images)
        for moment in ("log_chi", "log_nu2_signal", "log_mu2_noise", "reff_signal"):
            assert np.allclose(first[moment][-1], second[moment][-1], rtol=bound, atol=bound), moment
