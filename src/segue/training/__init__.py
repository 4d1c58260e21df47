"""The training loop, its recipe, and checkpoints."""
