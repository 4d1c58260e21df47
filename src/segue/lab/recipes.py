"""The recipe of each bundled task: network and budget, the same for all methods."""

from dataclasses import replace

from segue.lab.tasks.tasks import CONTACT, task
from segue.training.config import TrainingConfig, own_elapsed
from segue.training.recipe import Recipe

_RECIPE = Recipe(updates=4000, network_settings={"width": 512})
_PUSH_T = Recipe(updates=4000, network_settings={"width": 512}, relative=True)
_RECIPES = {
    "push-t": _PUSH_T,
    # Pictures cost what they cost: fewer, smaller batches
    "push-t-pixels": replace(_PUSH_T, updates=2000, training=TrainingConfig(batch=128)),
    # Long chunks are executed for longer.
    **{
        name: replace(_RECIPE, training=TrainingConfig(own_elapsed=own_elapsed(task(name).execution_horizon)))
        for name in CONTACT
    },
}


def recipe_for(name: str) -> Recipe:
    """Recipe of a task."""
    return _RECIPES.get(name, _RECIPE)
