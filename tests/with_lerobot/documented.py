"""The commands of docs/lerobot.md, to be run as they stand there, for a shorter time."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "lerobot.md"
QUICKLY = {
    "steps": 120,
    "policy.plain_updates": 60,
    "batch_size": 16,
    "num_workers": 0,
    "log_freq": 20,
    "policy.network_settings": '{"width": 32, "depth": 1}',
}
"""What makes a training of minutes one of seconds."""


def documented(program: str, page: Path = PAGE) -> list[list[str]]:
    """Arguments of each command of a program, in the order of the page."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    words = [shlex.split(line, comments=True) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [each[1:] for each in words if each[:1] == [program]]


def changed(arguments: list[str], **settings: object) -> list[str]:
    """Arguments with other values; ``__`` stands for a dot."""
    flags = {f"--{name.replace('__', '.')}": str(value) for name, value in settings.items()}
    kept = [each for each in arguments if each.partition("=")[0] not in flags]
    return [*kept, *(f"{flag}={value}" for flag, value in flags.items())]


def value(arguments: list[str], flag: str) -> str:
    """What a flag is set to."""
    [found] = [each.partition("=")[2] for each in arguments if each.partition("=")[0] == flag]
    return found
