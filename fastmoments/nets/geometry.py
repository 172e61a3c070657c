"""Where the taps of a convolution are: padding, strides, output sizes."""

from __future__ import annotations

PADDINGS = ("periodic", "zeros", "symmetric")
