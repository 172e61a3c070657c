"""What a layer does to a covariance, one file a kind of layer, and what only these need beside them.

Knows nets, covariances and kernels; no station, no walk over a net and no engine may enter.
"""
