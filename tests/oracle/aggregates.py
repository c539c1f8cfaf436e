#!/usr/bin/env python3
"""Writes tests/aggregates_postgres.txt: calls of aggregates, their rows, and the text that PostgreSQL 15 gives.

Needs psql and a server on loopback (PGHOST, PGPORT, PGUSER). Arrays are rewritten to JSON; an error of the server
becomes the word ERROR.
"""
import subprocess

NUMBERS = [
    "(1::bigint), (2), (4), (NULL)",
    "(NULL::bigint), (NULL)",
    "(9223372036854775807::bigint), (9223372036854775807), (-9223372036854775807)",
    "(9223372036854775807::bigint), (1)",
    "(3::integer), (3), (3)",
    "(0.1::double precision), (0.2), (0.3), (-1e10)",
    "(1e308::double precision), (1e308)",
    "('NaN'::double precision), (1)",
    "('Infinity'::double precision), (1)",
    "('Infinity'::double precision), ('-Infinity')",
    "(1e16::double precision), (1e16 + 2), (1e16 + 4)",
    "(1.50::decimal(10,2)), (-2.25), (NULL), (100.01)",
    "(7::double precision)",
]
PAIRS = [
    "(1::double precision, 2::double precision), (3, 5), (4, 4), (NULL, 1), (2, NULL)",
    "(1::double precision, 1::double precision)",
    "(1::double precision, 3::double precision), (2, 3), (5, 3)",
    "(3::double precision, 1::double precision), (3, 2), (3, 5)",
    "(NULL::double precision, 1::double precision)",
    "('Infinity'::double precision, 1::double precision), (1, 2), (4, 3)",
]
INTEGERS = ["(6::bigint), (3), (NULL)", "(NULL::bigint)", "(-1::bigint), (255), (255)"]
TEXTS = ["('b'::text), ('a'), (NULL), ('b')", "(NULL::text)", "(''::text), ('x')"]
OF_NUMBERS = """count(x) sum(x) avg(x) min(x) max(x) stddev(x) stddev_pop(x) stddev_samp(x) variance(x) var_pop(x) var_samp(x)
sum(DISTINCT%x) count(DISTINCT%x) avg(DISTINCT%x) sum(x)%FILTER%(WHERE%x%>%1) count(*)%FILTER%(WHERE%x%IS%NULL)
percentile_cont(0.5)%WITHIN%GROUP%(ORDER%BY%x) percentile_cont(0.3)%WITHIN%GROUP%(ORDER%BY%x%DESC)
percentile_disc(0.5)%WITHIN%GROUP%(ORDER%BY%x) percentile_disc(0)%WITHIN%GROUP%(ORDER%BY%x%DESC)
percentile_cont(1.5)%WITHIN%GROUP%(ORDER%BY%x) mode()%WITHIN%GROUP%(ORDER%BY%x)""".split()
OF_PAIRS = """corr(y,x) covar_pop(y,x) covar_samp(y,x) regr_avgx(y,x) regr_avgy(y,x) regr_count(y,x) regr_intercept(y,x) regr_r2(y,x)
regr_slope(y,x) regr_sxx(y,x) regr_sxy(y,x) regr_syy(y,x)""".split()
OF_INTEGERS = "bit_and(x) bit_or(x) bool_and(x%>%3) bool_or(x%>%300) every(x%<>%0)".split()
OF_TEXTS = """string_agg(x,',') string_agg(x,','%ORDER%BY%x%DESC) string_agg(DISTINCT%x,',') min(x) max(x) array_agg(x)
array_agg(x%ORDER%BY%x%NULLS%FIRST) array_agg(DISTINCT%x) count(DISTINCT%x) json_agg(x)
percentile_disc(0.5)%WITHIN%GROUP%(ORDER%BY%x)""".split()


def ask(call, rows, columns):
    shown = f"array_to_json({call})" if call.startswith("array_agg") else call
    query = f"SELECT ({shown})::text FROM (VALUES {rows}) AS t({columns})"
    done = subprocess.run(["psql", "-XAtq", "-P", "null=NULL", "-c", query], capture_output=True, text=True)
    if done.returncode:
        return "ERROR"
    text = done.stdout.rstrip("\n")
    return text.replace(", ", ",").replace(" \n ", "") if call.startswith(("json", "array")) else text


def main():
    with open("tests/aggregates_postgres.txt", "w") as out:
        out.write("# Written by tests/oracle/aggregates.py: call, rows, what PostgreSQL 15 gives.\n")
        for calls, inputs, columns in [
            (OF_NUMBERS, NUMBERS, "x"), (OF_PAIRS, PAIRS, "x, y"), (OF_INTEGERS, INTEGERS, "x"), (OF_TEXTS, TEXTS, "x"),
        ]:
            for call in calls:
                for rows in inputs:
                    call_text = call.replace("%", " ")
                    got = ask(call_text, rows, columns)
                    out.write(f"{call_text}\t{rows}\t{got}\n")


main()
