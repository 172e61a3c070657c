"""Images of any kind, as arrays and as files: scanned or refused."""

import io
from pathlib import Path

import numpy as np
from fuzzing import JUNK, a_folder, check_scan, fuzzed, mostly, refused
from hypothesis import strategies as st

import fastmoments as fm

SIDES = st.integers(1, 6)
SHAPES = mostly(
    st.tuples(st.integers(2, 4), st.integers(2, 6), st.integers(2, 6), st.sampled_from([1, 3, 4])),
    st.one_of(st.tuples(SIDES, SIDES, SIDES), st.lists(st.integers(0, 4), max_size=5).map(tuple)),
    4,
)
FACTORS = mostly(st.just(1.0), st.sampled_from([1e-300, 1e300, 1e160, 5e-324, 1e-8, 255.0]))
OFFSETS = mostly(st.just(0.0), st.sampled_from([1.0, 3000.0, 1e8, 1e300, -1e16]))
TYPES = mostly(st.just("f8"), st.sampled_from(["f4", "f2", "u1", "i8", "?", "c16", "S3", "U2", "O", "M8[s]"]))
SPECIAL = mostly(st.none(), st.sampled_from([np.nan, np.inf, 0.0, 1.7e308]))


@st.composite
def arrays(draw):
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    array = rng.normal(size=draw(SHAPES))
    if draw(st.integers(0, 3)) == 0 and array.ndim and len(array):
        array[:] = array[:1] + draw(st.sampled_from([0.0, 1e-8, 1e-10])) * array  # nearly alike
    special = draw(SPECIAL)
    with np.errstate(all="ignore"):
        array = array * draw(FACTORS) + draw(OFFSETS)
        if special is not None and array.size:
            array.flat[draw(st.integers(0, array.size - 1))] = special
        return np.asarray(array.astype(draw(TYPES)))


NETS = [
    fm.vanilla(3), fm.residual(2, 1), fm.bn_ff(3, 1), fm.bn_res(2), fm.bn_ff(2, input_conv=False),
    fm.vanilla(0), fm.Network([fm.Conv(3, stride=2), fm.BatchNorm(), fm.ReLU()] * 2),
]  # fmt: skip
ENGINES = st.sampled_from(["infinite", "infinite", fm.FiniteWidth(32), fm.Sampled(4, 2)])


def check_array(case):
    images, net, engine, normalise = case
    scan = refused(fm.scan, net, images, engine, normalise=normalise, threads=1)
    if scan is not None:
        check_scan(scan)


def as_file(array, ending):
    """The bytes of a file of images, whatever they are."""
    file = io.BytesIO()
    if ending == ".npz":
        np.savez_compressed(file, images=array)
    elif ending == ".npy":
        np.save(file, array)
    elif ending == ".idx":
        sides = (*array.shape, 1, 1, 1)[:3]
        file.write(np.array([0x803, *sides], ">u4").tobytes() + bytes(int(np.prod(sides))))
    else:
        file.write(bytes(3073 * (len(array) if array.ndim else 1)))
    return file.getvalue()


@st.composite
def files(draw):
    ending = draw(st.sampled_from([".npy", ".npz", ".npz", ".idx", ".bin", ".idx.gz"]))
    array = draw(arrays())
    try:
        content = as_file(array, ending)
    except (ValueError, TypeError, OverflowError):
        content = b""
    for _ in range(draw(st.integers(0, 2))):
        where, length = draw(st.integers(0, len(content))), draw(st.integers(0, 20))
        content = content[:where] + draw(st.binary(max_size=20)) + content[where + length :]
    return f"x{ending}", content, draw(st.one_of(st.integers(1, 4), st.none(), JUNK))


def check_file(case):
    name, content, count = case
    with a_folder():
        Path(name).write_bytes(content)
        images = refused(fm.load_images, Path(name), count)
        if images is not None:
            assert images.array.ndim == 4 and np.isfinite(images.array).all()


test_an_array_is_scanned_or_refused, test_an_array_is_scanned_or_refused_at_length = fuzzed(
    check_array,
    1000,
    st.tuples(mostly(arrays(), JUNK), st.sampled_from(NETS), ENGINES, st.booleans()),
)
test_a_file_is_read_or_refused, test_a_file_is_read_or_refused_at_length = fuzzed(check_file, 1500, files())
