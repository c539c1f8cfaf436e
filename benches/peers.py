#!/usr/bin/env python3
"""Compares millstream with DuckDB on the same files, same threads, outputs compared.

    cargo build --release
    pip install duckdb
    python3 benches/peers.py [ROWS]

Prints seconds (median of interleaved rounds) and the ratio DuckDB / millstream: above 1 means that
millstream is faster. Both write the result to a file; start-up of the process is inside millstream's time.
"""

import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import duckdb

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BINARY = os.path.join(ROOT, "target", "release", "millstream")
ROUNDS = 5


def run_millstream(sql, threads, directory):
    path = os.path.join(directory, "job.sql")
    with open(path, "w") as f:
        f.write(sql)
    start = time.time()
    subprocess.run([BINARY, "run", path, "-q", "--threads", str(threads)], check=True)
    return time.time() - start


def run_duckdb(sql, threads):
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    start = time.time()
    connection.execute(sql)
    return time.time() - start


def same(a, b, parse):
    with open(a) as x, open(b) as y:
        for n, (left, right) in enumerate(zip(x, y, strict=True), 1):
            assert parse(left) == parse(right), f"line {n}: {left!r} != {right!r}"


def csv_row(line):
    def value(text):
        text = text.strip().strip('"')
        try:
            return float(text)
        except ValueError:
            return text.replace("T", " ").rstrip("Z")
    return [value(t) for t in line.rstrip("\n").split(",")]


def flights(directory, times):
    """All flights of 2013 if the full data is given by FLIGHTS, else the January sample, repeated."""
    source = os.environ.get("FLIGHTS", os.path.join(ROOT, "examples", "data", "flights.csv"))
    opened = gzip.open(source, "rt") if source.endswith(".gz") else open(source)
    with opened as f:
        header, body = f.readline(), f.read()
    path = os.path.join(directory, "flights.csv")
    with open(path, "w") as f:
        f.write(header)
        for _ in range(times):
            f.write(body)
    return path


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    with tempfile.TemporaryDirectory() as d:
        orders = os.path.join(d, "orders.jsonl")
        subprocess.run([BINARY, "generate", "orders", "--rows", str(rows), "--out", orders], check=True)
        times = 10 if "FLIGHTS" in os.environ else 125
        csv = flights(d, times)
        ours, theirs = os.path.join(d, "ours"), os.path.join(d, "theirs")
        columns = "order_id BIGINT, customer_id BIGINT, amount DOUBLE, symbol VARCHAR, side VARCHAR, venue VARCHAR, ts VARCHAR"
        duck_columns = "{" + ", ".join(f"{c.split()[0]}: '{c.split()[1]}'" for c in columns.split(", ")) + "}"
        jobs = [
            (
                "NDJSON filter + project 4 of 7",
                f"CREATE STREAM o ({columns}) WITH (connector='file', path='{orders}', format='json');"
                f"CREATE STREAM r WITH (connector='file', path='{ours}', format='json');"
                "INSERT INTO r SELECT order_id, symbol, amount, side FROM o WHERE amount > 500;",
                f"COPY (SELECT order_id, symbol, amount, side FROM read_ndjson('{orders}', columns={duck_columns})"
                f" WHERE amount > 500) TO '{theirs}' (FORMAT json)",
                json.loads,
            ),
            (
                "CSV filter + project 5 of 19",
                f"CREATE STREAM r WITH (connector='file', path='{ours}', format='csv');"
                f"INSERT INTO r SELECT carrier, flight, origin, dest, dep_delay FROM read_csv('{csv}', null_values='NA')"
                " WHERE dep_delay > 15;",
                f"COPY (SELECT carrier, flight, origin, dest, dep_delay FROM read_csv('{csv}', nullstr='NA')"
                f" WHERE dep_delay > 15) TO '{theirs}' (FORMAT csv)",
                csv_row,
            ),
        ]
        print(f"{rows} orders; {os.path.getsize(csv) / 1e6:.0f} MB of flights; {ROUNDS} interleaved rounds, medians\n")
        print(f"{'job':<34}{'threads':>8}{'millstream s':>14}{'DuckDB s':>12}{'DuckDB / millstream':>21}")
        for name, sql, peer, parse in jobs:
            for threads in (1, 2):
                pairs = [(run_millstream(sql, threads, d), run_duckdb(peer, threads)) for _ in range(ROUNDS)]
                same(ours, theirs, parse)
                a, b = (statistics.median(p[i] for p in pairs) for i in (0, 1))
                ratio = statistics.median(p[1] / p[0] for p in pairs)
                print(f"{name:<34}{threads:>8}{a:>14.3f}{b:>12.3f}{ratio:>20.2f}×")


if __name__ == "__main__":
    main()
