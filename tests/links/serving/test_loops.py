"""Which event loop a server runs on."""

import asyncio
import sys
from collections.abc import Coroutine
from types import ModuleType
from typing import Any

import pytest

from segue.links.serving import loops


@pytest.mark.parametrize("there", [True, False])
def test_the_loop_is_that_of_uvloop_where_it_is_installed_and_asyncios_elsewhere(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, uvloop = list[str](), ModuleType("uvloop")

    def run(main: Coroutine[Any, Any, None]) -> None:
        ran.append("uvloop")
        asyncio.run(main)

    async def main() -> None:
        ran.append("main")

    monkeypatch.setattr(uvloop, "run", run, raising=False)
    monkeypatch.setitem(sys.modules, "uvloop", uvloop if there else None)
    loops.run(main())
    assert ran == (["uvloop", "main"] if there else ["main"])
