"""Writes rows as NDJSON, CSV or Parquet, one after another: how many there are does not matter to memory."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import click
import duckdb
import msgspec

from rushlight.query.exporting import JSON, TEXT, Columns, Row

MEMORY_MB = 256
# A spreadsheet takes a cell that begins like this for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


async def ndjson(rows: AsyncIterator[Row], out: IO[bytes], *, record: str | None = None) -> int:
    """One JSON object a line, without what is absent; how many.

    Args:
        record: said in each line, where rows of several kinds follow each other.
    """
    first = {"record": record} if record is not None else {}
    count = 0
    async for row in rows:
        out.write(msgspec.json.encode({**first, **{k: v for k, v in row.items() if v is not None}}, enc_hook=str))
        out.write(b"\n")
        count += 1
    return count


async def as_csv(rows: AsyncIterator[Row], columns: Columns, out: IO[bytes], *, neutral: bool = True) -> int:
    """CSV with a header; how many rows.

    Args:
        neutral: text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=False)
    writer = csv.writer(text)
    writer.writerow(columns)
    count = 0
    async for row in rows:
        writer.writerow([_cell(row.get(name), kind, neutral=neutral) for name, kind in columns.items()])
        count += 1
    text.flush()
    text.detach()
    return count


async def parquet(rows: AsyncIterator[Row], columns: Columns, target: Path) -> int:
    """A Parquet file with typed columns; how many rows. What it is made from lies beside it meanwhile."""
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as directory:
        staged = Path(directory) / "rows.csv"
        with staged.open("wb") as out:
            count = await as_csv(rows, columns, out, neutral=False)
        kinds = ", ".join(f"'{name}': '{TEXT if kind == JSON else kind}'" for name, kind in columns.items())
        config = {"memory_limit": f"{MEMORY_MB}MB", "threads": "2", "temp_directory": f"{directory}/spill"}
        offline = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        with duckdb.connect(config={**config, **offline}) as database:
            source = (
                f"read_csv({_quoted(staged)}, header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '',"
                f" auto_detect = false, parallel = false, max_line_size = 33554432, columns = {{{kinds}}})"
            )
            database.execute(
                f"COPY (SELECT * FROM {source}) TO {_quoted(target)} (FORMAT parquet, COMPRESSION zstd)"  # noqa: S608
            )
    return count


@contextmanager
def writing(path: Path | None) -> Iterator[IO[bytes]]:
    """The file, complete or not at all, or stdout."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with replacing(path) as unfinished, unfinished.open("wb") as out:
        yield out


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the other's place when that went well."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


async def write(rows: AsyncIterator[Row], columns: Columns, form: str, path: Path | None) -> int:
    """Write rows in a format; how many.

    Raises:
        UsageError: a Parquet file is not for a terminal.
    """
    if form == "parquet":
        if path is not None:
            with replacing(path) as unfinished:
                return await parquet(rows, columns, unfinished)
        if sys.stdout.isatty():
            raise click.UsageError("a Parquet file is no text: say where it goes with --output")
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "rows.parquet"
            count = await parquet(rows, columns, file)
            with file.open("rb") as made, writing(None) as out:
                shutil.copyfileobj(made, out)
            return count
    with writing(path) as out:
        return await (as_csv(rows, columns, out) if form == "csv" else ndjson(rows, out))


def _cell(value: Any, kind: str, *, neutral: bool) -> Any:
    if value is None:
        return ""
    if kind == JSON:
        return msgspec.json.encode(value, enc_hook=str).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    if neutral and kind == TEXT and isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
