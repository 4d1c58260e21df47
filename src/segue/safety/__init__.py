"""Limits of a robot's commands, braking within them, and the ladder for when there is nothing to send. NumPy only."""
