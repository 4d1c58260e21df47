"""The recipe of each task: network and budget, the same for all methods."""

from dataclasses import replace

from segue.lab.tasks.tasks import task
from segue.training.config import TrainingConfig, own_elapsed
from segue.training.recipe import Recipe

_RECIPE = Recipe(updates=4000, network_settings={"width": 512})
_PUSH_T = replace(_RECIPE, relative=True)
_OWN = {
    "push-t": _PUSH_T,
    # Looking at a picture costs more than answering: small batches, and eight pairs of noise and time for each
    "push-t-pixels": replace(_PUSH_T, updates=10_000, training=TrainingConfig(batch=64, draws=8)),
}


def recipe_for(name: str) -> Recipe:
    """Recipe of a task; where long chunks are executed for longer, its own chunks are looked at for longer too."""
    elapsed = own_elapsed(task(name).execution_horizon)
    return _OWN.get(name, replace(_RECIPE, training=TrainingConfig(own_elapsed=elapsed)))
