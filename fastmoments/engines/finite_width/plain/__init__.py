"""Fully connected plain nets at finite width, with and without skips."""
