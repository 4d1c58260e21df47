"""Reaching a policy: in a process of its own through shared memory, or on a server through WebSockets. NumPy only."""
