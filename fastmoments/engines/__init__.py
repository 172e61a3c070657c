"""What walks through a net and yields its stations: at infinite width, at a finite one, by sampling.

Every engine yields the record of `protocol`; it prints nothing and writes nothing.
"""
