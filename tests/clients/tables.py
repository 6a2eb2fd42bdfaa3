"""csv, pandas and DuckDB read from a CSV table the values that the same rows have in NDJSON."""

import csv
import io
import json
import pathlib
import re
import tempfile

import duckdb
import pandas
import requests
from scene import BIG, EXAMPLE, PATIENCE_SECONDS, UUIDS, WEBINAR, key_of, once

CALLER = "tables"
# The demo's meeting with odd values.
ODD = "95550001111"
MEETINGS = [EXAMPLE, BIG, WEBINAR, ODD, UUIDS["two slashes first"]]
# A spreadsheet may treat a cell that begins with one of these characters as a formula.
FORMULA = tuple("=+-@\t\r\n")
DUCKDB = "from read_csv($file, header = true, all_varchar = true, nullstr = '', delim = ',', quote = '\"', escape = '\"', new_line = '\\r\\n')"


class Digits(str):
    """A number as it is written, so that no digit is lost."""


def check(scene):
    for meeting in MEETINGS:
        for rows in ("sample", "group"):
            query = {"type": "past", "rows": rows}
            text = fetch(scene, meeting, {**query, "format": "csv"}).content
            lines = fetch(scene, meeting, {**query, "format": "ndjson"}).content.decode().splitlines()
            expected = [json.loads(line, parse_float=Digits, parse_int=Digits) for line in lines]
            for reader in (by_csv, by_pandas, by_duckdb):
                found = reader(text)
                yield from (f"{meeting}, rows={rows}, {reader.__name__}: {finding}" for finding in differences(found, expected))
            yield from (f"{meeting}, rows={rows}: {finding}" for finding in numbers(text, expected))
            yield from controls(text, expected)


def fetch(scene, meeting, query):
    headers = {"Authorization": f"Bearer {key_of(CALLER)}"}
    answer = requests.get(f"http://{scene.service.callers}/qos/{once(meeting)}", query, headers=headers, timeout=PATIENCE_SECONDS)
    answer.raise_for_status()
    return answer


def by_csv(text):
    return list(csv.DictReader(io.StringIO(text.decode(), newline=""), strict=True))


def by_pandas(text):
    return pandas.read_csv(io.BytesIO(text), dtype=str, keep_default_na=False).to_dict("records")


def by_duckdb(text):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "rows.csv")
        file.write_bytes(text)
        result = duckdb.connect().execute(DUCKDB, {"file": str(file)})
        names = [column[0] for column in result.description]
        return [dict(zip(names, (value or "" for value in row))) for row in result.fetchall()]


def differences(found, expected):
    if len(found) != len(expected):
        yield f"{len(found)} rows instead of {len(expected)}"
    for number, (row, values) in enumerate(zip(found, expected)):
        if missing := values.keys() - row.keys():
            yield f"row {number}: no column {sorted(missing)}"
        for name, cell in row.items():
            if not is_same(cell, values.get(name)):
                return (yield f"row {number}, {name}: {cell!r} instead of {values.get(name)!r}")


def is_same(cell, value):
    if isinstance(value, list) and not any(isinstance(each, (dict, list)) for each in value):
        joined = ";".join(plain(each) for each in value)
        return cell == (f"'{joined}" if joined.startswith(FORMULA) else joined)
    if isinstance(value, (dict, list)):
        return json.loads(cell, parse_float=Digits, parse_int=Digits) == value
    text = plain(value)
    guarded = isinstance(value, str) and not isinstance(value, Digits) and text.startswith(FORMULA)
    return cell == (f"'{text}" if guarded else text)


def plain(value):
    if isinstance(value, str):
        # Half of a surrogate pair cannot be encoded in UTF-8.
        return re.sub("[\ud800-\udfff]", "\ufffd", value)
    return {None: "", True: "true", False: "false"}[value]


def numbers(text, expected):
    """pandas, without options, must read the measurements of a table as numbers."""
    table = pandas.read_csv(io.BytesIO(text), low_memory=False)
    for name in table.columns:
        written = [row.get(name) for row in expected]
        # pandas reads a column as text if it has an integer beyond 64 bits, or anything but numbers.
        fits = all(value is None or isinstance(value, Digits) and abs(float(value)) < 2**63 for value in written)
        if fits and name.endswith(("_ms", "_percent", "_kbps", "_fps")):
            read = [None if pandas.isna(value) else float(value) for value in table[name]]
            if read != [None if value is None else float(value) for value in written]:
                yield f"{name}: {read[:9]} instead of {written[:9]}"


def controls(text, expected):
    """A finding for each deliberate mistake that is not noticed."""
    first = next(name for name, value in expected[0].items() if isinstance(value, Digits))
    spoilt = [{**expected[0], first: Digits(f"{expected[0][first]}0")}, *expected[1:]]
    for name, rows in {"a digit more": spoilt, "a row less": expected[1:]}.items():
        if not list(differences(by_csv(text), rows)):
            yield f"control: no difference was found: {name}"
