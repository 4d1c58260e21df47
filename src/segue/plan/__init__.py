"""Which action is due: the plan of actions, when a chunk is asked for, and the delay that is expected. NumPy."""
