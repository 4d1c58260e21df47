"""Settings of all tests: property tests without a deadline, and one torch thread per test process."""

import torch
from hypothesis import settings

# How long an example takes depends on what else the machine does; a test must not.
settings.register_profile("segue", deadline=None)
settings.load_profile("segue")

# Test processes run side by side, and more threads than cores only get into each other's way.
torch.set_num_threads(1)
