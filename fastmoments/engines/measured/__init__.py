"""Moments of a module of PyTorch as it stands, or over its re-initialisations."""
