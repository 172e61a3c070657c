"""Moments of random nets by simulation: the ground truth of the other engines."""
