"""Columns of a parquet file as arrays, whatever shape the file gives them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core import foreign
from segue.data.lerobot.layout import pyarrow_parquet
from segue.errors import DataError

_MOST = 10**9
"""Numbers of a column: a few bytes can stand for any number of equal ones."""


def read(file: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Columns as arrays; a column of lists of one length becomes a matrix.

    Args:
        file: An ordinary file, or a link to one.
        columns: That it must have.
        optional: Those that are left out where it has none.

    Raises:
        DataError: The file is missing or damaged, or has no such column.
    """
    parquet = pyarrow_parquet()
    import pyarrow

    foreign.regular(file)
    try:
        described = parquet.read_metadata(file)
        present = described.schema.to_arrow_schema().names
        missing = [name for name in columns if name not in present]
        if missing:
            raise DataError(
                f"{file} without the column {missing[0]!r}; it has {', '.join(present)}",
                "the columns that info.json lists",
                "copy or download it again, or name others with --action and --state",
            )
        _check_size(file, described)
        wanted = list(dict.fromkeys([*columns, *(name for name in optional if name in present)]))
        table = parquet.read_table(file, columns=wanted, partitioning=None)
        return {name: _array(file, name, table.column(name)) for name in wanted}
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
        raise foreign.unreadable(file, error) from error


def _check_size(file: Path, described: Any) -> None:
    """Raise `DataError` where a file holds more than is read, before it is."""
    for group in range(described.num_row_groups):
        rows = described.row_group(group)
        values = max((rows.column(index).num_values for index in range(rows.num_columns)), default=0)
        if values > _MOST or described.num_rows > _MOST:
            raise DataError(
                got=f"{file} of {described.num_rows} rows, {values} values in one column",
                expected=f"at most {_MOST}",
                change="it is damaged, or no recording: copy or download it again",
            )


def check_numbers(file: Path, table: Mapping[str, NDArray[Any]], columns: Sequence[str]) -> None:
    """Raise `DataError` unless some columns have a number in each row."""
    for name in columns:
        column = table[name]
        if column.ndim != 1 or column.dtype.kind not in "fiu" or not np.isfinite(column).all():
            raise DataError(
                got=f"column {name!r} of type {column.dtype} and shape {column.shape} in {file}",
                expected="a finite number in each row, as LeRobot writes it",
                change="copy or download the data set again",
            )


def _array(file: Path, name: str, column: Any) -> NDArray[Any]:
    """A column of numbers as it is, lists of one length as a matrix, further axes laid out flat; a null is NaN."""
    import pyarrow

    values = _plain(column.combine_chunks())
    rows = len(values)
    width = 1
    nested = False
    while hasattr(values.type, "value_type") and not pyarrow.types.is_dictionary(values.type):
        nested = True
        values, each = _inner(file, name, values)
        width *= each
        values = _plain(values)
    if pyarrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pyarrow.types.is_decimal(values.type):
        values = values.cast(pyarrow.float64())
    found = values.to_numpy(zero_copy_only=False)
    if found.dtype == object and all(each is None or isinstance(each, bool) for each in found):
        found = np.array([np.nan if each is None else float(each) for each in found])
    return found.reshape(rows, width) if nested else found


def _plain(values: Any) -> Any:
    """Without the name that an extension gives to a type, such as a tensor of fixed shape."""
    import pyarrow

    if isinstance(values, pyarrow.ChunkedArray):
        values = values.combine_chunks()
    return values.storage if isinstance(values.type, pyarrow.BaseExtensionType) else values


def _inner(file: Path, name: str, values: Any) -> tuple[Any, int]:
    """Lay the lists of a column out one after the other, and say how long each is; a null list is one of nulls."""
    import pyarrow

    if pyarrow.types.is_fixed_size_list(values.type):
        size = values.type.list_size
    else:
        lengths = np.unique(values.drop_null().value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise DataError(
                got=f"column {name!r} in {file} with rows of lengths {[int(each) for each in lengths[:8]]}",
                expected="one length",
                change="copy or record it again",
            )
        size = int(lengths[0]) if len(lengths) else 0
    if values.null_count:
        values = values.fill_null([None] * size)
    return values.flatten(), size
