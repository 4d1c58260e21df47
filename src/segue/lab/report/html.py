"""Pages: one template filled in, written as one HTML file that opens offline."""

from pathlib import Path
from typing import Any

from segue.errors import MissingExtraError

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
except ImportError as error:
    raise MissingExtraError("jinja2", "report", "writing the report") from error


def write_page(path: Path, template: str, **blocks: Any) -> Path:
    """Write a page of the common frame: title, facts, what the template puts between, and provenance.

    Args:
        path: The HTML file; its folder is made if it does not exist.
        template: One of ``templates`` that extends the frame.
        blocks: What the template shows; ``title``, ``facts`` and ``provenance`` (names and texts) in every one.

    Returns:
        ``path``.
    """
    environment = Environment(
        loader=PackageLoader("segue.lab.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals["columns"] = columns
    text = environment.get_template(template).render(blocks)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def columns(count: int) -> int:
    """Up to four panels beside each other, so many that the last row is as full as can be."""
    return max(
        range(1, min(count, 4) + 1), key=lambda each: (each > 1, ((count - 1) % each + 1) / each, each), default=1
    )
