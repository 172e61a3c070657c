import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastmoments.kernels.series import CHUNK, product_series


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 2 * CHUNK + 3), st.integers(1, 9))
def test_against_the_sum(seed, rows, columns, terms):
    rng = np.random.default_rng(seed)
    r = rng.uniform(-1.0, 1.0, (rows, columns))
    left, right = rng.standard_normal((rows, terms)), rng.standard_normal((terms, columns))
    out = np.empty_like(r)
    product_series(r, left, right, out)
    wanted = sum(np.outer(left[:, n], right[n]) * r**n for n in range(terms))
    np.testing.assert_allclose(out, wanted, rtol=1e-10, atol=1e-12)
