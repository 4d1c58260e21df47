"""Running chunks on a robot: decisions without I/O, numpy only. Importing this package imports no torch."""
