"""Doors to the tools that people have: names, shapes, flow time, and nothing of the mathematics."""
