"""What a command is told about the demonstrations that it reads."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from segue.data import choice, files
from segue.data.episodes import Episodes


@dataclass(frozen=True)
class Reading:
    """Options of every command that reads demonstrations, as `segue.data.files.load` takes them."""

    rate: float | None = None
    state: str | None = None
    action: str | None = None
    cameras: tuple[str, ...] = ()
    episodes: tuple[int, ...] | None = None
    skip_bad: bool = False
    fill_missing: bool = False
    kind: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        rate: float | None,
        state: str | None,
        action: str | None,
        episodes: str | None,
        skip_bad: bool,
        fill_missing: bool,
        kind: Sequence[str] | None,
        cameras: str | None = None,
    ) -> "Reading":
        """From the words of the command line; names and numbers are separated by commas.

        Raises:
            DataError: The episodes are no numbers.
        """
        named = choice.separated(cameras, "--cameras") if cameras else ()
        chosen = None if episodes is None else choice.parsed(episodes)
        return cls(rate, state, action, named, chosen, skip_bad, fill_missing, tuple(kind or ()))

    @property
    def given(self) -> tuple[str, ...]:
        """Options that are not as they are without a word."""
        plain = Reading()
        names = [each.name for each in fields(self) if getattr(self, each.name) != getattr(plain, each.name)]
        return tuple("--" + name.replace("_", "-") for name in names)

    def load(self, path: Path) -> Episodes:
        """The demonstrations. Raises `DataError` as `segue.data.files.load`."""
        return files.load(path, **asdict(self))
