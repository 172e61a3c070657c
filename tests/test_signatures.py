"""What the type checker's settings cannot say: see `[tool.mypy]` for the rest."""

import ast
from pathlib import Path

import pytest

import fastmoments

PACKAGE = Path(fastmoments.__file__).parent
#: What hands a function to numba, which infers the types of its arguments.
COMPILED = {"jit", "helper"}


def compiled(function):
    calls = [each.func for each in function.decorator_list if isinstance(each, ast.Call)]
    return any(isinstance(call, ast.Name) and call.id in COMPILED for call in calls)


def incomplete(function):
    """Whether a parameter or what is returned has no annotation."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    free = [each for each in named if each.annotation is None and each.arg not in ("self", "cls")]
    return bool(free) or function.returns is None


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernels").glob("*.py")), ids=lambda path: path.stem)
def test_functions_beside_the_compiled_ones_have_types(path):
    functions = [each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.FunctionDef)]
    assert [each.name for each in functions if not compiled(each) and incomplete(each)] == []


def test_type_checkers_see_the_public_names():
    """`fastmoments` imports them twice: when they are used, and never, for type checkers."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = (each for each in tree.body if isinstance(each, ast.If))
    seen = {(alias.asname, each.module) for each in block.body for alias in each.names}
    assert seen == set(fastmoments._HOME.items())
