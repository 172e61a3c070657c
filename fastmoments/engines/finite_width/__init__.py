"""Means and deviations over random nets of a given width, without sampling: docs/finite-width.md."""
