"""E f(u) f(v) of two Gaussians by quadrature over the plane: the oracle of dual activations.

u = root1 z and v = root2 (r z + s w) with s = sqrt(1 - r^2), z and w independent and standard: Gauss-Legendre
panels over z and, for every z, over w, which end where a function bends on its own scale.
"""

import numpy as np

ORDER = 14
REACH = 8.6  # standard deviations
#: Distances from 0 and from kinks, in units of the argument, at which panels end.
GRADES = 2.0 ** np.arange(-1.0, 8.0)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(ORDER)
COARSE = np.array([-REACH, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, REACH])


def panels(marks):
    """Nodes and weights, the Gaussian density in them, of panels that end at marks along the last axis."""
    marks = np.clip(marks, -REACH, REACH)
    coarse = np.broadcast_to(COARSE, (*marks.shape[:-1], COARSE.size))
    edges = np.sort(np.concatenate([coarse, marks], axis=-1), axis=-1)
    half, middle = 0.5 * np.diff(edges)[..., None], 0.5 * (edges[..., 1:] + edges[..., :-1])[..., None]
    z = (middle + half * NODES).reshape(*marks.shape[:-1], -1)
    return z, (half * WEIGHTS).reshape(z.shape) * np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)


def bends(kinks):
    """Where a function of these kinks bends, in units of its argument."""
    steps = np.concatenate([[0.0], GRADES, -GRADES])
    return np.unique((np.array([0.0, *kinks])[:, None] + steps).ravel())


def expectations(functions, kinks, q1, q2, r):
    """E f(u) f(v) of each function, for variances q1 and q2 and the correlation r."""
    root1, root2, s = np.sqrt(q1), np.sqrt(q2), np.sqrt(max((1.0 - r) * (1.0 + r), 0.0))
    marks = [bends(kinks) / root1]
    if r:
        marks.append(bends(kinks) / (root2 * r))
    if r and kinks and s:  # which the integral over w smooths to the width s
        widths = np.concatenate([[0.0], GRADES, -GRADES]) * s
        marks.append(((np.array(kinks)[:, None] / root2 + widths) / r).ravel())
    z, weights = panels(np.concatenate(marks))
    if s == 0.0:
        return np.array([(weights * f(root1 * z)) @ f(np.sign(r) * root2 * z) for f in functions])
    w, inner = panels((bends(kinks) / root2 - r * z[:, None]) / s)
    v = root2 * (r * z[:, None] + s * w)
    return np.array([(weights * f(root1 * z)) @ (inner * f(v)).sum(1) for f in functions])


def triples(count, seed, most=4.0):
    """Variances from 1e-6 to 10^most; of the correlations a tenth each are 1, -1, 0, nearly 1, nearly -1."""
    rng = np.random.default_rng(seed)
    for trial in range(count):
        q1, q2 = 10.0 ** rng.uniform(-6.0, most, 2)
        near = 1.0 - 10.0 ** rng.uniform(-12.0, -1.0)
        r = [1.0, -1.0, 0.0, near, -near][trial % 10] if trial % 10 < 5 else rng.uniform(-1.0, 1.0)
        yield q1, q2, r
