"""Pure functions and frozen values: chunks, the one flow sampler, schedule weights, smoothness."""
