"""Reads what the robot was told: the words of a ``task_index`` from ``meta/tasks``, .parquet (3.0) or .jsonl."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core import foreign
from segue.data.lerobot import tables
from segue.data.lerobot.layout import TASK, Layout
from segue.data.origin import Instructions
from segue.errors import DataError


def of(layout: Layout, rows: NDArray[np.int64]) -> tuple[Instructions, tuple[str, ...]]:
    """Look up the instruction of each frame, and make notes about them.

    Words that are missing are no reason to refuse a recording that no policy reads them of: the index stands for them.

    Args:
        layout: Of the data set.
        rows: ``task_index`` of each frame.
    """
    indices, each = np.unique(rows, return_inverse=True)
    words, notes = dict[int, str](), ()
    try:
        words = _words_of_v3(layout) if layout.in_tables else _words_of_v2(layout)
    except DataError as error:
        notes = (f"instructions have numbers for words: {error.got}",)
    texts = [words.get(int(index), f"task {index}") for index in indices]
    unique = list(dict.fromkeys(texts))
    places = np.array([unique.index(text) for text in texts], np.int64)
    return Instructions(tuple(unique), places[each.reshape(-1)]), notes


def _words_of_v3(layout: Layout) -> dict[int, str]:
    file = layout.root / "meta/tasks.parquet"
    table = tables.read(file, [TASK], ["task", "__index_level_0__"])  # pandas' name for an index without one
    words: Any = table.get("task", table.get("__index_level_0__"))
    if words is None:
        raise DataError(f"{file} without words", "a column task", "copy or download it again")
    return {int(index): str(word) for index, word in zip(table[TASK], words, strict=True)}


def _words_of_v2(layout: Layout) -> dict[int, str]:
    file = layout.root / "meta/tasks.jsonl"
    lines = foreign.read_json_lines(file)
    try:
        return {int(line[TASK]): str(line["task"]) for line in lines}
    except (ValueError, OverflowError, TypeError, KeyError) as error:
        raise foreign.unreadable(file, error) from error
