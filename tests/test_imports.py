"""The house's one-way street, read off the import statements; and what importing costs."""

import ast
import graphlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fastmoments

PACKAGE = Path(fastmoments.__file__).parent
#: The checkout, whose tests these are.
ROOT = Path(__file__).parents[1]

#: What every module may know.
EVERYWHERE = {"validation", "memory"}

#: What a room may know beside itself.
ALLOWED = {
    "validation": set(),
    "memory": set(),
    "nets": set(),
    "images": set(),
    "kernels": set(),
    "covariances": {"kernels"},
    "maps": {"kernels", "covariances", "nets"},
    "engines": {"kernels", "covariances", "nets", "images", "maps"},
    "scans": {"kernels", "covariances", "nets", "images", "engines"},
    "plots": {"nets", "scans", "engines"},
    "phases": {"nets", "maps", "plots"},
    "sweeps": {"nets", "images", "engines", "scans", "plots"},
}

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.stem != "__init__" and path.relative_to(PACKAGE).parts[0] != "cli"
}


def imported(module):
    """Modules of the package that a module imports, wherever in it."""
    room = module.split(".")[:-1]
    names = set()
    tree = ast.parse(MODULES[module].read_text())
    checks = [node for node in ast.walk(tree) if isinstance(node, ast.If)]
    of_types = {
        id(each) for node in checks if ast.unparse(node.test) == "TYPE_CHECKING" for each in node.body
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level or id(node) in of_types:
            continue
        base = room[: len(room) - (node.level - 1)] + (node.module.split(".") if node.module else [])
        for alias in node.names:
            inside = ".".join([*base, alias.name])
            names.add(inside if inside in MODULES else ".".join(base))
    return names - {""}  # the package itself: its version


@pytest.mark.parametrize("module", MODULES)
def test_rooms_are_entered_one_way(module):
    room = module.split(".")[0]
    assert {name.split(".")[0] for name in imported(module)} <= {room, *EVERYWHERE, *ALLOWED[room]}


@pytest.mark.parametrize(
    "module",
    [path for folder in ("fastmoments", "cli") for path in sorted((ROOT / folder).rglob("*.py"))
     if path.stem != "__init__"],
    ids=lambda path: str(path.relative_to(ROOT)),
)  # fmt: skip
def test_every_module_has_a_mirror(module):
    """A file of tests in the folder of the same name; what a package's `__init__` says is its modules'."""
    folder = module.relative_to(ROOT).parent
    folder = folder.relative_to("fastmoments") if folder.parts[0] == "fastmoments" else folder
    mirror = ROOT / "tests" / folder / f"test_{module.stem.strip('_')}.py"
    assert mirror.is_file() and "def test_" in mirror.read_text()


def test_no_circle():
    graph = {module: imported(module) for module in MODULES}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(MODULES) <= set(order)


def test_every_room_is_in_the_street():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"cli"}
    assert rooms == set(ALLOWED) - EVERYWHERE


#: The theory of finite width takes means of infinite width, which carries drawn channels through a layer as
#: the simulation does; the simulation knows none of them. Measured nets have the moments of simulated ones,
#: and a given net checks itself by them.
KNOWN = {
    "finite_width": {"infinite_width"},
    "infinite_width": {"sampled"},
    "measured": {"sampled"},
    "given": {"sampled"},
}
#: What all engines know.
SHARED = {"protocol", "averages"}


def test_engines_know_each_other_only_where_one_takes_means_of_another():
    for module in MODULES:
        if module.startswith("engines."):
            engine = module.split(".")[1]
            others = {name.split(".")[1] for name in imported(module) if name.startswith("engines.")}
            assert others - {engine, *SHARED} <= KNOWN.get(engine, set())


def loaded(code):
    """Modules loaded by a fresh interpreter that runs `code`."""
    script = f"{code}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded("import fastmoments") & {"numba", "scipy", "matplotlib", "pandas"}


def test_public_names_come_when_they_are_used():
    for name in fastmoments.__all__:
        assert getattr(fastmoments, name) is not None
    with pytest.raises(AttributeError, match="no attribute"):
        fastmoments.nonsense  # noqa: B018
    assert set(fastmoments.__all__) <= set(dir(fastmoments))


def test_a_public_function_is_never_hidden_by_a_module():
    code = "import fastmoments as fm; fm.Scan, fm.kernel, fm.verify; assert callable(fm.scan)"
    assert loaded(code)


def test_every_folder_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    root = ROOT / "fastmoments"
    folders = {
        ".".join(("fastmoments", *path.parent.relative_to(root).parts)) for path in root.rglob("__init__.py")
    }
    assert listed == folders | {"fastmoments.cli"}
