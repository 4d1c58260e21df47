"""Evaluation: rollouts in virtual time, the metrics of an episode, and statistics over episodes."""
