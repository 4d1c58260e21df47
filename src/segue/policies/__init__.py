"""Policies: an encoder gives the context of an observation, a network the velocity of a chunk."""
