"""Moments of an infinitely wide random net, analytically: exact but for what `Station.error` estimates."""
