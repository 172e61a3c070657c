"""Ordered or chaotic: where signals of a plain net of one activation tend to, over gain and bias variance.

Knows activations and their expansion, files and figures; no engine, no images.
"""
