"""The recipe of each bundled task: network and budget, the same for all methods."""

from segue.training.recipe import Recipe

_RECIPE = Recipe(updates=4000, network_settings={"width": 512})
_RECIPES = {"push-t": Recipe(updates=4000, network_settings={"width": 512}, relative=True)}


def recipe_for(task: str) -> Recipe:
    """Recipe of a task."""
    return _RECIPES.get(task, _RECIPE)
