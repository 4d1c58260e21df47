"""Settings of `segue train` in a TOML file: its options by their names, and the tables of the recipe.

    task = "adroit-door"        options of the command, with _ for -
    updates = 6000
    [network_settings]          and [family_settings], [vision], [training]: fields of `Recipe`
    width = 512

The command line comes before the file, and the file before the task's recipe.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from segue.errors import SpecError, UnknownNameError

if TYPE_CHECKING:
    from segue.training.recipe import Recipe

TABLES = ("network_settings", "family_settings", "vision", "training")
_NOT_IN_FILES = ("config", "fresh", "help")


def read(file: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        SpecError: It is missing, or no TOML.
    """
    from segue.core import foreign

    try:
        return msgspec.toml.decode(foreign.text(file, kind=SpecError))
    except ImportError as error:
        raise SpecError(f"{file}: {error}", "the package tomli, before Python 3.11", "pip install tomli") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise SpecError(f"{file}: {error}", "TOML, as in docs/training.md", "correct it") from error


def taken_from(context: typer.Context, file: Path | None) -> Path | None:
    """Make what a file says the defaults of the command; called before other options are read.

    Raises:
        SpecError: The file is missing, or no TOML.
        UnknownNameError: There is no such setting.
    """
    if file is None:
        return None
    said = read(file)
    options = {str(each.name) for each in context.command.params} - {*_NOT_IN_FILES}
    for name, value in said.items():
        if name not in options | {*TABLES}:
            raise UnknownNameError("setting", name, options | {*TABLES}, listed="the help of the command")
        if (name in TABLES) != isinstance(value, dict):
            expected = f"a table, [{name}]" if name in TABLES else "a value"
            raise SpecError(f"{name} = {value!r} in {file}", expected, "correct it, see docs/training.md")
    context.default_map = {name: value for name, value in said.items() if name not in TABLES}
    return file


def applied(file: Path | None, recipe: "Recipe", **steps: Any) -> "Recipe":
    """Lay the tables of a file over a recipe, and what is said of its training on top of them.

    Tables of another network or family than the recipe's are left out.

    Raises:
        SpecError: A value is of another type, or out of bounds.
        UnknownNameError: There is no such field.
    """
    from segue.policies.config import Vision
    from segue.training.config import TrainingConfig

    said = {} if file is None else read(file)
    changes = {name: said[name] for name in TABLES if name in said}
    for name, made in (("training", TrainingConfig), ("vision", Vision)):
        known = [each.name for each in fields(made)]
        for key in changes.get(name, {}):
            if key not in known:
                raise UnknownNameError(f"setting of [{name}]", key, known)
    for name, of in (("network_settings", "network"), ("family_settings", "family")):
        if said.get(of, getattr(recipe, of)) != getattr(recipe, of):
            changes.pop(name, None)
    if "training" in changes:
        try:
            changes["training"] = msgspec.convert(
                {**asdict(recipe.training), **changes["training"]}, TrainingConfig, strict=True
            )
        except msgspec.ValidationError as error:
            raise SpecError(f"[training] of {file}: {error}", "fields of `TrainingConfig`", "correct it") from error
    recipe = replace(recipe, **changes)
    return replace(recipe, training=replace(recipe.training, **steps)) if steps else recipe


def write(file: Path, said: Mapping[str, Any]) -> None:
    """Write settings so that `--config` reads the same; what is None or an empty table is left out."""
    lines, tables = [], []
    for name, value in said.items():
        if isinstance(value, Mapping):
            tables += _table(_key(name), value)
        elif value is not None:
            lines.append(f"{_key(name)} = {_value(value)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".writing")
    aside.write_text("\n".join([*lines, *tables, ""]), encoding="utf-8")
    aside.replace(file)


def _table(name: str, content: Mapping[str, Any]) -> list[str]:
    plain = {key: value for key, value in content.items() if not isinstance(value, Mapping) and value is not None}
    deeper = {key: value for key, value in content.items() if isinstance(value, Mapping)}
    lines = ["", f"[{name}]", *(f"{_key(key)} = {_value(value)}" for key, value in plain.items())]
    lines = lines if plain else []
    return lines + [line for key, value in deeper.items() for line in _table(f"{name}.{_key(key)}", value)]


def _value(value: Any) -> str:
    """A number, a text or a list as TOML has it, which is how JSON has it."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)
