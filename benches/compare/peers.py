"""Runs one file query on DuckDB and says how long it took: `peers.py INPUT OUTPUT QUERY THREADS REPEAT` prints one JSON line.

QUERY is `pass` or `filter`; the formats follow the files' extensions. Exit code 3: DuckDB is not installed.
"""

import json
import sys
import time

try:
    import duckdb
except ImportError:
    print("the Python module duckdb is not installed", file=sys.stderr)
    sys.exit(3)

COLUMNS = {
    "order_id": "BIGINT",
    "customer_id": "BIGINT",
    "amount": "DOUBLE",
    "customer": "VARCHAR",
    "symbol": "VARCHAR",
    "status": "VARCHAR",
    "ts": "VARCHAR",
}
SELECT = {
    "pass": "SELECT *",
    "filter": "SELECT order_id, symbol, amount * 2 AS twice, status",
}
WHERE = {"pass": "", "filter": "WHERE amount >= 250"}


def main():
    source, target, query, threads, repeat = sys.argv[1:]
    connection = duckdb.connect()
    connection.execute(f"SET threads = {int(threads)}")
    columns = "{" + ", ".join(f"'{n}': '{t}'" for n, t in COLUMNS.items()) + "}"
    if source.endswith(".csv"):
        read = f"read_csv('{source}', columns = {columns}, header = true)"
        write = "(FORMAT csv, HEADER true)"
    else:
        read = f"read_ndjson('{source}', columns = {columns})"
        write = "(FORMAT json)"
    seconds = []
    for _ in range(int(repeat)):
        start = time.perf_counter()
        connection.execute(f"COPY ({SELECT[query]} FROM {read} {WHERE[query]}) TO '{target}' {write}")
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"peer": "DuckDB " + duckdb.__version__, "seconds": seconds}))


main()
