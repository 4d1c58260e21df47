"""What to install where a command needs a package that is not there."""

from collections.abc import Iterator
from contextlib import contextmanager

from segue.errors import MissingExtraError

_EXTRAS = {
    "learn": ("torch", "safetensors", "accelerate"),
    "lab": ("matplotlib", "jinja2", "markupsafe", "scipy", "mujoco", "gymnasium"),
}


@contextmanager
def said_what_to_install(purpose: str) -> Iterator[None]:
    """Raise `MissingExtraError` for a package of an extra that cannot be imported, whoever imports it.

    Args:
        purpose: What needs the package, for the message.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        for extra, packages in _EXTRAS.items():
            if package in packages:
                raise MissingExtraError(package, extra, purpose) from error
        raise
