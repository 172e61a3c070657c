"""Jitted inner loops: arrays in, arrays out; no objects, no validation, no exceptions."""
