"""Objects by ``module:Name``: what is found, what is said where it is not, and whose code they are made of."""

import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from segue.core import plugins
from segue.errors import SpecError, UnknownNameError

Put = Callable[[str, str], str]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Write a module into the current folder, which is not on the path yet; it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each != ""])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_a_module_of_the_current_folder_is_found(put: Put) -> None:
    put("found_here", "ANSWER = 42\n")
    assert plugins.imported("found_here:ANSWER", "a test") == 42
    assert sys.path[0] == str(Path.cwd())


def test_a_missing_module_names_the_folder_that_was_looked_in(put: Put) -> None:
    put("found_here", "")
    for name in ("nowhere_at_all", "found_here.inner", ".relative", ""):
        with pytest.raises(SpecError) as error:
            plugins.imported(f"{name}:Name", "a test")
        assert str(Path.cwd()) in str(error.value)


def test_what_a_module_cannot_import_is_its_own_error(put: Put) -> None:
    put("broken_inside", "import nowhere_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        plugins.imported("broken_inside:Name", "a test")


def test_a_missing_name_suggests_a_close_one(put: Put) -> None:
    put("found_here", "class Leaning: ...\n")
    with pytest.raises(UnknownNameError, match="did you mean 'Leaning'"):
        plugins.imported("found_here:Leaming", "a test")


def test_a_short_name_of_a_package_stands_for_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"inf": EntryPoint("inf", "math:inf", "segue.methods")}
    monkeypatch.setattr(plugins, "installed", lambda group: short if group == "segue.methods" else {})
    assert plugins.named("segue.methods", "inf", "a test") == float("inf")
    assert plugins.named("segue.tasks", "math:pi", "a test") == pytest.approx(3.14159, abs=1e-5)


def test_what_takes_arguments_cannot_be_made() -> None:
    assert plugins.made(lambda: 3, "m:f", "method") == 3
    with pytest.raises(SpecError, match="a default"):
        plugins.made(lambda x: x, "m:f", "method")  # type: ignore[arg-type,misc]


def test_the_hash_of_a_source_changes_with_it_and_with_its_neighbours(put: Put) -> None:
    def hashed() -> str:
        plugins.source_of.cache_clear()
        return plugins.source_of(made)

    put("neighbour", "X = 1\n")
    made = plugins.imported(put("mine", "import neighbour\nclass Mine: ...\n") + ":Mine", "a test")
    first = hashed()
    assert hashed() == first == plugins.source_of(partial(made))
    put("neighbour", "X = 2\n")
    second = hashed()
    put("mine", "import neighbour\nclass Mine: ...  # other\n")
    assert len({first, second, hashed()}) == 3


def test_the_hash_of_a_package_is_of_all_of_it(put: Put, tmp_path: Path) -> None:
    (tmp_path / "pack" / "deep").mkdir(parents=True)
    put("pack/__init__", "class Mine: ...\n")
    put("pack/deep/__init__", "")
    made = plugins.imported("pack:Mine", "a test")
    first = plugins.source_of(made)
    put("pack/deep/__init__", "X = 1\n")
    plugins.source_of.cache_clear()
    assert plugins.source_of(made) != first


def test_code_in_no_file_is_never_the_same() -> None:
    namespace: dict[str, type] = {}
    exec("class Mine: ...", {"__name__": "in_no_file"}, namespace)
    first = plugins.source_of(namespace["Mine"])
    plugins.source_of.cache_clear()
    assert plugins.source_of(namespace["Mine"]) != first
