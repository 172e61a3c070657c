"""Figures of scans and histograms, with matplotlib; loaded only when something is drawn."""
