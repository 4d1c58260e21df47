"""What happened in a run: recorded, read again, replayed, measured, and told in words. NumPy only."""
