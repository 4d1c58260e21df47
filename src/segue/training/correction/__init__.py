"""Trainings of what changes actions when they are due, see `segue.core.correction`."""
