"""`fastmoments describe`."""

import pytest
from command_line import in_a_process, run

import fastmoments as fm
from fastmoments.nets.zoo import NETS


@pytest.mark.parametrize("more", [(), ("--spec", "-")])
def test_a_net_is_printed(tmp_path, more):
    path = tmp_path / "net.toml"
    path.write_text(run("describe", "resnet50", *more).stdout)
    assert fm.load_network(path) == NETS["resnet50"]()
    path.write_text(run("describe", "bn_res", "--depth", 3, "--epsilon", 0.1, *more).stdout)
    assert fm.load_network(path) == fm.bn_res(3, epsilon=0.1)


def test_a_file_is_written_and_stdin_read(tmp_path):
    path = tmp_path / "net.toml"
    assert run("describe", "vgg11", "--output", path).stdout == ""
    assert fm.load_network(path) == NETS["vgg11"]()
    assert run("describe", "--spec", path).stdout == run("describe", path).stdout == path.read_text()
    assert in_a_process("describe", "--spec", "-", input=path.read_text()).stdout == path.read_text()
