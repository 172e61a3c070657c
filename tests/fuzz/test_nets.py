"""Nets of any layers, in Python and in TOML: computed or refused."""

import json
from pathlib import Path

import numpy as np
from fuzzing import JUNK, a_folder, check_scan, fuzzed, mostly, refused
from hypothesis import strategies as st

import fastmoments as fm
from fastmoments.nets.toml import load_network, network_from_dict

SIZES = st.sampled_from([1, 1, 2, 3, 3, 4, 5])
SCALES = mostly(
    st.one_of(st.sampled_from([1.0, 0.5, 2.0, 1e-3]), st.floats(0.1, 4.0)),
    st.sampled_from([0.0, 1e-100, 1e100, 1e-12, 1e12, 1e308, 5e-324, -1.0, float("nan"), float("inf")]),
)


def tables(kind, **optional):
    return st.fixed_dictionaries({"type": st.just(kind)}, optional=optional)


FLAT = st.one_of(
    tables(
        "Conv", kernel_size=SIZES, stride=st.integers(1, 3), dilation=st.integers(1, 2), gain=SCALES,
        padding=st.sampled_from(["periodic", "zeros", "symmetric"]), bias_variance=SCALES,
        channels=st.integers(1, 6), pad=st.integers(0, 3),
    ),
    tables("Conv", kernel_size=SIZES),
    tables("ReLU"),
    tables("LeakyReLU", negative_slope=SCALES),
    tables("Abs"),
    tables("BatchNorm", epsilon=SCALES, gamma=SCALES, beta=SCALES),
    tables("BatchNorm"),
)  # fmt: skip


def nested(inner):
    stacks = st.lists(inner, max_size=4)
    return st.one_of(
        inner,
        st.fixed_dictionaries(
            {"type": st.just("Residual"), "branch": stacks}, optional={"shortcut": stacks, "scale": SCALES}
        ),
        st.fixed_dictionaries({"type": st.just("Concat"), "branches": st.lists(stacks, max_size=3)}),
        st.fixed_dictionaries({"type": st.just("Network"), "layers": stacks}, optional={"stem": stacks}),
        st.fixed_dictionaries(
            {"repeat": st.integers(1, 3), "layers": st.lists(inner, min_size=1, max_size=2)}
        ),
    )


LAYERS = st.recursive(FLAT, nested, max_leaves=6)
SPECS = st.fixed_dictionaries(
    {"layers": st.lists(LAYERS, min_size=1, max_size=6)},
    optional={"stem": st.lists(FLAT, max_size=2), "name": st.text(max_size=6)},
)
#: Deep enough for a verdict.
DEEP = st.builds(
    lambda layers: {"layers": [{"repeat": 18, "layers": layers}]}, st.lists(FLAT, min_size=1, max_size=3)
)
SHAPES = st.tuples(st.integers(2, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3))
ENGINES = st.sampled_from(
    [fm.InfiniteWidth(), fm.InfiniteWidth(), fm.InfiniteWidth(rank=2), fm.InfiniteWidth(dtype="float32"),
     fm.FiniteWidth(64), fm.Sampled(4, 2), fm.Sampled(4, 1, draw="gram")]
)  # fmt: skip


def spoilt(draw, table):
    """A table with something else in one place."""
    table = json.loads(json.dumps(table))
    at = table
    while isinstance(at, (dict, list)) and at:
        key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if draw(st.booleans()) or not isinstance(at[key], (dict, list)):
            at[key] = draw(JUNK)
            break
        at = at[key]
    return table


@st.composite
def any_specs(draw):
    table = draw(st.one_of(SPECS, SPECS, DEEP))
    return spoilt(draw, table) if draw(st.integers(0, 3)) == 0 else table


def check_network(case):
    table, shape, engine = case
    network = refused(network_from_dict, table)
    if network is None or network.depth > 20:
        return
    images = np.random.default_rng(0).normal(size=shape)
    scan = refused(fm.scan, network, images, engine, threads=1)
    if scan is not None:
        check_scan(scan)
        assert str(scan.report())
        fm.estimate(network, images, engine)


def toml(value):
    """A value as TOML writes it inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, (bool, str)):
        return json.dumps(value)
    return str(value)


@st.composite
def any_files(draw):
    table = draw(any_specs())
    content = "\n".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in table.items()).encode(
        "utf-8", "replace"
    )
    if draw(st.booleans()):
        start, length = draw(st.integers(0, len(content))), draw(st.integers(0, 9))
        content = content[:start] + draw(st.binary(max_size=9)) + content[start + length :]
    return content


def check_file(content):
    with a_folder():
        Path("net.toml").write_bytes(content)
        network = refused(load_network, "net.toml")
        if network is not None:
            described = network.architecture()
            assert network_from_dict(described).architecture() == described


test_a_net_is_computed_or_refused, test_a_net_is_computed_or_refused_at_length = fuzzed(
    check_network, 2500, st.tuples(any_specs(), SHAPES, ENGINES)
)
test_a_file_is_a_net_or_refused, test_a_file_is_a_net_or_refused_at_length = fuzzed(
    check_file, 1000, any_files()
)
