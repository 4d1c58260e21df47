"""Predictors of what is seen at the takeover."""
