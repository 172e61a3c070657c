"""Nets with batch norm in every layer at finite width."""
