"""The recipe of each bundled task: network and budget, the same for all methods."""

from dataclasses import replace

from segue.training.config import TrainingConfig
from segue.training.recipe import Recipe

_RECIPE = Recipe(updates=4000, network_settings={"width": 512})
_PUSH_T = Recipe(updates=4000, network_settings={"width": 512}, relative=True)
_RECIPES = {
    "push-t": _PUSH_T,
    # Pictures cost what they cost: fewer, smaller batches
    "push-t-pixels": replace(_PUSH_T, updates=2000, training=TrainingConfig(batch=128)),
}


def recipe_for(task: str) -> Recipe:
    """Recipe of a task."""
    return _RECIPES.get(task, _RECIPE)
