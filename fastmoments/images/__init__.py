"""What is fed in: the embedded sample, files, arrays, synthetic fields; layout and normalisation.

Nothing here knows a net or an engine.
"""
