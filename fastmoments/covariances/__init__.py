"""The state at infinite width: covariances in blocks of image pairs, products with them, leading eigenpairs.

Knows the kernels; no layer and no engine may enter.
"""
