"""What may be sent to a robot: limits, braking within them, and what is done when there is nothing to send. NumPy."""
