"""Demonstrations: episodes of observations and actions, and the recordings that come with the package."""
