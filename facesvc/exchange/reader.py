"""Reads a gallery's file, a row group at a time. The file may be anything: damaged, hostile, somebody else's."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from facesvc.errors import FileUnreadable, ImportInvalid
from facesvc.exchange.layout import ARRAYS, MEASURES, TEXTS, Header, header, schema
from facesvc.exchange.sealing import Sealing, is_sealed

Record = dict[str, Any]
"""A row by column: text as str (lone surrogates stand for bytes that are no UTF-8), arrays as float32, moments as
microseconds since 1970, quality as a tuple of numbers; None where there is nothing."""

GROUP_ROWS = 2**20
GROUP_BYTES = 2**30
"""Largest row group that is read: what it says it holds, uncompressed. Ours have 5,000 rows, or some 50 MB."""
LIMITS: dict[str, Any] = {
    "thrift_string_size_limit": 64 * 2**20,
    "thrift_container_size_limit": 2**20,
    "pre_buffer": False,
}
"""Of the file's own descriptions, bytes and elements."""


class GalleryFile:
    """``header``: the file's; ``rows``: their number; iterating gives (row number from 1, Record), a row group in
    memory at a time. Raises FileUnreadable, and ImportInvalid at once or where damage is met."""

    def __init__(self, path: Path, sealing: Sealing | None = None) -> None:
        """sealing: what an encrypted file is opened with; raises what its wrapper raises."""
        self.path = path
        opening: dict[str, Any] = {"decryption_properties": sealing.reading()} if sealing else {}
        with self._blamed("it is no Parquet file, or a damaged one"), ExitStack() as undo:
            if sealing is None and is_sealed(path):
                raise ImportInvalid("it is encrypted: give its passphrase")
            self._stream = undo.enter_context(path.open("rb"))
            described = parquet.ParquetFile(self._stream, **opening, **LIMITS)
            self.header: Header = header(described.metadata.metadata)
            _require_columns(described.schema_arrow)
            self._file = parquet.ParquetFile(
                self._stream,
                metadata=described.metadata,
                read_dictionary=[*TEXTS, "photograph"],  # a value repeated a million times stays one value in memory
                page_checksum_verification=True,
                **opening,
                **LIMITS,
            )
            self.rows: int = self._file.metadata.num_rows
            undo.pop_all()

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        number = 0
        for group in range(self._file.metadata.num_row_groups):
            with self._blamed(f"row group {group + 1} of {self._file.metadata.num_row_groups} is damaged"):
                self._require_size(group)
                records = _records(self._file.read_row_group(group))
            for record in records:
                number += 1
                yield number, record

    def close(self) -> None:
        self._stream.close()

    @contextmanager
    def _blamed(self, what: str) -> Iterator[None]:
        """Whatever pyarrow makes of a strange file is the file's fault, said with its name."""
        try:
            yield
        except ImportInvalid as error:
            raise ImportInvalid(f"{self.path}: {error.detail}") from error
        except OSError as error:
            if error.errno:  # the system's own: no such file, no permission
                raise FileUnreadable(f"{self.path}: {error.strerror or error}") from error
            raise ImportInvalid(f"{self.path}: {what}") from error
        except (pa.ArrowException, ValueError, KeyError, OverflowError, MemoryError) as error:
            raise ImportInvalid(f"{self.path}: {what}") from error

    def _require_size(self, group: int) -> None:
        described = self._file.metadata.row_group(group)
        if described.num_rows > GROUP_ROWS or described.total_byte_size > GROUP_BYTES:
            raise ImportInvalid(f"row group {group + 1} is larger than any that facesvc writes")


def _require_columns(found: pa.Schema) -> None:
    """Ours are there, once each, of our types; others may be too."""
    for wanted in schema():
        if found.names.count(wanted.name) != 1:
            raise ImportInvalid(f"column {wanted.name} is not there, or more than once")
        kind = found.field(wanted.name).type
        if kind != wanted.type:
            raise ImportInvalid(f"column {wanted.name} is {kind}, not {wanted.type}")


def _records(table: pa.Table) -> list[Record]:
    names = schema().names
    columns = [_values(name, table.column(name).combine_chunks()) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(name: str, column: Any) -> list[Any]:
    if isinstance(column, pa.ChunkedArray):  # without a row
        return []
    if name in TEXTS:
        return _looked_up(column, text=True)
    if name == "photograph":
        return _looked_up(column, text=False)
    if name in ARRAYS:
        return _arrays(column, ARRAYS[name])
    if name == "quality":
        parts = [column.field(measure).to_pylist() for measure in MEASURES]
        present = column.is_valid().to_pylist()
        return [values if there else None for values, there in zip(zip(*parts, strict=True), present, strict=True)]
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_pylist()
    return column.to_pylist()


def _looked_up(column: Any, text: bool) -> list[Any]:
    """Values of a dictionary-encoded column; equal ones are one object."""
    known = column.dictionary.cast(pa.binary()).to_pylist()
    if text:
        known = [value.decode("utf-8", "surrogateescape") for value in known]
    return [None if i is None else known[i] for i in column.indices.to_pylist()]


def _arrays(column: Any, length: int) -> list[Any]:
    present = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    found: list[Any] = [None] * len(column)
    flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)  # null elements are NaN
    for i, values in zip(present, flat.reshape(-1, length), strict=True):
        found[i] = values
    return found
