"""From a net and images to curves, a verdict and a file: `scan`, `verify`, results, journals, costs.

Knows the engines by `engines.protocol`; nothing here draws.
"""
