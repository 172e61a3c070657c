"""The pages of the site: their code runs, their commands exist, they build without warnings or dead links."""

import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from click.testing import CliRunner

import fastmoments as fm
from fastmoments.cli import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))

#: Options that make a command cheap, where it has them; of one that is given twice the last counts.
SMALL = {"--depth": "2", "--images": "synthetic:4x4x1", "--count": "6", "--points": "3", "--kernel-size": "1"}
#: Of those of which that would not do: a search must find its end, a sweep adds up what is given twice, a
#: published net brings its depth and kernels.
OTHERS = {
    "find": {"--depth": "10", "--count": "8", "--kernel-size": "1"},
    "sweep": {"--images": "synthetic:4x4x1", "--count": "6", "--processes": "1"},
    "scan resnet18": {"--images": "synthetic:16x16x3", "--count": "2"},
}


def blocks(page, language):
    """Fenced blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.S | re.M)


def commands(texts):
    """Command lines of fastmoments, without what stands beside them; continued lines are one."""
    lines = re.sub(r"\\\n\s*", " ", "\n".join(texts)).splitlines()
    return [re.split(r"\s{3,}", line.strip())[0] for line in lines if re.match(r"\s*fastmoments ", line)]


def indented(page):
    """Commands that are shown but need a file or a machine of the reader."""
    return commands(re.findall(r"^ {4}.*(?:\\\n.*)*", (DOCS / page).read_text("utf-8"), re.M))


RUN = [(page, line) for page in PAGES for line in commands(blocks(page, "sh"))]
SHOWN = [(page, line) for page in PAGES for line in indented(page)]


def options(name):
    """Names of the options of a command."""
    command = main.get_command(None, name)
    assert command is not None, f"no command {name}"
    return {each for parameter in command.params for each in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        if re.search(r"^(import|from) torch\b", block, re.M):
            pytest.importorskip("torch")
        exec(compile(block, f"docs/{page}", "exec"), names)


def test_the_reference_has_every_public_name():
    text = "".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
    listed = set(re.findall(r"auto\w+:: fastmoments\.(\w+)", text))
    assert set(fm.__all__) - listed == {"__version__", "zoo", "FAMILIES"}  # told in words


def test_there_are_commands_to_run():
    assert len(RUN) >= 8 and len(SHOWN) >= 4


@pytest.mark.parametrize(("page", "line"), RUN)
def test_a_command_of_a_page_runs(page, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = shlex.split(line)[1:]
    wanted = OTHERS.get(given[0]) or OTHERS.get(" ".join(given[:2])) or SMALL
    small = [part for name, value in wanted.items() if name in options(given[0]) for part in (name, value)]
    done = CliRunner().invoke(main, [*given, *small])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(("page", "line"), SHOWN)
def test_a_command_that_is_shown_has_its_options(page, line):
    name, *given = shlex.split(line)[1:]
    assert {part for part in given if part.startswith("--")} <= options(name)


CODE = ("code", "pre", "script", "style")


class References(HTMLParser):
    """What a page links to, what it loads, its anchors, its formulas, and its text outside code."""

    def __init__(self, page):
        super().__init__()
        self.links, self.loads, self.anchors, self.formulas = [], [], set(), 0
        self.text, self.code = "", 0
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if found.get("src") or (tag == "link" and found.get("rel") == "stylesheet"):
            self.loads.append(found.get("src") or found["href"])
        self.formulas += tag == "math"
        self.code += tag in CODE

    def handle_endtag(self, tag):
        self.code -= tag in CODE

    def handle_data(self, data):
        self.text += "" if self.code else data


@pytest.mark.skipif(find_spec("furo") is None, reason="needs pip install '.[docs]'")
def test_the_site_builds_and_needs_no_network(tmp_path):
    site = tmp_path / "site"
    # -P: without the checkout on the path, which would hide the installed package.
    arguments = ["-P", "-m", "sphinx", "-q", "-W", "--keep-going", "-d", tmp_path / "read", DOCS, site]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path: References(path) for path in site.rglob("*.html")}
    assert {Path(page).with_suffix(".html") for page in PAGES} <= {path.relative_to(site) for path in pages}
    dead = []
    for path, page in pages.items():
        assert "$" not in page.text, f"a formula of {path.name} is left as it was written"
        assert not [each for each in page.loads if each.startswith(("http", "//"))]
        for link in [*page.links, *page.loads]:
            if link.startswith(("http", "mailto:")):
                continue
            file, anchor = urldefrag(unquote(link))
            file = file.split("?")[0]
            target = (path.parent / file).resolve() if file else path
            target = target / "index.html" if target.is_dir() else target
            missing = anchor and target in pages and anchor not in pages[target].anchors
            if not target.exists() or missing:
                dead.append((path.name, link))
    assert not dead
    assert pages[site / "theory.html"].formulas > 150
