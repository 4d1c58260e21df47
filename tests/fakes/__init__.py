"""Robots, policies, servers and oracles that the tests work with; nothing here is a test."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
