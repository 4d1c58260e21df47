"""Finds the file of each episode: by the lists of the data set, or by the rows when they are not there."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from segue.core import foreign
from segue.data.choice import Choice, short
from segue.data.lerobot import tables, video
from segue.data.lerobot.layout import Layout
from segue.errors import DataError


@dataclass(frozen=True)
class Span:
    """Place of one episode: its file, and by camera its video."""

    episode: int
    length: int
    file: Path
    shots: Mapping[str, video.Shot] = field(default_factory=dict)


def spans(layout: Layout, filmed: Sequence[str], choice: Choice) -> list[Span]:
    """Find the episodes that are wanted, by index.

    Args:
        layout: Of the data set.
        filmed: Cameras that are kept as video.
        choice: Which are wanted.

    Raises:
        DataError: A list is missing or damaged, or does not name the episodes that ``info.json`` counts.
    """
    found = _spans_of_v3(layout, filmed, choice) if layout.in_tables else _spans_of_v2(layout, filmed, choice)
    return _where_they_are(layout, found)


def _spans_of_v2(layout: Layout, filmed: Sequence[str], choice: Choice) -> list[Span]:
    """Versions 2.0 and 2.1: one file per episode, lengths in ``episodes.jsonl``."""
    file = layout.root / "meta/episodes.jsonl"
    lines = foreign.read_json_lines(file)
    try:
        listed = [(int(line["episode_index"]), int(line["length"])) for line in lines]
    except (ValueError, OverflowError, TypeError, KeyError) as error:
        raise foreign.unreadable(file, error) from error
    size = layout.count("chunks_size", 1000)
    found = list[Span]()
    for episode, length in _wanted(layout, file, listed, choice):
        with choice.trying([episode]):
            place = layout.place("data_path", {"episode_chunk": episode // size, "episode_index": episode})
            shots = {key: video.shot_of_v2(layout, key, episode, episode // size) for key in filmed}
            found.append(Span(episode, length, place, shots))
    return found


def _spans_of_v3(layout: Layout, filmed: Sequence[str], choice: Choice) -> list[Span]:
    """Version 3.0: many episodes per file, their places in ``meta/episodes``."""
    folder = layout.root / "meta/episodes"
    columns = ["episode_index", "length", "data/chunk_index", "data/file_index", *video.columns(filmed)]
    rows = dict[int, Mapping[str, Any]]()
    listed = list[tuple[int, int]]()
    for file in sorted(folder.glob("*/*.parquet")):
        table = tables.read(file, columns)
        tables.check_numbers(file, table, columns[:4])
        for values in zip(*(table[name] for name in columns), strict=True):
            row = dict(zip(columns, values, strict=True))
            listed.append((int(row["episode_index"]), int(row["length"])))
            rows[int(row["episode_index"])] = row
    if not listed:
        raise DataError(
            f"no episodes in {folder}", "parquet files that list them", "copy or download the data set again"
        )
    found = list[Span]()
    for episode, length in _wanted(layout, folder, listed, choice):
        with choice.trying([episode]):
            row = rows[episode]
            numbers = {"chunk_index": int(row["data/chunk_index"]), "file_index": int(row["data/file_index"])}
            shots = {key: video.shot_of_v3(layout, key, row, length) for key in filmed}
            found.append(Span(episode, length, layout.place("data_path", numbers), shots))
    return found


def _wanted(
    layout: Layout, source: Path, listed: Sequence[tuple[int, int]], choice: Choice
) -> Iterable[tuple[int, int]]:
    """Episodes and their lengths by index; unless some are chosen, none missing, as many as ``info.json`` says."""
    listed = sorted(listed)
    indices = [episode for episode, _ in listed]
    total = layout.count("total_episodes", max(len(listed), 1))
    twice = sorted({one for one, other in itertools.pairwise(indices) if one == other})
    whole = not twice and len(indices) == total and indices == list(range(total))
    if twice or (not whole and choice.wanted is None and not choice.skip_bad):
        found = set(indices)
        missing = list(itertools.islice((episode for episode in range(total) if episode not in found), 7))
        raise DataError(
            got=f"episodes {short(indices)} in {source}" + (f", without {short(missing)}" if missing else ""),
            expected=f"the {total} episodes that {layout.file} counts, each once",
            change="copy or download the data set again; where episodes were removed on purpose, --skip-bad reads the "
            "others, and --episodes 0-4,7 those that it names",
        )
    if choice.wanted is None:
        most = max([*indices, min(total, len(indices) + 1000) - 1])  # a count beyond all measure is not counted through
        choice.left_out.update({index: "it is not in the list" for index in set(range(most + 1)) - set(indices)})
    lengths = dict(listed)
    for episode in choice.of(indices, str(layout.root)):
        if lengths[episode] < 1:
            with choice.trying([episode]):
                raise DataError(
                    f"episode {episode} of length {lengths[episode]} in {source}", "at least 1", "remove it"
                )
        else:
            yield episode, lengths[episode]


def _where_they_are(layout: Layout, found: list[Span]) -> list[Span]:
    """Look for an episode that is not in the file it is said to be in, in the others of the data set.

    Metadata that was merged, split or renamed by hand often names a file that the rows are not in. Each row says to
    which episode it belongs, so that they are found wherever they are, if all of an episode is in one file.
    """
    # A file per episode is opened once anyway, when it is read; that it holds another one shows there.
    present = {file: _present(file) for file in ({span.file for span in found} if layout.in_tables else ())}
    lost = {span.episode for span in found if span.episode not in (present.get(span.file) or {span.episode})}
    lost |= {span.episode for span in found if not span.file.is_file()}
    if not lost:
        return found
    holding = defaultdict[int, list[Path]](list)
    for file in sorted((layout.root / "data").glob("**/*.parquet")):
        for episode in present.get(file) or _present(file) or ():
            holding[episode].append(file)
    return [
        replace(span, file=holding[span.episode][0])
        if span.episode in lost and len(holding[span.episode]) == 1
        else span
        for span in found
    ]


def _present(file: Path) -> set[int] | None:
    """Episodes that have rows in a file; None for one that cannot be read, which is said when it has to be."""
    try:
        column = tables.read(file, ["episode_index"])["episode_index"]
    except DataError:
        return None
    return {int(each) for each in np.unique(column)} if column.dtype.kind in "iu" else None


def by_file(found: Sequence[Span]) -> dict[Path, list[tuple[Span, int]]]:
    """Episodes of each data file, each with its first frame among all; files need not follow the order of episodes."""
    files = defaultdict[Path, list[tuple[Span, int]]](list)
    first = 0
    for span in found:
        files[span.file].append((span, first))
        first += span.length
    return files
