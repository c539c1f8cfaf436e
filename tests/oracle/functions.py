#!/usr/bin/env python3
"""Writes tests/functions_postgres.txt: probes of scalar functions with the text that PostgreSQL 15 gives.

Needs psql and a server on loopback (PGHOST, PGPORT, PGUSER). Timestamps and arrays are rewritten to this
engine's text forms (ISO 8601, JSON); an error of the server becomes the word ERROR.
"""
import json
import re
import subprocess
import sys

NUMBER_FORMATS = """999|9|9.9|0.9|99.99|FM99.99|FM0.99|FM9.9|FM90.00|000|FM000|9,999|FM9,999,999.00|0,000|S999|999S|SG999|MI999|999MI
999PR|PL999|FM999PR|FM999MI|S9999.9|$999.99|999th|999TH|9999D99|9G999D9|.99|99.|FM99.|FM990.099|"v="999|FMS999|L99|FM0009.90|B9"""
DATE_FORMATS = """YYYY-MM-DD HH24:MI:SS|Day, DD Month YYYY|FMDay, FMDD  HH12:MI:SS|day dy DY Dy|MONTH Mon MON mon month|HH:MI AM|HH12 p.m.
Y,YYY YYY YY Y|IYYY-IW-ID|IYY IY I IDDD|DDD DD D|WW W Q CC J|SSSS SSSSS|MS US FF1 FF2 FF3 FF4 FF5 FF6|RM rm FMRM|DDth DDTH FMDDth
"quoted YYYY" YYYY|YYYY BC AD a.d.|FMHH24:FMMI:FMSS|TMMonth|YYYYMMDD"T"HH24MISS|xYz"""
TIMESTAMPS = ["2002-04-20 17:31:12.66", "2024-02-29 00:00:00", "1999-12-31 23:59:59.999999", "2000-01-01 12:00:00",
              "2026-07-04 00:05:09.000123", "1969-12-31 23:59:59.5", "1900-12-31 23:00", "2021-01-03", "2023-03-31 10:00"]
INTERVALS = ["1 month -1 hour", "35 days", "-35 days 27 hours", "14 months 45 days 50:00:00", "-14 months 45 days -50:00:00",
             "1 month -31 days", "3 days 04:05:06.789", "-3 days 04:05:06.789", "0 seconds"]
UNITS = "microseconds milliseconds second minute hour day week month quarter year decade century millennium".split()
READ = [("05 Dec 2000", "DD Mon YYYY"), ("2024-02-30", "YYYY-MM-DD"), ("20240229", "YYYYMMDD"), (" 2000    JUN", "YYYY MON"),
        ("97-1-2", "YY-MM-DD"), ("2001-02-03 04:05:06.7", "YYYY-MM-DD HH24:MI:SS.MS"), ("2006-42-4", "IYYY-IW-ID"),
        ("2024 060", "YYYY DDD"), ("Thursday 12 October 2023", "Day DD Month YYYY"), ("2451187", "J"), ("25:00 2020", "HH24:MI YYYY"),
        ("12 AM 2020", "HH12 AM YYYY"), ("2020-13-01", "YYYY-MM-DD"), ("xyz", "YYYY"), ("2020-01-01 12:00 -05:30", "YYYY-MM-DD HH24:MI TZH:TZM"),
        ("2020-01-01T10:11:12", 'YYYY-MM-DD"T"HH24:MI:SS'), ("2020 3661", "YYYY SSSS"), ("2024-1-1 extra", "YYYY-MM-DD")]
TEXTS = ["''", "'a'", "'hello'", "'jösé'", "'日本語テキスト'", "'aXbXc'"]


def probes():
    formats = lambda text: text.replace("\n", "|").split("|")
    for f in formats(NUMBER_FORMATS):
        for v in "0 0.1 -0.1 1 -1 485 -485 12.45 1485 99.995 1234567 -0.04 111 12".split():
            yield f"to_char({v}, '{f}')"
    for t in TIMESTAMPS:
        for f in formats(DATE_FORMATS):
            yield f"to_char(TIMESTAMP '{t}', '{f}')"
        for u in UNITS:
            yield f"date_trunc('{u}', TIMESTAMP '{t}')"
        for u in UNITS + ["dow", "isodow", "doy", "isoyear", "epoch", "julian"]:
            yield f"extract({u} FROM TIMESTAMP '{t}')"
        for other in TIMESTAMPS:
            yield f"age(TIMESTAMP '{t}', TIMESTAMP '{other}')"
        for w in ["15 minutes", "7 days", "1.5 seconds", "1 month", "0 seconds"]:
            yield f"date_bin(INTERVAL '{w}', TIMESTAMP '{t}', TIMESTAMP '2001-01-01 00:02:30')"
    for i in INTERVALS:
        for f in ["justify_days", "justify_hours", "justify_interval"]:
            yield f"{f}(INTERVAL '{i}')"
        for u in UNITS:
            if u != "week":
                yield f"date_trunc('{u}', INTERVAL '{i}')"
                yield f"extract({u} FROM INTERVAL '{i}')"
        for f in ["HH24:MI:SS", "HH12:MI:SS", "YYYY MM DD", "DD HH24", "MS US", "Month", "FMHH24"]:
            yield f"to_char(INTERVAL '{i}', '{f}')"
    for text, f in READ:
        yield f"to_timestamp('{text}', '{f}')"
    for text, f in [("12,454.8-", "99G999D9S"), ("<564646.654564>", "999999.999999PR"), ("5.01-", "FM9.999999S"), (".01", "FM9.99"), ("+12", "S99")]:
        yield f"to_number('{text}', '{f}')"
    for s in TEXTS:
        for n in ["-10", "-2", "-1", "0", "1", "2", "3", "100"]:
            for call in ["left({s}, {n})", "right({s}, {n})", "substr({s}, {n})", "substr({s}, {n}, 2)", "repeat({s}, {n})",
                         "lpad({s}, {n}, '日')", "rpad({s}, {n}, 'xy')", "split_part({s}, 'X', {n})",
                         "overlay({s} PLACING 'ZZ' FROM {n} FOR 1)", "substring({s} FROM {n} FOR 3)"]:
                yield call.format(s=s, n=n)
        for call in ["length({s})", "octet_length({s})", "upper({s})", "initcap({s})", "reverse({s})", "ascii({s})", "strpos({s}, '')",
                     "md5({s})", "quote_literal({s})", "quote_ident({s})", "replace({s}, 'X', 'yy')", "translate({s}, 'Xx', 'y')",
                     "encode(convert_to({s}, 'UTF8'), 'base64')", "encode(convert_to({s}, 'UTF8'), 'escape')", "string_to_array({s}, 'X')"]:
            yield call.format(s=s)
    for p in ["b..", "(b)(..)", "x", "^a", r"\mfoo", r"\d+", "[[:alpha:]]+", "a*", ""]:
        for s in ["foobarbaz", "abab", "a1b22", ""]:
            for call in ["regexp_match('{s}', '{p}')", "regexp_replace('{s}', '{p}', '<\\&>')", "regexp_replace('{s}', '{p}', '<\\1>', 'g')",
                         "regexp_count('{s}', '{p}')", "regexp_substr('{s}', '{p}', 2)", "regexp_instr('{s}', '{p}')",
                         "regexp_split_to_array('{s}', '{p}')", "regexp_replace('{s}', '{p}', 'X', 1, 2)"]:
                yield call.format(s=s, p=p)
    for v in ["1234.5678", "-1234.5678", "0.5", "2.675", "-15"]:
        for n in ["0", "1", "2", "-1", "-5"]:
            yield f"round({v}, {n})"
            yield f"trunc({v}, {n})"
    for a, b in [("9", "4"), ("-9", "4"), ("9.5", "2"), ("-9.5", "2"), ("1", "0"), ("0", "5")]:
        yield f"mod({a}, {b})"
        yield f"div({a}, {b})"
    for a in ["ARRAY[1,2,3]", "ARRAY[1,NULL,2,1]", "ARRAY[3,1,2]"]:
        for call in ["array_length({a}, 2)", "array_append({a}, NULL)", "array_cat({a}, ARRAY[7])", "array_remove({a}, 1)", "array_position({a}, 1, 2)",
                     "array_replace({a}, 1, 5)", "array_positions({a}, 1)", "trim_array({a}, 1)", "trim_array({a}, 5)", "array_to_string({a}, ',', '-')"]:
            yield call.format(a=a)
    yield from ["power(0, -1)", "power(-8, 0.5)", "exp(1000)", "ln(0)", "sqrt(-1)", "factorial(20)", "width_bucket(5, 10, 0, 5)",
                "width_bucket(5, 1, 1, 5)", "substring('abc', 1, -1)", "chr(0)", "chr(233)", "format('%2$s %1$s', 'a', 'b')", "format('%-*s|', 5, 'x')",
                "format('%s')", "format('%I.%L', 'a b', 'O''R')", "quote_ident('select')", "decode('abc', 'hex')", "regexp_match('a', '(')",
                "make_date(2024, 2, 30)", "make_timestamp(2024, 2, 29, 23, 59, 59.5)", "make_interval(1, 2, 3, 4, 5, 6, 7.5)"]


def ours(expression, text):
    """PostgreSQL's text in our form."""
    if expression.startswith("to_char"):
        return text
    texts = expression.startswith(("regexp", "string_to_array"))
    def moment(m):
        digits = (m[3] or "").ljust(4 if len(m[3] or "") <= 4 else 7, "0") if m[3] else ""
        return f"{m[1]}T{m[2]}{digits}Z"
    text = re.sub(r"^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d+)?(\+00)?$", moment, text)
    if re.fullmatch(r"\{[^{}]*\}", text):
        cell = r'"(?:[^"\\]|\\.)*"|[^,]+'
        items = [] if text == "{}" else re.findall(cell, text[1:-1])
        value = lambda c: None if c == "NULL" else c[1:-1] if c[0] == '"' else c if texts else int(c)
        text = json.dumps([value(c) for c in items], ensure_ascii=False, separators=(",", ":"))
    return {"t": "true", "f": "false"}.get(text, text)


def main():
    expressions = list(dict.fromkeys(probes()))
    script = "\\pset null NULL\n\\set VERBOSITY terse\nSET intervalstyle = 'iso_8601'; SET timezone = 'UTC';\n"
    for e in expressions:
        script += f"SELECT '@@@';\nSELECT ({e})::text;\n"
    run = subprocess.run(["psql", "-Atq"], input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    answers = run.stdout.split("@@@\n")[1:]
    assert len(answers) == len(expressions), run.stdout[-2000:]
    print("# expression, a tab, the text that PostgreSQL 15 gives (\\n for a newline). Written by tests/oracle/functions.py.")
    for e, answer in zip(expressions, answers):
        answer = answer[:-1] if answer.endswith("\n") else answer
        shown = "ERROR" if "ERROR: " in answer else ours(e, answer).replace("\n", "\\n")
        print(f"{e}\t{shown}")


if __name__ == "__main__":
    sys.exit(main())
