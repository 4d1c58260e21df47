"""Checks that an action and the state that it can be relative to are in one unit, where both say theirs."""

from collections.abc import Sequence

from segue.core.dimensions import Dimensions
from segue.errors import DataError


def check_units(
    actions: Dimensions,
    action_names: Sequence[str],
    states: Dimensions,
    observation_names: Sequence[str],
    state_of_action: Sequence[int | None],
) -> None:
    """Raise `DataError` where an action and its state, an index per action or None, say different units."""
    measured = states.each(len(observation_names))
    for one, name, index in zip(actions.each(len(action_names)), action_names, state_of_action, strict=True):
        if index is None:
            continue
        other = measured[index]
        if len({one.measure, other.measure} - {""}) > 1 or len({one.period, other.period} - {0.0}) > 1:
            raise DataError(
                f"action {name!r} ({one}) of the state {observation_names[index]!r} ({other})",
                "one unit: a relative action is their difference",
                "convert one of them, or correct what it is said to be",
            )
