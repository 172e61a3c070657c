"""Options that commands share: what becomes of them, and wrong ones."""

import json
import os
from importlib.util import find_spec

import numpy as np
import pytest
from command_line import DEEP, SMALL, in_a_process, run

import fastmoments as fm
from fastmoments.nets.zoo import NETS


def test_effective_ranks_where_they_are_asked_for():
    values = json.loads(run("scan", "bn_ff", *SMALL, "--format", "json", "--reff-at", "all").stdout)
    assert list(values["moments"]["reff_signal"]) == values["locs"] == ["input", "conv", "norm", "act"]
    values = json.loads(run("scan", "bn_ff", *SMALL, "--format", "json", "--reff-at", "conv").stdout)
    assert list(values["moments"]["reff_noise"]) == ["conv"]


def test_spec(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text('layers = [{repeat = 3, layers = [{type = "Conv"}, {type = "ReLU"}]}]')
    options = ["--images", "synthetic:8x8x3", "--count", 4, "--format", "json", "--quiet"]
    values = json.loads(run("scan", "--spec", path, *options).stdout)
    assert values["architecture"]["name"] == "net"
    family = json.loads(run("scan", "vanilla", "--depth", 3, "--no-input-conv", *options).stdout)
    assert values["moments"] == family["moments"]


def test_a_specification_from_stdin_or_named_as_the_net(tmp_path):
    text = b'name = "mine"\nlayers = [{repeat = 3, layers = [{type = "Conv"}, {type = "ReLU"}]}]'
    (tmp_path / "net.toml").write_bytes(text)
    options = ["--images", "synthetic:8x8x3", "--count", "4", "--format", "csv", "--quiet"]
    named = run("scan", tmp_path / "net.toml", *options).stdout
    assert run("scan", "--spec", tmp_path / "net.toml", *options).stdout == named
    piped = in_a_process("scan", "--spec", "-", *options, input=text.decode())
    assert (piped.stdout, piped.stderr) == (named, "")
    wrong = in_a_process("scan", "--spec", "-", *options, input="layers = 3")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "Error: stdin: layers must be an array of tables, not 3.\n",
    )


def test_width_multiplier():
    options = ["--images", "synthetic:8x8x3", "--count", 2, "--method", "sampled", "--nets", 2, "--quiet"]
    options += ["--format", "json"]
    values = json.loads(run("scan", "resnet20", "--width-multiplier", 0.5, *options).stdout)
    wanted = fm.scan(
        NETS["resnet20"]().widened(0.5), fm.load_images("synthetic:8x8x3", 2), fm.Sampled(nets=2)
    )
    assert values["moments"]["chi"] == wanted.to_dict()["moments"]["chi"]
    assert values["architecture"] == wanted.architecture


def test_a_net_is_not_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.toml").write_text('layers = [{type = "Conv"}]')
    result = run("describe", "net.toml", "--output", "net.toml", code=2)
    assert "net.toml" in result.stderr and (tmp_path / "net.toml").read_text().startswith("layers")


def test_fail_if():
    exploding = ["scan", "bn_ff", *DEEP, "--count", 8, "--quiet"]
    assert "exploding sensitivity" in run(*exploding).stdout
    result = run(*exploding, "--fail-if", "well-behaved", "--fail-if", "exploding", code=3)
    assert result.stderr == "Error: --fail-if: bn_ff has the label 'exploding sensitivity'.\n"
    assert "exploding sensitivity" in result.stdout  # the data come all the same
    run(*exploding, "--fail-if", "exploding sensitivity", code=3)
    run(*exploding, "--fail-if", "one-dimensional")
    run("compare", *DEEP, "--count", 8, "--quiet", "--every", 1, "--fail-if", "exploding", code=3)


def test_fail_if_without_a_verdict_fails():
    options = [*SMALL, "--kernel-size", 1, "--count", 2, "--quiet"]
    result = run("scan", "vanilla", *options, "--fail-if", "exploding", code=3)
    assert "has no verdict; it takes chi at the output, and an effective rank" in result.stderr
    result = run("scan", "vanilla", *options, "--min-directions", 1, code=3)
    assert "--min-directions: those of vanilla are not known near its output" in result.stderr


@pytest.mark.parametrize("command", [("scan", "vanilla"), ("compare",)])
def test_least_snr_and_directions(command):
    options = [*command, *SMALL, "--every", 1, "--quiet", "--format", "json"]
    found = json.loads(run(*options, "--min-snr", "-60dB", "--min-directions", 1).stdout)
    left = found.get("scans", [found])[0]["verdict"]["budget"]
    said = f"--min-snr: vanilla leaves {left['snr_db']:+.1f} dB of the signal-to-noise ratio, not -0.5 dB."
    for value in ("-0.5dB", "-0.5 dB", "-0.5"):
        result = run(*options, "--min-snr", value, code=3)
        assert said in result.stderr and json.loads(result.stdout)  # the data come all the same
    result = run(*options, "--min-directions", 500, code=3)
    assert f"leaves {left['directions']:.3g} directions, not 500; the batch allows" in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--min-snr", "loud", "'loud' is not a number of decibels, such as -20dB or -20."),
        ("--min-snr", "nandB", "'nandB' is not a number of decibels"),
        ("--min-directions", 0, "0.0 is not in the range x>=1."),
        ("--classes", 1, "1 is not in the range x>=2."),
    ],
)
def test_wrong_bounds(option, value, said):
    result = run("scan", "vanilla", *SMALL, option, value, code=2)
    assert said in result.stderr and not result.stdout


def test_classes_are_those_of_the_net_or_those_given():
    options = ["scan", "mlp", "--images", "synthetic:4x4x1", "--count", 4, "--quiet", "--format", "json"]
    assert json.loads(run(*options).stdout)["verdict"]["budget"]["classes"] == 10
    given = json.loads(run(*options, "--classes", 3).stdout)
    assert given["data"]["classes"] == given["verdict"]["budget"]["classes"] == 3


def test_the_order_of_axes_is_said_or_asked_for(tmp_path):
    images = np.random.default_rng(0).random((4, 3, 8, 8))
    np.savez(tmp_path / "torch.npz", x_train=images, x_test=images[:2], small=images[:, :, :3, :3])
    np.save(tmp_path / "other.npy", images.transpose(0, 2, 3, 1))
    options = ["scan", "bn_ff", "--depth", 2, "--count", 4, "--threads", 1, "--format", "json"]
    found = run(*options, "--images", f"{tmp_path}/torch.npz:x_train")
    said = "torch.npz:x_train: shape (4, 3, 8, 8) read as (n, c, h, w)."
    assert found.stderr.splitlines()[0] == said
    data = json.loads(found.stdout)["data"]
    assert (data["notes"], data["points"]) == ([said], 4 * 4 * 4)
    other = run(*options, "--images", tmp_path / "other.npy", "--quiet")
    assert other.stderr == ""
    assert json.loads(other.stdout)["moments"] == json.loads(found.stdout)["moments"]
    small = [*options, "--quiet", "--images", f"{tmp_path}/torch.npz:small"]
    asked = run(*small, code=2)
    assert "shape (4, 3, 3, 3) may be (n, h, w, c) or (n, c, h, w)" in asked.stderr
    assert "--layout on the command line" in asked.stderr
    assert json.loads(run(*small, "--layout", "nchw").stdout)["data"]["images"] == 4
    listed = run(*options, "--images", tmp_path / "torch.npz", code=2)
    assert "'x_train', 'x_test', 'small'; name one, as in file.npz:x_train" in listed.stderr


def test_a_folder_of_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    for place, each in enumerate(pixels):
        image.fromarray(each).save(tmp_path / f"{place}.png")
    options = ["scan", "bn_ff", "--depth", 2, "--count", 4, "--format", "json", "--images", tmp_path]
    assert json.loads(run(*options).stdout)["data"]["source"] == tmp_path.name
    image.fromarray(pixels[0, :4]).save(tmp_path / "5.png")
    assert "0.png is 8 x 8, but 5.png 4 x 8" in run(*options, code=2).stderr
    assert json.loads(run(*options, "--size", "8x6").stdout)["data"]["width"] == 3


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    refused = run("scan", "bn_ff", "--images", tmp_path / "pipe.npy", code=2)
    assert "only regular files are read" in refused.stderr and refused.stdout == ""


WRONG = [
    (["scn"], ("No such command",)),
    (["scan"], ("fastmoments zoo", "--spec FILE", "one of them is needed")),
    (["scan", "bnff"], ("There is no net 'bnff' (did you mean 'bn_ff'?)", "fastmoments zoo", "FILE.toml")),
    (["scan", "no.toml"], ("Cannot read no.toml: No such file",)),
    (["scan", "resnet20", "--depth", 3], ("--depth is for one of vanilla", "resnet20 is as published")),
    (["scan", "resnet20", "--spec", "-"], ("not both; `fastmoments describe resnet20` prints its TOML",)),
    (["scan", "resnet20", "--width-multiplier", 2], ("--width-multiplier is of sampled nets",)),
    (["scan", "resnet20", "--method", "sampled", "--width-multiplier", 0], ("--width-multiplier", "x>0")),
    (["scan", "bn_ff", "--method", "sampled", "--width-multiplier", 2], ("bn_ff has no numbers",)),
    (["verify", "resnet20", "--width-multiplier", "1,x"], ("'1,x' is not a list of numbers",)),
    (["verify", "resnet20", "--width-multiplier", "1,2", "--widths", "2,4"], ("give one of them, not both",)),
    (["verify", "bn_ff", "--width-multiplier", "1,2"], ("bn_ff has no numbers of channels",)),
    (["describe"], ("one of them is needed",)),
    (["describe", "bn_ff", "--spec", "net.toml"], ("give one of them, not both",)),
    (["describe", "bn_ff", "--output", "x.json"], ("Cannot tell the format of x.json", ".toml")),
    (["scan", "bn_ff", "--spec", "net.toml"], ("give one of them, not both",)),
    (["scan", "--spec", "nowhere.toml"], ("Cannot read nowhere.toml", "No such file")),
    (["scan", "--spec", "nowhere.toml", "--depth", 100], ("--depth is for one of vanilla",)),
    (["scan", "--spec", "nowhere.toml", "--no-input-conv"], ("--no-input-conv is for one of vanilla",)),
    (["scan", "--spec", "nowhere.toml", "--res-depth", 2], ("--res-depth is for one of vanilla",)),
    (["scan", "bn_ff", "--depth", -1], ("--depth", "-1 is not in the range x>=0")),
    (["scan", "bn_ff", "--depth", "ten"], ("'ten' is not a valid integer",)),
    (["scan", "bn_ff", "--kernel-size", 0], ("--kernel-size", "x>=1")),
    (["scan", "bn_ff", "--padding", "same"], ("'same' is not one of", "periodic")),
    (["scan", "bn_ff", "--res-depth", 0], ("--res-depth",)),
    (["scan", "bn_ff", "--epsilon", -1], ("--epsilon",)),
    (["scan", "bn_ff", "--epsilon", "nan"], ("--epsilon", "not a finite number")),
    (["scan", "bn_ff", "--epsilon", "inf"], ("--epsilon", "not a finite number")),
    (["scan", "bn_ff", "--images", "fashion-mnst"], ("did you mean 'fashion-mnist'?",)),
    (["scan", "bn_ff", "--images", "no/such.npy"], ("no file or folder 'no/such.npy'",)),
    (["scan", "bn_ff", "--images", "synthetic:8"], ("the size in 'synthetic:8' must be",)),
    (["scan", "bn_ff", "--layout", "hwc"], ("'hwc' is not one of", "auto", "nchw")),
    (["scan", "bn_ff", "--layout", "nchw"], ("fashion-mnist: the order of these axes is known",)),
    (["scan", "bn_ff", "--size", "32"], ("fashion-mnist: only PNG and JPEG images",)),
    (["scan", "bn_ff", "--size", "32by32"], ("size must be HxW or N", "'32by32'")),
    (["scan", "bn_ff", "--images", "no.npz:x"], ("no file or folder 'no.npz'",)),
    (["scan", "bn_ff", "--count", 0], ("--count",)),
    (["scan", "bn_ff", "--count", 1000], ("count is 1000, but there are only 256 images",)),
    (["scan", "bn_ff", "--count", 1, "--kernel-size", 1], ("two different images",)),
    (["scan", "bn_ff", "--every", 0], ("--every",)),
    (["scan", "bn_ff", "--seed", -1], ("--seed",)),
    (["scan", "bn_ff", "--threads", 0], ("--threads",)),
    (["scan", "bn_ff", "--threads", 100_000], ("threads must be a whole number from 1 to",)),
    (["scan", "bn_ff", "--method", "exact"], ("'exact' is not one of", "sampled")),
    (["scan", "bn_ff", "--width", 64], ('width belongs to method="finite" or "sampled"',)),
    (["scan", "bn_ff", "--nets", 3], ('nets belongs to method="sampled"',)),
    (["scan", "bn_ff", "--method", "sampled", "--width", 0], ("--width",)),
    (["scan", "bn_res", "--scale", -1], ("--scale", "x>=0")),
    (["scan", "bn_res", "--gain", 0], ("--gain", "x>0")),
    (["scan", "bn_res", "--gain", "nan"], ("--gain", "not a finite number")),
    (["scan", "bn_ff", "--resume"], ("--resume goes on with the scan of --output FILE",)),
    (["scan", "bn_ff", "--dtype", "float16"], ("'float16' is not one of", "float32")),
    (["scan", "vanilla", "--dtype", "float32"], ("float32 needs a BatchNorm in every unit",)),
    (["scan", "bn_ff", "--rank", 0], ("--rank", "x>=1")),
    (["scan", "bn_ff", "--reff-at", "bn"], ("'bn' is not one of", "merge", "all")),
    (["scan", "bn_ff", "--format", "xml"], ("'xml' is not one of", "table")),
    (["scan", "bn_ff", "--output", "x.txt"], ("Cannot tell the format of x.txt", ".json, .csv, .npz")),
    (["scan", "bn_ff", "--output", "x.json", "--format", "csv"], ("csv and --output x.json disagree",)),
    (["scan", "bn_ff", "--output", "no/x.json"], ("Cannot write no/x.json: there is no folder no",)),
    (["scan", "bn_ff", "--output", "."], ("it is a folder",)),
    (["scan", "bn_ff", "--fail-if", "boring"], ("'boring' is not one of", "exploding")),
    (["compare", "bn_ff", "resnet18x"], ("There is no net 'resnet18x' (did you mean 'resnet18",)),
    (["compare", "resnet20", "no.toml", "--depth", 3], ("--depth is for one of vanilla",)),
    (["compare", "bn_ff", "no.toml"], ("Cannot read no.toml",)),
    (["compare", "--output", "x.npz"], ("Cannot tell the format of x.npz", ".json, .csv")),
    (["compare", "--spec", "net.toml"], ("No such option",)),
    (["verify"], ("fastmoments zoo", "one of them is needed")),
    (["verify", "bn_ff", "--widths", "64,x"], ("'64,x' is not a list of whole numbers",)),
    (["verify", "bn_ff", "--widths", "64"], ("at least two different widths",)),
    (["verify", "bn_ff", "--method", "sampled"], ("--method", "sampled")),
    (["verify", "vanilla", "--method", "finite", "--no-input-conv"], ("Of nets with convolutions",)),
    (["verify", "bn_ff", "--widths", "0,64"], ("all of widths must be a positive whole number, not 0",)),
    (["verify", "bn_ff", "--nets", "7"], ("--nets", "x>=8")),
    (["verify", "bn_ff", "--depth", "0"], ("nothing to verify",)),
    (["plot"], ("Missing argument 'RESULT'",)),
    (["plot", "x.json"], ("Missing option '--output'",)),
    (["plot", "x.csv", "--output", "x.png"], ("Cannot tell the format of x.csv",)),
    (["plot", "x.json", "--output", "x.png"], ("There is no file x.json",)),
    (["plot", "x.json", "--output", "x.gif"], ("Cannot tell the format of x.gif", ".png, .pdf, .svg")),
    (["doctor", "now"], ("unexpected extra argument",)),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_wrong_command_lines(arguments, words, monkeypatch, tmp_path):
    if arguments[0] == "plot" and find_spec("matplotlib") is None:
        pytest.skip("figures need matplotlib")
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, code=2)
    assert isinstance(result.exception, SystemExit)  # and no traceback
    *_, sentence = result.stderr.splitlines()
    assert sentence.startswith("Error: ")
    assert sentence.endswith((".", "?", ")"))
    assert all(word in sentence for word in words), sentence
    assert result.stdout == ""
    assert os.listdir(tmp_path) == []
