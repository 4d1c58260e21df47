"""What others add to Segue without changing it: objects by ``module:Name``, and short names of installed packages.

A package names what it adds in its metadata, so that whoever installs it has a method or a task more:

    [project.entry-points."segue.methods"]
    lean = "my_package.lean:Lean"
"""

import hashlib
import importlib
import inspect
import os
import sys
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from segue.errors import SpecError, UnknownNameError


def imported_module(name: str, what: str) -> Any:
    """A module that is installed or lies in the current folder, as `python -m` would find it.

    Args:
        name: With dots.
        what: Needs it, for the error.

    Raises:
        SpecError: There is no such module. An error inside of the module stays as it is.
    """
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # processes that are spawned later get the path with it
    absent = SpecError(
        got=f"no module {name!r}, for {what}",
        expected=f"one that is installed, or lies in the current folder, {here}",
        change="go to the folder of the module, or install its package",
    )
    if not name or name.startswith("."):
        raise absent
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise  # it is there, and imports something that is not
        raise absent from error


def imported(target: str, what: str) -> Any:
    """The object that ``module:Name`` stands for.

    Raises:
        SpecError: There is no such module.
        UnknownNameError: The module has no such name.
    """
    module, _, name = target.partition(":")
    found = imported_module(module, what)
    if not hasattr(found, name):
        raise UnknownNameError(f"name in module {module}", name, [each for each in vars(found) if each[0] != "_"])
    return getattr(found, name)


@cache
def installed(group: str) -> Mapping[str, EntryPoint]:
    """Short names that installed packages add, such as those of the group ``segue.methods``."""
    return {each.name: each for each in entry_points(group=group)}


def named(group: str, name: str, what: str) -> Any:
    """The object behind a short name of `installed`, or else behind ``module:Name``."""
    target = installed(group)[name].value if name in installed(group) else name
    return imported(target, what)


def made(make: Callable[[], Any], target: str, what: str) -> Any:
    """What a class or a function of somebody's makes without arguments.

    Raises:
        SpecError: It takes arguments.
    """
    try:
        inspect.signature(make).bind()
    except (TypeError, ValueError) as error:
        raise SpecError(
            got=f"{what} {target!r} ({error})",
            expected="a class or a function that takes no arguments",
            change="give each of its arguments a default",
        ) from error
    return make()


@cache
def source_of(thing: Any) -> str:
    """Hash of the code that a class or a function is defined in: all of its package, or the modules beside its own.

    Of code that is in no file, such as that of a notebook, it is another one in every process.
    """
    module = sys.modules.get(getattr(thing, "func", thing).__module__)  # of a partial, what it calls
    file = getattr(module, "__file__", None)
    if module is None or file is None or not Path(file).is_file():
        return uuid.uuid4().hex
    root = module.__name__.partition(".")[0]
    package = getattr(sys.modules.get(root), "__path__", None)
    folders = [Path(each) for each in package] if package else [Path(file).parent]
    digest = hashlib.sha256()
    for folder in folders:
        for each in sorted(folder.rglob("*.py") if package else folder.glob("*.py")):
            digest.update(os.fsencode(each.relative_to(folder)) + b"\0" + each.read_bytes())
    return digest.hexdigest()
