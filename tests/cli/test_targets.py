"""What the command line says of the user's own code."""

import sys

import click
import pytest

from fastmoments.cli import Failure
from fastmoments.cli.targets import target

CODE = """
class Thing:
    def __init__(self, size=1, name="a"):
        self.size, self.name = size, name


def fails():
    raise RuntimeError("no weights\\nat all")


value = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    return tmp_path


def made(text, *arguments):
    return target(text, arguments, show=False, quiet=True).make()


@pytest.mark.parametrize("where", ["nets.py", "nets"])
def test_a_file_or_a_module_of_the_current_folder(here, where):
    thing = made(f"{where}:Thing", "size=3", "name=wide resnet")
    assert (thing.size, thing.name) == (3, "wide resnet")
    assert target(f"{where}:Thing", (), False, True).fresh


def test_arguments_are_values_of_python_or_texts(here):
    assert made("nets:Thing", "size=(1, 2.5)").size == (1, 2.5)
    assert made("nets:Thing", "size=None", "name='7'").name == "7"


def test_the_import_is_told(here, capsys):
    target("nets.py:Thing", (), False, quiet=False)
    assert capsys.readouterr().err == "Importing nets.py, whose code runs in this process.\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resnet18", "'resnet18' names no module: give FILE.py:NAME"),
        (":Thing", "names no module"),
        ("nets:", "names no module"),
        ("nets.py:Thnig", "nets.py has no function or class 'Thnig'; it has Thing, fails"),
        ("nets.py:value", "has no function or class 'value'"),
        ("other.py:Thing", "There is no file other.py"),
    ],
)
def test_what_names_nothing_is_one_sentence(here, text, message):
    with pytest.raises(click.UsageError, match=message):
        made(text)


@pytest.mark.parametrize("argument", ["size", "=3", "2x=3"])
def test_arguments_without_a_name(here, argument):
    with pytest.raises(click.UsageError, match="--arg must be NAME=VALUE"):
        made("nets:Thing", argument)


def test_what_the_users_code_raises_is_one_sentence(here, capsys):
    with pytest.raises(Failure, match=r"fails\(\) of nets failed, since it raised RuntimeError: no weights;"):
        made("nets:fails")
    with pytest.raises(Failure, match=r"Thing\(depth=3\) of nets failed, since it raised TypeError"):
        made("nets:Thing", "depth=3")
    (here / "broken.py").write_text("import sys\nsys.exit(5)\n")
    with pytest.raises(Failure, match=r"broken\.py cannot be imported, since it raised SystemExit: 5"):
        made("broken.py:net")
    with pytest.raises(Failure, match="nowhere cannot be imported, since it raised ModuleNotFoundError"):
        made("nowhere:net")
    assert capsys.readouterr().err == ""
    with pytest.raises(Failure):
        target("nets:fails", (), True, True).make()
    assert "RuntimeError: no weights" in capsys.readouterr().err


def test_a_file_of_onnx_takes_no_arguments(here):
    with pytest.raises(click.UsageError, match="an ONNX file takes none"):
        target("net.onnx", ("depth=3",), False, True)
