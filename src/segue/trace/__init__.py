"""Traces of runs: recorded, read again, replayed, measured, and told in words. NumPy only."""
