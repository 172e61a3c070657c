"""The transpose of a convolution of covariances, which carries gradients back through it."""

from __future__ import annotations

import numpy as np

from .jit import jit
from .threads import spread


def convolve_transposed(
    form: np.ndarray, pad_h: np.ndarray, pad_w: np.ndarray, dilation: int, factors_h: np.ndarray,
    factors_w: np.ndarray, scale: float,
) -> np.ndarray:  # fmt: skip
    """Scale times sum_t w_t S_t' G S_t, S_t the shift of every image by tap t, of stride 1.

    Parameters
    ----------
    form : shape (images, height, width, images, height, width)
        G.
    pad_h, pad_w : int64, shape (height + taps - 1,), (width + taps - 1,)
        Which row, column a padded one shows; -1 for none.
    dilation : int
    factors_h, factors_w : shape (terms, kernel_size)
        The weights of the taps are sums of products of these.
    scale : float
    """
    out = np.zeros_like(form)
    spread(_convolve_transposed, form, pad_h, pad_w, dilation, factors_h, factors_w, scale, out)
    return out


@jit()
def _convolve_transposed(worker, workers, form, pad_h, pad_w, dilation, factors_h, factors_w, scale, out):
    images, height, width = form.shape[:3]
    for pair in range(worker, images * images, workers):
        i, j = pair // images, pair % images
        rows = np.empty((height, width, height, width), form.dtype)
        for term in range(len(factors_h)):
            rows[:] = 0.0
            for tap in range(factors_h.shape[1]):
                weight = scale * factors_h[term, tap]
                for y in range(height):
                    to_y = pad_h[y + tap * dilation]
                    for v in range(height):
                        to_v = pad_h[v + tap * dilation]
                        if to_y >= 0 and to_v >= 0:
                            for x in range(width):
                                for u in range(width):
                                    rows[to_y, x, to_v, u] += weight * form[i, y, x, j, v, u]
            for tap in range(factors_w.shape[1]):
                weight = factors_w[term, tap]
                for y in range(height):
                    for x in range(width):
                        to_x = pad_w[x + tap * dilation]
                        if to_x >= 0:
                            for v in range(height):
                                for u in range(width):
                                    to_u = pad_w[u + tap * dilation]
                                    if to_u >= 0:
                                        out[i, y, to_x, j, v, to_u] += weight * rows[y, x, v, u]
