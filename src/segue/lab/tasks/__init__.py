"""Third-party simulators as robots, and the tasks that are set in them."""
