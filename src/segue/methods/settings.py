"""Settings of methods behind colons: read as what they are, and said in words."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from segue.errors import SpecError, UnknownNameError
from segue.policies.noise import CarriedNoise, Noise, noise_named

if TYPE_CHECKING:
    from segue.methods.methods import Method


def noise_of(found: "Method", changes: Mapping[str, Any]) -> Noise:
    """The noise of a method with other settings; carried noise is all carried unless a share is given.

    Raises:
        UnknownNameError: There is no such noise.
        SpecError: A share of noise that is not carried, or a value out of range.
    """
    name, scale = str(changes.get("noise", found.settings["noise"])), changes.get("scale", found.noise.scale)
    usual = found.noise.share if name == "carried" and isinstance(found.noise, CarriedNoise) else None
    return noise_named(name, scale, changes.get("share", usual))


def said(everyones: Mapping[str, object]) -> Iterator[str]:
    """What every method has, in words for a table."""
    match everyones.get("predictor"):
        case "none":
            yield "not predicted"
        case "learned":
            yield "predicted"
        case str(kind):
            yield f"predicted ({kind})"
    if "correction" in everyones:
        yield "not corrected" if everyones["correction"] == "none" else "corrected"
    if "noise" in everyones:
        yield f"{everyones['noise']} noise"
    if "share" in everyones:
        yield f"share {everyones['share']:g}"
    if "scale" in everyones:
        yield f"noise scale {everyones['scale']:g}"


def _type_of(found: "Method", key: str) -> type[int] | type[float]:
    """What a setting is that may be None: ``int | None`` or ``float | None``."""
    parts = (found.strategy, found.refinement)
    hints = {name: hint for part in parts if part is not None for name, hint in get_type_hints(type(part)).items()}
    return float if float in get_args(hints[key]) else int


_TRUTH = {"true": True, "false": False}


def setting(found: "Method", text: str) -> tuple[str, float | int | str]:
    """One setting, read as the type that it has."""
    key, _, given = text.partition("=")
    known = {
        each: value for each, value in found.settings.items() if value is None or isinstance(value, float | int | str)
    }
    known |= {"policy": found.policy, "correction": found.correction}
    if key not in known:
        raise UnknownNameError(f"setting of method {found.name}", key, known)
    now = known[key]
    kind: type[int] | type[float] | type[str] = _type_of(found, key) if now is None else type(now)
    try:
        return key, _TRUTH[given.lower()] if kind is bool else kind(given)
    except (LookupError, ValueError) as error:
        raise SpecError(
            got=f"{text!r} for method {found.name}",
            expected=f"{key}=<{kind.__name__}>, such as {key}={8 if now is None else now}",
            change="correct the value",
        ) from error
