"""Convolutional plain nets at finite width."""
