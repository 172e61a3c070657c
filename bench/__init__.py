"""Benchmarks and comparisons with recorded results; not installed. See README.md."""
