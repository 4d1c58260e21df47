"""The control loop that runs chunks on a robot. NumPy only."""
