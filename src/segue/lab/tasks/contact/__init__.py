"""Tasks of contact on a simulated Panda: wiping, writing, peeling."""
