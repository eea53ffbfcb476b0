"""Files of galleries: what is written, and what is made of files that are damaged, hostile or somebody else's."""

import json
import random
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from facesvc.core.types import Added, Entry
from facesvc.errors import FileUnreadable, ImportInvalid
from facesvc.exchange.layout import KEY, schema
from facesvc.exchange.reader import CHUNK, NAMED, GalleryFile, Import, RowRules
from facesvc.files import replacing
from facesvc.pipeline.decode import sniff
from tests.support.databases import VERSION
from tests.support.galleryfiles import JPEG, bare, entry, header, people, values, write_file

RULES = RowRules(VERSION, 1.0, photograph_bytes=100, sniff=sniff)


def read(path: Path, rules: RowRules = RULES) -> tuple[Import, list[Entry]]:
    """What an import would store, and its report."""
    stored: list[Entry] = []

    def add(entries: Any) -> Added:
        stored.extend(entries)
        return Added(references=len(entries))

    run = Import(rules)
    with closing(GalleryFile(path)) as file:
        run.run(file, add, lambda: None)
    return run, stored


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "staff.parquet"


# --- what is written ------------------------------------------------------------------------------------


def test_a_file_gives_back_what_it_was_given(path: Path) -> None:
    went = [entry(1, "ada", JPEG), entry(2, "ada"), bare("bob"), entry(3, "Zoë 😀")]
    written = write_file(path, went)
    assert (written.subjects, written.references, written.photographs) == (3, 3, 1)
    run, found = read(path)
    assert (values(found), run.refused.total()) == (values(went), 0)
    with closing(GalleryFile(path)) as file:
        assert (file.header, file.rows) == (header(), 4)


def test_others_can_read_it(path: Path) -> None:
    """Plain columns, for pyarrow, pandas, DuckDB, ..."""
    write_file(path, [entry(1), bare("bob")])
    table = parquet.read_table(path)
    first, second = table.to_pylist()
    assert table.schema.equals(schema())
    assert (first["subject"], first["display_name"], first["reference"]) == ("ada", "Ada", f"ref_{1:026x}")
    assert json.loads(first["subject_metadata"]) == {"subject": "ada", "half": 0.5}
    assert (len(first["vector"]), first["quality_reasons"], first["quality"]["face_size"]) == (
        128,
        "face_blurred",
        113.5,
    )
    assert {name: value for name, value in second.items() if value is not None}.keys() == {
        "subject", "subject_metadata", "subject_created_at",
    }  # fmt: skip


def test_an_empty_gallery(path: Path) -> None:
    write_file(path, [])
    assert read(path)[1] == []


def test_row_groups_end_with_their_photographs(path: Path) -> None:
    """Memory is bounded by bytes where photographs are large, by rows where there are none."""
    large = bytes(12 * 2**20)
    write_file(path, (entry(seed, photograph=b"%d" % seed + large) for seed in range(7)))
    file = parquet.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [3, 3, 1]
    write_file(path, people(5001))
    file = parquet.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [5000, 1]


def test_a_file_is_there_whole_or_not_at_all_and_private(path: Path) -> None:
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), replacing(path) as stream:  # noqa: PT012
        stream.write(b"half")
        raise ZeroDivisionError
    assert [(file.name, file.read_bytes()) for file in path.parent.iterdir()] == [(path.name, b"before")]
    with replacing(path) as stream:
        stream.write(b"after")
    assert [(file.name, file.read_bytes()) for file in path.parent.iterdir()] == [(path.name, b"after")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(OSError, match="No such file or directory"), replacing(path.parent / "none" / "x.parquet"):
        pytest.fail("there is no such folder")


# --- files that are not ours ------------------------------------------------------------------------------


def altered(path: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    write_file(path, [entry(1), bare("bob")])
    table = change(parquet.read_table(path))
    parquet.write_table(table, path)
    return path


def renamed(table: pa.Table) -> pa.Table:
    names = ["who" if name == "subject" else name for name in table.column_names]
    return table.rename_columns(names).replace_schema_metadata(table.schema.metadata)


def retyped(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        i = table.column_names.index(name)
        return table.set_column(i, name, pa.nulls(len(table), kind))

    return change


def headed(value: bytes | None) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.replace_schema_metadata(None if value is None else {KEY: value})


def with_header(**changed: Any) -> bytes:
    return json.dumps({**json.loads(header().to_metadata()[KEY]), **changed}).encode()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (renamed, "column subject is not there"),
        (lambda table: table.drop_columns(["vector"]), "column vector is not there"),
        (lambda table: table.append_column("subject", table["subject"]), "column subject is not there"),
        (retyped("vector", pa.list_(pa.float32(), 127)), "column vector is fixed_size_list<element: float>[127]"),
        (retyped("vector", pa.list_(pa.float64(), 128)), "column vector is fixed_size_list<element: double>[128]"),
        (retyped("subject", pa.int64()), "column subject is int64, not string"),
        (retyped("created_at", pa.string()), "column created_at is string, not timestamp[us, tz=UTC]"),
        (retyped("quality", pa.float64()), "column quality is double, not struct"),
        (headed(None), "no gallery that facesvc exported"),
        (headed(b"{"), "header is damaged"),
        (headed(b"[1]"), "header is damaged"),
        (headed(b"[" * 10**5), "header is damaged"),
        (headed(b"{}"), "header is damaged"),
        (headed(b'{"format": 1}'), "header is damaged"),
        (headed(with_header(format=2)), "format is 2, this release reads 1"),
        (headed(with_header(template_version=None)), "values of the wrong type"),
        (headed(with_header(keep_photographs="yes")), "values of the wrong type"),
        (headed(with_header(metadata=[])), "values of the wrong type"),
        (headed(with_header(norm=-1)), "values of the wrong type"),
        (headed(with_header(norm=float("nan"))), "values of the wrong type"),
    ],
)  # fmt: skip
def test_another_layout(path: Path, change: Callable[[pa.Table], pa.Table], said: str) -> None:
    with pytest.raises(ImportInvalid, match=re.escape(said)) as caught:
        GalleryFile(altered(path, change))
    assert caught.value.detail.startswith(f"{path}: ")


def test_columns_of_ones_own_are_passed_over(path: Path) -> None:
    """And so is their order."""
    altered(
        path, lambda table: table.append_column("notes", table["subject"]).select([*table.column_names[::-1], "notes"])
    )
    assert values(read(path)[1]) == values([entry(1), bare("bob")])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"subject,vector\nada,1\n", JPEG, b"PAR1" + bytes(100) + b"PAR1"])
def test_no_parquet(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ImportInvalid, match="it is no Parquet file, or a damaged one"):
        GalleryFile(path)


def test_files_that_can_not_be_opened(path: Path) -> None:
    for wrong, said in ((path, "No such file or directory"), (path.parent, "Is a directory")):
        with pytest.raises(FileUnreadable, match=re.escape(said)):
            GalleryFile(wrong)


def test_cut_anywhere(path: Path) -> None:
    write_file(path, people(20))
    whole = path.read_bytes()
    for length in range(0, len(whole), 997):
        path.write_bytes(whole[:length])
        with pytest.raises(ImportInvalid):
            read(path)


def test_a_flipped_bit_in_a_page_is_noticed(path: Path) -> None:
    """Of 300 flips none changes a vector unnoticed: pages have checksums, and the footer that has none can only be
    refused, or changed in what nothing is stored from."""
    went = people(20)
    write_file(path, went)
    whole, chance, refused = path.read_bytes(), random.Random(4), 0
    for position in chance.choices(range(len(whole)), k=300):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        try:
            assert values(read(path)[1]) == values(went)
        except ImportInvalid:
            refused += 1
    assert refused > 200


def test_damage_further_on_leaves_what_came_before(path: Path) -> None:
    """The first row group is stored, the second one is named."""
    write_file(path, people(6000))
    whole = bytearray(path.read_bytes())
    second = parquet.ParquetFile(path).metadata.row_group(1).column(7)
    whole[second.data_page_offset + 200] ^= 1
    path.write_bytes(whole)
    stored: list[Entry] = []

    def add(entries: Any) -> Added:
        stored.extend(entries)
        return Added(references=len(entries))

    run = Import(RULES)
    with closing(GalleryFile(path)) as file, pytest.raises(ImportInvalid, match="row group 2 of 2 is damaged"):
        run.run(file, add, lambda: None)
    assert values(stored) == values(people(6000)[: 5000 // CHUNK * CHUNK])


def test_a_row_group_that_is_too_large(path: Path) -> None:
    text = pa.array(np.zeros(2**20 + 1, np.int8)).cast(pa.string())
    columns = [text if kind.name == "subject" else pa.nulls(len(text), kind.type) for kind in schema()]
    described = schema().with_metadata(header().to_metadata())
    parquet.write_table(pa.Table.from_arrays(columns, schema=described), path, row_group_size=2**21)
    with pytest.raises(ImportInvalid, match="row group 1 is larger than any that facesvc writes"):
        read(path)


def test_a_value_repeated_stays_one_value_in_memory(path: Path) -> None:
    """A file of some kilobytes that claims 10 GB of photographs: dictionary pages make that easy."""
    bomb = entry(1, photograph=bytes(10**6))
    described = schema().with_metadata(header().to_metadata())
    write_file(path, [bomb])
    row = parquet.read_table(path)
    table = pa.concat_tables([row] * 10_000).cast(described)
    parquet.write_table(table, path, use_dictionary=["photograph"], dictionary_pagesize_limit=2**21, compression="zstd")
    assert path.stat().st_size < 10**6
    whole, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(pool)
    try:
        run, stored = read(path)
    finally:
        pa.set_memory_pool(whole)
    assert 10**6 < pool.max_memory() < 10**8
    assert (dict(run.refused), stored, len(run.named)) == ({"photograph_too_large": 10_000}, [], NAMED)


# --- rows that can't be taken ---------------------------------------------------------------------------------


REFUSALS: dict[str, tuple[str, dict[str, Any]]] = {
    "no subject": ("value_missing", {"subject": None}),
    "slash": ("subject_invalid", {"subject": "a/b"}),
    "control": ("subject_invalid", {"subject": "a\x00b"}),
    "long": ("subject_invalid", {"subject": "a" * 129}),
    "no UTF-8": ("subject_invalid", {"subject": b"a\xffb"}),
    "long name": ("display_name_invalid", {"display_name": "a" * 257}),
    "NUL in a name": ("display_name_invalid", {"display_name": "\x00"}),
    "name of no UTF-8": ("display_name_invalid", {"display_name": b"\xed\xa0\x80"}),
    "no JSON": ("metadata_invalid", {"subject_metadata": "{"}),
    "no object": ("metadata_invalid", {"subject_metadata": "[]"}),
    "infinite": ("metadata_invalid", {"subject_metadata": '{"a": 1e999}'}),
    "deep": ("metadata_invalid", {"subject_metadata": "[" * 10**5}),
    "surrogate": ("metadata_invalid", {"subject_metadata": '{"a": "\\ud800"}'}),
    "no metadata": ("value_missing", {"subject_metadata": None}),
    "no moment": ("value_missing", {"subject_created_at": None}),
    "year 10000": ("moment_invalid", {"created_at": 2**62}),
    "reference without vector": ("value_missing", {"vector": None}),
    "vector without reference": ("value_missing", {"reference": None}),
    "strange id": ("reference_id_invalid", {"reference": "../../etc/passwd"}),
    "strange digest": ("digest_invalid", {"image_sha256": "A" * 64}),
    "another version": ("template_version_mismatch", {"template_version": "sha256:other"}),
    "NaN": ("vector_not_finite", {"vector": [float("nan")] * 128}),
    "infinity": ("vector_not_finite", {"vector": [float("inf")] * 128}),
    "null in a vector": ("vector_not_finite", {"vector": [None] * 128}),
    "zero": ("vector_length_invalid", {"vector": [0.0] * 128}),
    "too long": ("vector_length_invalid", {"vector": [0.0885] * 128}),
    "box": ("box_not_finite", {"box": [0.0, 0.0, 1.0, float("nan")]}),
    "landmarks": ("landmarks_not_finite", {"landmarks": [float("-inf")] * 10}),
    "score": ("score_invalid", {"score": float("nan")}),
    "quality": ("quality_invalid", {"quality": {"face_size": None}}),
    "unknown reason": ("quality_invalid", {"quality_reasons": "face_blurred;face_ugly"}),
    "photograph of another digest": ("photograph_altered", {"photograph": JPEG + b"."}),
    "large photograph": ("photograph_too_large", {"photograph": bytes(101)}),
}


def columns_of(rows: list[dict[str, Any]]) -> Iterator[pa.Array]:
    for field in schema():
        cells = [row[field.name] for row in rows]
        if pa.types.is_string(field.type):
            raw = [cell.encode() if isinstance(cell, str) else cell for cell in cells]
            # no copy: what is no UTF-8 gets into the file as it may in a hostile one
            yield pa.Array.from_buffers(pa.string(), len(raw), pa.array(raw, pa.binary()).buffers())
        else:
            yield pa.array(cells, field.type)


@pytest.mark.parametrize("name", REFUSALS)
def test_a_row_that_can_not_be_taken(path: Path, name: str) -> None:
    """It is counted and named; the rows around it are taken."""
    code, changed = REFUSALS[name]
    write_file(path, [entry(1), entry(2, "bob", JPEG), bare("eve")])
    rows = parquet.read_table(path).to_pylist()
    rows[1] |= changed
    described = schema().with_metadata(header().to_metadata())
    parquet.write_table(pa.Table.from_arrays(list(columns_of(rows)), schema=described), path)
    run, found = read(path)
    assert values(found) == values([entry(1), bare("eve")])
    assert dict(run.refused) == {code: 1}
    assert [(named["row"], named["code"]) for named in run.named] == [(2, code)]
    json.dumps(run.named).encode()


@pytest.mark.parametrize("photograph", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<script>", b"%PDF-1.7", b""])
def test_photographs_that_are_none(path: Path, photograph: bytes) -> None:
    """They would be served to browsers one day."""
    write_file(path, [entry(1, photograph=photograph)])
    run, found = read(path)
    assert (dict(run.refused), found) == ({"photograph_invalid": 1}, [])


def test_the_length_that_vectors_must_have(path: Path) -> None:
    """The pack's, where it is known."""
    write_file(path, [entry(1)])
    assert len(read(path, RowRules(VERSION, None, 100, sniff))[1]) == 1
    assert len(read(path, RowRules(VERSION, 1.0009, 100, sniff))[1]) == 1
    run, _ = read(path, RowRules(VERSION, 2.466, 100, sniff))
    assert run.named == [
        {
            "row": 1,
            "subject": "ada",
            "code": "vector_length_invalid",
            "detail": "vector has length 1, the pack's is 2.466",
        }
    ]
