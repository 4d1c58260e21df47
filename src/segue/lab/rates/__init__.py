"""Policies of a high and a low action rate, compared in the simulator of the high rate."""
