#!/usr/bin/env python3
"""Writes tests/sql/*.test from the query lists in topics/, with expected values from the oracles.

usage: python3 tests/oracle/generate.py [topic…]

Needs PostgreSQL 15 on the loopback (address in oracles.py) and `pip install duckdb`. Never needs, and
never asks, our own engine. `# pending:` marks in the files that are there are kept.
"""

import importlib
import json
import pathlib
import re
import sys
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUT = ROOT / "tests" / "sql"
sys.path.insert(0, str(HERE))

import oracles  # noqa: E402

WIDE = Context(prec=80)


def scaled(value, scale):
    """Rounded half away from zero to `scale` places, all of them written."""
    d = Decimal(value).quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP, context=WIDE)
    return format(abs(d) if d.is_zero() else d, "f")


def scale_of(d):
    return max(0, -Decimal(d).as_tuple().exponent)


def div(a, b):
    """DECIMAL division: scale max(s1, s2) + 6."""
    return scaled(WIDE.divide(Decimal(a), Decimal(b)), max(scale_of(a), scale_of(b)) + 6)


def rem(a, b):
    """DECIMAL remainder, sign of the dividend, scale max."""
    a, b = Decimal(a), Decimal(b)
    q = WIDE.divide(a, b).to_integral_value(rounding=ROUND_DOWN)
    return scaled(a - q * b, max(scale_of(a), scale_of(b)))


HELPERS = {"div": div, "rem": rem, "scaled": scaled, "Decimal": Decimal, "dumps": oracles.dumps,
           "double": oracles.double}
NOTE = re.compile(r"\s@(pg|want|py|err|check|loose)(?:\s+|$)")


class Case:
    """One expression with where its value comes from."""

    def __init__(self, line):
        parts = NOTE.split(" " + line)
        self.sql = parts[0].strip()
        notes = dict(zip(parts[1::2], (p.strip() for p in parts[2::2])))
        self.pg = notes.get("pg", self.sql)
        self.hand = None
        if "want" in notes:
            self.hand = notes["want"]
        elif "py" in notes:
            value = eval(notes["py"], dict(HELPERS))  # our own lists, not input
            self.hand = value if isinstance(value, str) else oracles.dumps(value)
        elif "err" in notes:
            self.hand = "record error: " + notes["err"]
        elif "check" in notes:
            self.hand = "error: " + notes["check"]
        # Numbers whose spelling is not settled (1 or 1.00 where scales meet) are compared as numbers.
        self.loose = "loose" in notes
        self.answer = None


REFUSED = []


def error_of(sql, error):
    state = error.state
    if re.match(r"\s*TRY_CAST", sql):
        return None
    if state not in oracles.STATES:
        REFUSED.append(f"{sql}\n    {error}")
        return None
    code = oracles.STATES[state]
    if code == "overflow" and re.fullmatch(r"CAST\([^()]*(\(.*?\)[^()]*)?(\([^()]*\)[^()]*)?\)|\S+::\w+", sql):
        code = "invalid_cast"
    return code


class Topic:
    """One file of the suite."""

    def __init__(self, name, title):
        self.name, self.title, self.items, self.tables = name, title, [], {}

    def input(self, name, columns, rows, form="json"):
        """A source: NDJSON lines (or CSV with header)."""
        lines = [r.strip() for r in rows.strip().split("\n")]
        self.items.append(("input", name, columns, lines, form))

    def setup(self, sql):
        """Statements that stand before every query of the file from here on."""
        self.items.append(("setup", sql.strip()))

    def eval(self, text, over=None):
        """One expression a line; `over` an input: the values of all its rows."""
        cases = [Case(line.strip()) for line in text.strip().split("\n") if line.strip()]
        self.items.append(("eval", over, cases))

    def query(self, title, sql, **how):
        """`pg`, `duck`: True or the oracle's own wording. `rows`: by hand. `error`, `record_error`: refused.
        `head` and a checksum instead of all rows: `digest=N`."""
        self.items.append(("query", title, sql.strip(), how))

    # -- asking

    def ask(self, pg):
        for item in self.items:
            if item[0] == "input" and item[4] == "json":
                try_table(pg, item)
            elif item[0] == "eval":
                over, cases = item[1], item[2]
                for case in cases:
                    if case.hand is None:
                        tail = f"FROM (SELECT * FROM {over} ORDER BY _row) {over}" if over else ""
                        case.answer = pg.ask([case.pg], tail)
            elif item[0] == "query" and item[3].get("pg"):
                sql = item[2] if item[3]["pg"] is True else item[3]["pg"]
                item[3]["_pg"] = pg.ask_query(sql)

    # -- writing

    def text(self, answers, duck, pending, version):
        out = [f"# {self.title}", f"# Expected values: {version}, or derived where marked; never this engine."]
        for item in self.items:
            out.append("")
            if item[0] == "input":
                _, name, columns, lines, form = item
                out.append(f"input {name}" + (f" ({columns})" if columns else "") + (f" format {form}" if form != "json" else ""))
                out.extend(lines)
            elif item[0] == "setup":
                out += ["setup", item[1]]
            elif item[0] == "eval":
                out.extend(self.eval_text(item, answers, pending))
            else:
                out.extend(self.query_text(item, answers, duck, pending))
        return "\n".join(out) + "\n"

    def eval_text(self, item, answers, pending):
        _, over, cases = item
        head = f"eval over {over}" if over else "eval"
        out, hand = [head], None
        for case in cases:
            if hand is not None and hand != (case.hand is not None):
                out += ["", head]
            if case.hand is not None and hand is not True:
                out.append("# derived")
            hand = case.hand is not None
            expected = case.hand if hand else postgres_value(case.sql, answers[case.answer], over)
            if case.loose:
                expected = re.sub(r"(?<![\d.~-])(-?\d)", r"~\1", expected)
            out.extend(pending_mark(pending, case.sql))
            out.append(f"{case.sql} => {expected}")
        return out

    def query_text(self, item, answers, duck, pending):
        _, title, sql, how = item
        out = pending_mark(pending, "query " + title) + [f"query {title}"]
        if "rows" in how or "error" in how or "record_error" in how:
            out.append("# derived")
        out += [sql, "---- sorted" if how.get("sorted") else "----"]
        if "error" in how:
            return out + ["error: " + how["error"]]
        if "record_error" in how:
            return out + ["record error: " + how["record_error"]]
        if "rows" in how:
            lines = [r.strip() for r in how["rows"].strip().split("\n") if r.strip()]
            return out + (sorted(lines, key=unmarked) if how.get("sorted") else lines)
        if "_pg" in how:
            answer = answers[how["_pg"]]
            if isinstance(answer, oracles.OracleError) and answer.state in oracles.STATES:
                return out + ["record error: " + oracles.STATES[answer.state]]
            lines = postgres_rows(answer)
            if "also" in how:
                agree(title, lines, duck.rows(how["also"]))
        else:
            text = sql if how["duck"] is True else how["duck"]
            text = text.replace("'examples/data/flights.csv'", "flights")
            names, rows = duck.rows(text.strip().rstrip(";"))
            lines = ["{" + ",".join(oracles.dumps(n) + ":" + v for n, v in zip(names, r)) + "}" for r in rows]
        if "digest" in how:
            if any("~" in line for line in lines[:50]):
                raise SystemExit(f"{title}: no checksum over doubles")
            digest = oracles.fnv1a(("\n".join(lines) + "\n").encode())
            return out + lines[: how["digest"]] + [f"... {len(lines)} rows, fnv1a {digest:016x}"]
        return out + (sorted(lines, key=unmarked) if how.get("sorted") else lines)


def unmarked(line):
    return line.replace("~", "")


def try_table(pg, item):
    _, name, columns, lines, _ = item
    # Types PostgreSQL does not have are DuckDB's business, or by hand; so is event time.
    if not re.search(r"STRUCT|MAP<|WATERMARK", columns):
        pg.table(name, columns, lines)


def postgres_value(sql, answer, over):
    if isinstance(answer, oracles.OracleError):
        code = error_of(sql, answer)
        return "null" if code is None else "record error: " + code
    values = []
    for line in answer:
        ((kind, text, as_json),) = json.loads(line, parse_float=Decimal)
        values.append(oracles.from_postgres(kind, text, as_json))
    return "[" + ",".join(values) + "]" if over else values[0]


def postgres_rows(answer):
    if isinstance(answer, oracles.OracleError):
        raise SystemExit(f"PostgreSQL refuses a query: {answer}")
    kinds, rows = [], []
    for line in answer:
        if line.startswith("{"):
            row = json.loads(line, parse_float=Decimal)
            fields = []
            for (name, kind), value in zip(kinds, row.values()):
                text = value if isinstance(value, str) or value is None else json.dumps(value, default=plain).strip('"')
                fields.append(oracles.dumps(name) + ":" + oracles.from_postgres(kind, text, value))
            rows.append("{" + ",".join(fields) + "}")
        else:
            name, kind = line.rsplit("|", 1)
            kinds.append((name, re.sub(r"\(.*\)", "", kind)))
    return rows


def agree(title, lines, answer):
    """Both oracles give the same rows; numbers by value, doubles but for their last digits."""
    names, rows = answer

    def same(a, b):
        if isinstance(a, (int, float)) and isinstance(b, (int, float)):
            return a == b or abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1)
        return a == b

    if len(lines) != len(rows):
        raise SystemExit(f"{title}: {len(lines)} rows in PostgreSQL, {len(rows)} in DuckDB")
    for line, row in zip(lines, rows):
        one = list(json.loads(re.sub("[~≈](?=-?[0-9])", "", line)).values())
        two = [json.loads(re.sub("^[~≈]", "", v)) for v in row]
        if not all(map(same, one, two)):
            raise SystemExit(f"{title}:\n  PostgreSQL {line}\n  DuckDB {dict(zip(names, row))}")


def plain(number):
    """A decimal with all its digits, never 1E-28."""
    return format(number, "f")


def pending_mark(pending, key):
    return [pending[key]] if key in pending else []


def read_pending(path):
    """Marks that are there, by the expression or `query title` that follows them."""
    found, mark = {}, None
    if path.exists():
        for line in path.read_text().split("\n"):
            if mark:
                found[line.rsplit(" => ", 1)[0]] = mark
            mark = line if line.startswith("# pending:") else None
    return found


def main():
    names = sys.argv[1:] or sorted(p.stem for p in (HERE / "topics").glob("*.py") if p.stem != "__init__")
    topics = [importlib.import_module("topics." + n).topic(Topic) for n in names]
    pg, duck = oracles.Postgres(), oracles.DuckDb()
    version_at = pg.ask(["version()"])
    duck_setup(duck)
    if any("FROM flights" in str(i[3].get("pg")) for t in topics for i in t.items if i[0] == "query"):
        postgres_setup(pg)
    for topic in topics:
        topic.ask(pg)
    answers = pg.run()
    version = "PostgreSQL " + json.loads(answers[version_at][0])[0][1].split()[1]
    import duckdb

    version += ", DuckDB " + duckdb.__version__
    total = 0
    for topic in topics:
        path = OUT / f"{topic.name}.test"
        path.write_text(topic.text(answers, duck, read_pending(path), version))
        count = sum(len(i[2]) if i[0] == "eval" else i[0] == "query" for i in topic.items)
        total += count
        print(f"{topic.name}: {count}")
    print(f"all: {total}")
    if REFUSED:
        raise SystemExit("PostgreSQL refuses:\n  " + "\n  ".join(REFUSED))


NUMERIC = ("year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay flight air_time "
           "distance hour minute").split()
COLUMNS = ("year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay carrier flight "
           "tailnum origin dest air_time distance hour minute time_hour").split()
FLIGHTS = f"{ROOT}/examples/data/flights.csv"


def postgres_setup(pg):
    """The same table in PostgreSQL."""
    kinds = ", ".join(f"{c} " + ("bigint" if c in NUMERIC else "timestamp" if c == "time_hour" else "text") for c in COLUMNS)
    pg.setup(f"CREATE TEMP TABLE flights (_row serial, {kinds})")
    texts = ", ".join(c for c in COLUMNS if c not in NUMERIC)
    pg.setup(f"\\copy flights ({', '.join(COLUMNS)}) from '{FLIGHTS}' with (format csv, header, null 'NA', force_not_null ({texts}))\n")


def duck_setup(duck):
    """flights as the specification infers them: NA is NULL in columns that are otherwise numeric."""
    numeric, columns = NUMERIC, COLUMNS
    picked = ", ".join(
        f"CAST(nullif({c}, 'NA') AS BIGINT) AS {c}" if c in numeric
        else f"CAST({c} AS TIMESTAMP) AS {c}" if c == "time_hour" else c for c in columns)
    duck.setup(f"CREATE TABLE flights AS SELECT {picked} FROM read_csv('{FLIGHTS}', all_varchar = true)")


if __name__ == "__main__":
    main()
