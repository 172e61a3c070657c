"""What a net is: layers, how they nest, presets, specifications in TOML.

Frozen descriptions and their validation; geometry that every engine needs to agree on. Nothing here knows
how a layer acts on a covariance or on a sampled signal.
"""
