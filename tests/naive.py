"""Naive formulas, one line to one equation, against which every kernel is tested."""

import itertools
import math

import numpy as np
from scipy.integrate import quad_vec

NUMPY_PADDING = {"periodic": "wrap", "zeros": "constant", "symmetric": "symmetric"}


def covariance(rng, images, height, width, features=None):
    """A covariance (n, h, w, n, h, w) with a mean, from factors; and the factors."""
    features = features or 3 * images * height * width
    x = rng.standard_normal((images, height, width, features)) + rng.standard_normal(features)
    x *= rng.uniform(0.3, 2.0, (images, height, width, 1))
    return np.einsum("iabf,jcdf->iabjcd", x, x) / features, x


def fits(conv, *sizes):
    """Whether a kernel is not larger than padded images."""
    reach = (conv.kernel_size - 1) * conv.dilation + 1
    return conv.pad is None or all(reach <= size + 2 * conv.pad for size in sizes)


def pad_amounts(size, conv):
    """Outputs, padding before and behind: by TensorFlow's SAME rule, by PyTorch's where `pad` is given."""
    reach = (conv.kernel_size - 1) * conv.dilation + 1
    if conv.pad is not None:
        return (size + 2 * conv.pad - reach) // conv.stride + 1, conv.pad, conv.pad
    out = -(-size // conv.stride)
    total = max((out - 1) * conv.stride + reach - size, 0)
    return out, total // 2, total - total // 2


def convolve(full, conv):
    """K'_pq = gain sum_t v_t K_(p+t),(q+t) / sum_t v_t + bias variance, by padding, tap by tap."""
    size = conv.kernel_size
    profile = (
        np.ones((size, size)) if conv.weights.tap_variances is None else np.array(conv.weights.tap_variances)
    )
    profile = profile / profile.sum()
    n, h, w = full.shape[:3]
    (oh, top, bottom), (ow, left, right) = pad_amounts(h, conv), pad_amounts(w, conv)
    # A kernel beyond the image (stride) leaves nothing to pad, so the padded array is cut as it needs.
    widths = [(0, 0), (top, bottom), (left, right)] * 2
    padded = np.pad(full, widths, mode=NUMPY_PADDING[conv.padding])
    total = np.zeros((n, oh, ow, n, oh, ow))
    for s in range(conv.kernel_size):
        for t in range(conv.kernel_size):
            rows = slice(s * conv.dilation, s * conv.dilation + (oh - 1) * conv.stride + 1, conv.stride)
            columns = slice(t * conv.dilation, t * conv.dilation + (ow - 1) * conv.stride + 1, conv.stride)
            total += profile[s, t] * padded[:, rows, columns][:, :, :, :, rows, columns]
    return conv.weights.gain * total + conv.weights.bias_variance


def flat(full):
    """(n, h, w, n, h, w) as a matrix over points."""
    points = int(np.prod(full.shape[:3]))
    return full.reshape(points, points)


def draw_variance(shape, *convs):
    """Of log mu2 of white noise on images (n, h, w, c), seen behind layers, over draws: by single pixels."""
    images, height, width, channels = shape
    weights = []
    for pixel in np.eye(height * width):
        full = np.diag(pixel).reshape((1, height, width) * 2)
        for conv in convs:
            full = convolve(full, conv)
        weights.append(np.trace(flat(full)))
    return 2.0 * np.sum(np.square(weights)) / (np.sum(weights) ** 2 * images * channels)


def correlation(matrix):
    roots = np.sqrt(np.diag(matrix))
    r = np.clip(matrix / np.outer(roots, roots), -1.0, 1.0)
    np.fill_diagonal(r, 1.0)
    return r, np.outer(roots, roots)


def k0(r):
    """(pi - acos r) / 2 pi."""
    return (np.pi - np.arccos(r)) / (2 * np.pi)


def k1(r):
    """(sqrt(1 - r^2) + (pi - acos r) r) / 2 pi."""
    return (np.sqrt((1 - r) * (1 + r)) + (np.pi - np.arccos(r)) * r) / (2 * np.pi)


def mask(matrix):
    """k0 of the correlations."""
    return k0(correlation(matrix)[0])


def relu(matrix):
    """sqrt(K_pp K_qq) k1(r)."""
    r, scale = correlation(matrix)
    return scale * k1(r)


def activated(matrix, slopes):
    """E phi phi' of two slopes, quadrant by quadrant: where one sign is turned, so is the correlation."""
    r, scale = correlation(matrix)
    above, below = slopes
    return scale * ((above**2 + below**2) * k1(r) - 2.0 * above * below * k1(-r))


def mask_of(matrix, slopes):
    """E of the product of derivatives, likewise."""
    r = correlation(matrix)[0]
    above, below = slopes
    return (above**2 + below**2) * k0(r) + 2.0 * above * below * k0(-r)


def gaussian_pair(f, r, degree):
    """E f(u, v) of standard Gaussians of correlation r, f homogeneous of an even degree, by its definition.

    In polar coordinates E rho^degree = 2^(degree / 2) (degree / 2)! times the mean of f over the angle, which
    is integrated between the angles at which u or v changes its sign.
    """
    turn = np.arccos(r)
    ends = np.sort(
        np.r_[
            0.0, np.pi / 2, 3 * np.pi / 2, turn + np.pi / 2, (turn + 3 * np.pi / 2) % (2 * np.pi), 2 * np.pi
        ]
    )
    nodes, weights = np.polynomial.legendre.leggauss(24)
    mean = 0.0
    for low, high in itertools.pairwise(ends):
        angles = 0.5 * (low + high) + 0.5 * (high - low) * nodes
        mean += 0.5 * (high - low) * weights @ f(np.cos(angles), np.cos(angles - turn)) / (2 * np.pi)
    return 2.0 ** (degree // 2) * math.factorial(degree // 2) * mean


def centre(matrix):
    h = np.eye(len(matrix)) - 1.0 / len(matrix)
    return h @ matrix @ h


class BatchNorm:
    """The exact finite-batch formula by adaptive quadrature over log s, with dense matrices."""

    def __init__(self, matrix, epsilon):
        self.values, self.vectors = np.linalg.eigh(centre(matrix))
        self.values = np.maximum(self.values, 0.0)
        self.points, self.epsilon = len(matrix), epsilon
        self.level = self.values.sum() / self.points + epsilon

    def integral(self, f, power=0.0):
        """int s^power w(s) f(S_s) ds."""

        def integrand(u):
            s = np.exp(u) / self.level
            damping = 1.0 + 2.0 * s * self.values / self.points
            weight = np.exp(-s * self.epsilon) / np.sqrt(np.prod(damping))
            at = (self.vectors * (self.values / damping)) @ self.vectors.T
            return s ** (1.0 + power) * weight * f(at)

        return sum(quad_vec(integrand, a, b, epsabs=1e-12, epsrel=1e-11)[0] for a, b in
                   ((-36, -8), (-8, -2), (-2, 0), (0, 2), (2, 6), (6, 14), (14, 36)))  # fmt: skip

    def linear(self):
        return self.integral(lambda m: m)

    def relu(self):
        return self.integral(relu)

    def mask(self):
        return self.integral(mask)

    def inverse_variance(self):
        return self.integral(lambda m: np.ones(1))[0]

    def mu4(self):
        return self.integral(lambda m: np.array([np.mean(3 * np.diag(m) ** 2)]), 1.0)[0]

    def nu1(self):
        root = self.integral(lambda m: np.array([np.mean(np.sqrt(2 / np.pi * np.diag(m)))]), -0.5)[0]
        return root / np.sqrt(np.pi)


def averages(pool, size):
    """Weights of the positions along a side in each window of an AvgPool, window by window."""
    stride = pool.stride or pool.size
    if pool.pad is None:
        count = -(-size // stride)
        first = -(max((count - 1) * stride + pool.size - size, 0) // 2)
    else:
        count, first = (size + 2 * pool.pad - pool.size) // stride + 1, -pool.pad
    weights = np.zeros((count, size))
    for window in range(count):
        seen = [
            p for p in range(first + window * stride, first + window * stride + pool.size) if 0 <= p < size
        ]
        weights[window, seen] = 1.0 / (pool.size if pool.pad is not None else len(seen))
    return weights


def average(full, down, across):
    """(P K P')_((i,a,b),(j,c,d)): all positions of one window meet all of the other."""
    return np.einsum("au,bv,iuvjxy,cx,dy->iabjcd", down, across, full, down, across)


def flatten(full):
    """K'_ij = mean over positions of K_(i,a),(j,a), shape (n, 1, 1, n, 1, 1)."""
    n, h, w = full.shape[:3]
    return np.einsum("iabjab->ij", full).reshape(n, 1, 1, n, 1, 1) / (h * w)


def channel_norm(matrix, mean, images, epsilon, image):
    """E of the product of (y - m) / sqrt(v + epsilon), m and v over channels, or over positions as well."""
    mean_squares = np.diag(matrix)
    m, square = mean, mean_squares
    if image:
        m, square = (np.repeat(x.reshape(images, -1).mean(1), len(x) // images) for x in (mean, square))
    product = matrix - np.outer(mean, m) - np.outer(m, mean) + np.outer(m, m)
    deviation = np.sqrt(square - m**2 + epsilon)
    return product / np.outer(deviation, deviation), deviation
