"""Scans for every combination of parameters: items, workers, a ledger of what is done, the table.

Knows scans and plots; nothing knows a sweep but the command line.
"""
