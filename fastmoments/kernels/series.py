"""Power series in the correlation, whose coefficients are products of those of the two points."""

from __future__ import annotations

from .jit import jit

#: Columns that are worked on at a time, so that all their coefficients stay in the innermost cache.
CHUNK = 32


@jit(allocates=False)
def product_series(correlations, left, right, out):
    """out_ab = sum_n left_an right_nb r_ab^n, by Horner's rule.

    Parameters
    ----------
    correlations : float64 (rows, columns)
    left : float64 (rows, terms)
    right : float64 (terms, columns)
    out : float64 (rows, columns)
    """
    terms, columns = right.shape
    for start in range(0, columns, CHUNK):
        stop = min(start + CHUNK, columns)
        for a in range(correlations.shape[0]):
            last = left[a, terms - 1]
            for b in range(start, stop):
                out[a, b] = last * right[terms - 1, b]
            for n in range(terms - 2, -1, -1):
                here = left[a, n]
                for b in range(start, stop):
                    out[a, b] = out[a, b] * correlations[a, b] + here * right[n, b]
