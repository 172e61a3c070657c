"""The house's one-way street, read off the import statements; and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastmoments

PACKAGE = Path(fastmoments.__file__).parent

# What a module may know; modules of one line do not know each other's neighbours to the right.
ALLOWED = {
    "kernels": set(),
    "layers": set(),
    "data": set(),
    "families": {"layers"},
    "spec": {"layers"},
    "moments": set(),
    "verdict": set(),
    "quadrature": set(),
    "covariance": {"kernels"},
    "fft": {"layers"},
    "taps": {"layers"},
    "maps": {"kernels", "covariance", "fft", "layers", "moments", "taps"},
    "overlap": {"layers", "maps"},
    "batch_norm": {"kernels", "covariance", "maps", "moments", "overlap", "quadrature"},
    "infinite_width": {"batch_norm", "covariance", "fft", "layers", "maps", "moments", "overlap"},
    "sampling": {"layers", "moments"},
    "results": {"moments", "verdict", "files", "plot"},
    "journal": {"moments"},
    "costs": {"covariance", "data", "layers", "moments"},
    "files": {"journal", "results"},
    "plot": {"results", "files", "layers", "verdict", "families"},
    "scanning": {
        "covariance",
        "data",
        "costs",
        "journal",
        "layers",
        "moments",
        "results",
        "infinite_width",
        "finite_width",
        "sampling",
    },
    "verification": {"data", "layers", "moments", "results", "scanning"},
    "grid": {"data", "families", "layers", "results", "scanning"},
    "dispatch": set(),
    "ledger": set(),
    "sweeping": {"dispatch", "files", "grid", "ledger", "plot_sweep"},
    "plot_sweep": {"grid", "plot", "verdict"},
    "plot_histogram": {"plot", "results"},
}


def imported(path):
    """Names of the package's own modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            names.update([node.module.split(".")[0]] if node.module else [a.name for a in node.names])
    return names - {"__version__"}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_imports_go_one_way(path):
    if path.stem != "__init__":
        assert imported(path) <= ALLOWED[path.stem]


def test_kernels_know_only_each_other():
    for path in (PACKAGE / "kernels").glob("*.py"):
        assert imported(path) <= {"jit"}


def test_the_finite_width_theory_knows_no_simulation():
    """It knows what stands below the engines, and that of infinite width, whose means it takes."""
    below = {"kernels", "layers", "moments", "quadrature", "batch_norm", "covariance", "maps"}
    for path in (PACKAGE / "finite_width").glob("*.py"):
        outside = {
            node.module.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module
        }
        assert outside <= below | {"infinite_width"}, path.name


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
