"""The two oracles, PostgreSQL 15 and DuckDB, and how their values look in our output."""

import base64
import datetime as dt
import decimal
import json
import os
import re
import subprocess

PG = dict(
    host=os.environ.get("PGHOST", "127.0.0.1"),
    port=os.environ.get("PGPORT", "54399"),
    user=os.environ.get("PGUSER", "postgres"),
)

# SQLSTATE class → our record error code. A failed CAST is `invalid_cast` whatever PostgreSQL calls it.
STATES = {
    "22012": "division_by_zero",
    "22003": "overflow",
    "22P02": "invalid_cast",
    "22007": "invalid_cast",
    "22008": "invalid_cast",
    "2201E": "invalid_argument",
    "2201F": "invalid_argument",
    "22023": "invalid_argument",
    "2201B": "invalid_argument",
    "2201G": "invalid_argument",
    "22026": "invalid_argument",
    "22011": "invalid_argument",
    "22025": "invalid_argument",
    "54000": "invalid_argument",
    "22021": "invalid_argument",
}


class OracleError(Exception):
    """What the oracle refused, with its SQLSTATE."""

    def __init__(self, state, text):
        super().__init__(f"{state}: {text}")
        self.state = state


def dumps(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def double(value):
    """`~` tells the runner to compare as numbers: the spelling of a double is the encoder's own test."""
    value = float(value)
    if value != value:
        return '"NaN"'
    if value in (float("inf"), float("-inf")):
        return '"Infinity"' if value > 0 else '"-Infinity"'
    return "~" + repr(value)


def fraction(digits):
    """No digits, three or six."""
    digits = (digits or "").rstrip("0")
    if not digits:
        return ""
    return "." + digits.ljust(3 if len(digits) <= 3 else 6, "0")


def timestamp(text):
    m = re.fullmatch(r"(\d{4,6}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:\+00|Z)?", text)
    if not m:
        raise ValueError(f"timestamp {text!r}")
    return dumps(f"{m[1]}T{m[2]}{fraction(m[3])}Z")


def time(text):
    m = re.fullmatch(r"(\d\d:\d\d:\d\d)(?:\.(\d+))?", text)
    return dumps(m[1] + fraction(m[2]))


def from_postgres(kind, text, as_json):
    """Our JSON for one PostgreSQL value: its type's name, its text, its JSON."""
    if text is None:
        return "null"
    if kind == "boolean":
        return {"t": "true", "f": "false"}.get(text, text)
    if kind in ("smallint", "integer", "bigint"):
        return text
    if kind == "numeric":
        return dumps(text) if text in ("NaN", "Infinity", "-Infinity") else text
    if kind in ("real", "double precision"):
        return double(text)
    if kind.startswith("timestamp"):
        return timestamp(text)
    if kind.startswith("time"):
        return time(text)
    if kind == "bytea":
        return dumps(base64.b64encode(bytes.fromhex(text[2:])).decode())
    if kind in ("json", "jsonb"):
        found = json.loads(text)
        if isinstance(found, dict) and list(found) == ["near"]:
            return double(found["near"]).replace("~", "≈") if found["near"] is not None else "null"
        return json_text(text)
    if kind.endswith("[]"):
        inner = kind[:-2]
        return "[" + ",".join(
            from_postgres(inner, None if v is None else str(v) if isinstance(v, (str, decimal.Decimal)) else dumps(v), v)
            for v in as_json) + "]"
    return dumps(text)


def json_text(text):
    """JSON without spaces, numbers as they were written."""
    return dumps_numbers(json.loads(text, parse_float=Number, parse_int=Number))


class Number(str):
    pass


def dumps_numbers(v):
    if isinstance(v, Number):
        return str(v)
    if isinstance(v, list):
        return "[" + ",".join(map(dumps_numbers, v)) + "]"
    if isinstance(v, dict):
        return "{" + ",".join(dumps(k) + ":" + dumps_numbers(x) for k, x in v.items()) + "}"
    return dumps(v)


def outside_strings(sql, change):
    """Applies `change` to what stands outside '…' literals."""
    parts = re.split(r"('(?:[^']|'')*')", sql)
    return "".join(p if i % 2 else change(p) for i, p in enumerate(parts))


def to_postgres(sql):
    def change(s):
        s = re.sub(r"\bDOUBLE\b(?! PRECISION)", "DOUBLE PRECISION", s)
        s = re.sub(r"\bSTRING\b", "TEXT", s)
        s = re.sub(r"\bnear\(", "pg_temp.near(", s)
        s = re.sub(r"\b(?:BYTES)\b", "BYTEA", s)
        s = re.sub(r"\bTRY_CAST\b", "CAST", s)
        return re.sub(r"ARRAY<([\w ]+)>", r"\1[]", s)

    return outside_strings(sql, change)


class Postgres:
    """One psql, fed one script; answers come back as lines of JSON."""

    def __init__(self):
        self.script = [
            "\\set VERBOSITY verbose",
            "\\set ON_ERROR_STOP off",
            "SET timezone = 'UTC';",
            "SET intervalstyle = 'iso_8601';",
            "SET client_min_messages = error;",
            "SET extra_float_digits = 1;",
            # Marks a value of which the last digits depend on the order of computation.
            "CREATE FUNCTION pg_temp.near(x float8) RETURNS json LANGUAGE sql IMMUTABLE AS "
            "$$ SELECT json_build_object('near', x::text) $$;",
        ]
        self.count = 0

    def setup(self, sql):
        self.script.append("\\warn @@-1\n" + (sql if sql.endswith((";", "\n")) else sql + ";"))

    def table(self, name, columns, lines):
        """A table with the rows of some NDJSON lines, in order."""
        self.setup(f"DROP TABLE IF EXISTS {name}")
        self.setup(f"CREATE TEMP TABLE {name} (_row serial, {to_postgres(columns)})")
        names = ", ".join(column_names(columns))
        for line in lines:
            quoted = line.replace("'", "''")
            self.setup(f"INSERT INTO {name} ({names}) SELECT {names} FROM json_populate_record(NULL::{name}, '{quoted}')")

    def ask(self, columns, tail=""):
        """Number of the answer to `SELECT columns tail`."""
        n = self.count
        self.count += 1
        inner = ", ".join(f"({to_postgres(c)}) AS x{i}" for i, c in enumerate(columns))
        shown = ", ".join(
            f"json_build_array(pg_typeof(x{i})::text, x{i}::text, to_json(x{i}))" for i in range(len(columns)))
        self.script.append(f"\\echo @@{n}\n\\warn @@{n}")
        self.script.append(f"SELECT json_build_array({shown}) FROM (SELECT {inner} {to_postgres(tail)}) _s;")
        return n

    def ask_query(self, sql):
        """Number of the answer to a whole query: lines `name|type`, then the rows as JSON objects."""
        n = self.count
        self.count += 1
        self.script.append(f"\\echo @@{n}\n\\warn @@{n}")
        self.script.append(to_postgres(sql) + " \\gdesc")
        self.script.append(f"SELECT row_to_json(_s) FROM ({to_postgres(sql)}) _s;")
        return n

    def run(self):
        """All answers: the lines of each, or an OracleError."""
        command = ["psql", "-qAtX", "-h", PG["host"], "-p", PG["port"], "-U", PG["user"], "-d", "postgres"]
        done = subprocess.run(command, input="\n".join(self.script), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        out, err = sections(done.stdout), sections(done.stderr)
        if err.get(-1):
            raise SystemExit("setup: " + "\n".join(err[-1]))
        answers = []
        for n in range(self.count):
            trouble = [e for e in err.get(n, []) if "ERROR:" in e]
            if trouble:
                m = re.search(r"ERROR:\s+(\w{5}): (.*)", trouble[0])
                answers.append(OracleError(m[1], m[2]))
            else:
                answers.append(out.get(n, []))
        return answers


def column_names(columns):
    """Names in `a BIGINT, d DECIMAL(10,2)`."""
    depth, item, items = 0, "", []
    for c in columns + ",":
        depth += c in "(<"
        depth -= c in ")>"
        if c == "," and depth == 0:
            items.append(item.strip().split()[0])
            item = ""
        else:
            item += c
    return items


def sections(text):
    """Lines by the `@@n` mark before them; -1 is what came before the first."""
    found, n = {}, -1
    for line in text.split("\n"):
        if line.startswith("@@"):
            n = int(line[2:])
        elif line:
            found.setdefault(n, []).append(line)
    return found


def from_duckdb(kind, value):
    """Our JSON for one DuckDB value (as Python sees it) of the named DuckDB type."""
    if value is None:
        return "null"
    kind = str(kind)
    if kind.endswith("]"):
        inner = kind[: kind.rindex("[")]
        return "[" + ",".join(from_duckdb(inner, v) for v in value) + "]"
    if kind.startswith("STRUCT("):
        fields = split_fields(kind[7:-1])
        return "{" + ",".join(dumps(n) + ":" + from_duckdb(t, value[n]) for n, t in fields) + "}"
    if kind.startswith("MAP("):
        _, inner = kind[4:-1].split(", ", 1)
        return "{" + ",".join(dumps(str(k)) + ":" + from_duckdb(inner, v) for k, v in value.items()) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return double(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, dt.datetime):
        return timestamp(value.strftime("%Y-%m-%d %H:%M:%S.%f"))
    if isinstance(value, dt.date):
        return dumps(value.isoformat())
    if isinstance(value, dt.time):
        return time(value.strftime("%H:%M:%S.%f"))
    if isinstance(value, bytes):
        return dumps(base64.b64encode(value).decode())
    if kind == "JSON":
        return json_text(value)
    return dumps(str(value))


def split_fields(text):
    depth, item, items = 0, "", []
    for c in text + ",":
        depth += c in "(["
        depth -= c in ")]"
        if c == "," and depth == 0:
            name, kind = item.strip().split(" ", 1)
            items.append((name.strip('"'), kind))
            item = ""
        else:
            item += c
    return items


class DuckDb:
    def __init__(self):
        import duckdb

        self.db = duckdb.connect()
        self.db.execute("SET threads = 1; SET TimeZone = 'UTC'")

    def setup(self, sql):
        self.db.execute(sql)

    def rows(self, sql):
        """(names, rows of our JSON values)."""
        cursor = self.db.execute(sql)
        kinds = [(d[0], d[1]) for d in cursor.description]
        return [k for k, _ in kinds], [
            [from_duckdb(kind, v) for (_, kind), v in zip(kinds, row)] for row in cursor.fetchall()]


def fnv1a(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h
