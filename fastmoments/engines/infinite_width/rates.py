"""What single operations take on a walk at infinite width, as measured: the constants of its cost model.

Seconds are processor time of one thread of an AMD EPYC (Zen 4) that other programs share.
"""

from __future__ import annotations

from functools import singledispatch

from ...nets.activations import GELU, Erf, Nonlinearity, PiecewiseLinear, Sin
from ...nets.fixed import Averaging, Dropout, Fixed, Flatten, Scale
from ...nets.layer_norm import ChannelNorm
from ...nets.layers import Layer
from ...nets.linear import Conv
from ...nets.norms import BatchNorm

# In copies of the stored covariance, the larger of those before and behind a layer: a convolution and each of
# its taps along a side, a ReLU, norms of a batch and others, an average, a copy, a merge (`python -m
# bench.layer`).
CONVOLUTION, TAP, RECTIFY, NORMALISE, DIVIDE, AVERAGE, COPY, MERGE = 1.3, 0.35, 1.3, 25.0, 2.0, 1.5, 1.0, 1.5
# Likewise an activation whose dual is a closed form, another, which is expanded, and an effective rank of the
# signal. These and what follows are of `python -m bench.zoo --threads 1`.
CLOSED_FORM, EXPAND, RANK = 45.0, 600.0, 6.5
# Seconds of a scan, a layer, a batch norm and a rank however small they are.
SCAN_SECONDS, LAYER_SECONDS, NORM_SECONDS, RANK_SECONDS = 5e-3, 3e-4, 1.2e-3, 2e-3
# Of the dense eigenpairs of a batch norm and of a rank, by points cubed; of the rank of the noise, by values.
NORM_EIGENPAIRS, RANK_EIGENVALUES, NOISE_RANK = 7e-10, 4e-10, 3.5e-8
# Of noise that moves statistics, by points cubed.
SECONDS_PER_PRODUCT = 5e-9
# Of an activation behind a merge: its tables, a point, a pair of points.
TABLES, SECONDS_PER_POINT, SECONDS_PER_PAIR = 0.03, 3e-5, 5e-8
# Of a value of drawn channels: a normal deviate with its place, a copy, its part in moments, a layer and each
# of its taps, the conversion for second moments, its part in errors of ranks; and what each tap and channel
# adds that first weights see.
DEVIATE, COPIED, MOMENTS, PASSED, PASSED_TAP = 1e-8, 1e-9, 3.5e-9, 2.5e-9, 5e-10
CONVERTED, RANK_ERROR, FIRST_TAP = 4e-9, 1.3e-9, 3e-10
# Of a product of two values in double and in single precision; of a Cholesky factor, by points cubed; of an
# entry of second moments, to which every batch adds.
PRODUCT, SINGLE_PRODUCT, FACTORED, ADDED = 3e-11, 1.6e-11, 3e-11, 1.3e-7


@singledispatch
def copies(layer: Layer) -> float:
    """What a layer takes, in copies of the stored covariance."""
    return 1.0


@copies.register
def _(layer: Conv) -> float:
    return 1.0 if layer.pointwise else CONVOLUTION + TAP * layer.kernel_size


@copies.register
def _(layer: Nonlinearity) -> float:
    return EXPAND


@copies.register(Erf)
@copies.register(Sin)
def _(layer: Erf | Sin) -> float:
    return CLOSED_FORM


@copies.register
def _(layer: GELU) -> float:
    return CLOSED_FORM if layer.exact else EXPAND


@copies.register
def _(layer: PiecewiseLinear) -> float:
    return RECTIFY


@copies.register
def _(layer: BatchNorm) -> float:
    return NORMALISE if layer.statistics == "batch" else DIVIDE


@copies.register
def _(layer: ChannelNorm) -> float:
    return DIVIDE


@copies.register
def _(layer: Averaging) -> float:
    return AVERAGE


@copies.register(Flatten)
@copies.register(Scale)
@copies.register(Dropout)
def _(layer: Fixed) -> float:
    return 0.0
