"""Runs one file query on another program and says how long it took.

`peers.py PEER version` prints its name and version; `peers.py PEER TABLE QUERY INPUT OUTPUT THREADS` runs a query and
prints one JSON line. PEER is `duckdb` or `polars`; TABLE `orders` or `flights`; QUERY `pass`, `filter`, `group` or `tumbling`;
the formats follow the files' extensions. Types are declared, nothing is inferred. Exit code 3: the module is not installed.
"""

import importlib
import json
import sys
import time

COLUMNS = {
    "orders": "order_id:i customer_id:i amount:f customer:s symbol:s status:s ts:s",
    "flights": "year:i month:i day:i dep_time:i sched_dep_time:i dep_delay:i arr_time:i sched_arr_time:i arr_delay:i carrier:s "
    "flight:i tailnum:s origin:s dest:s air_time:i distance:i hour:i minute:i time_hour:s",
}
TIME = {"orders": "ts", "flights": "time_hour"}
DUCKDB = {
    ("orders", "pass"): "SELECT * FROM source",
    ("orders", "filter"): "SELECT order_id, symbol, amount * 2 AS twice, status FROM source WHERE amount >= 250",
    ("orders", "group"): "SELECT customer_id, COUNT(*) AS n, SUM(amount) AS total, AVG(amount) AS mean, MIN(amount) AS low, "
    "MAX(amount) AS high FROM source GROUP BY customer_id",
    ("orders", "tumbling"): "SELECT symbol, date_trunc('hour', ts) AS window_start, COUNT(*) AS n, SUM(amount) AS total "
    "FROM source GROUP BY ALL",
    ("flights", "pass"): "SELECT * FROM source",
    ("flights", "filter"): "SELECT carrier, flight, origin, dest, dep_delay FROM source WHERE dep_delay > 15",
    ("flights", "group"): "SELECT carrier, COUNT(*) AS n, SUM(distance) AS miles, AVG(dep_delay) AS mean, MIN(dep_delay) AS low, "
    "MAX(dep_delay) AS high FROM source GROUP BY carrier",
    ("flights", "tumbling"): "SELECT origin, date_trunc('day', time_hour) AS window_start, COUNT(*) AS n, SUM(distance) AS miles "
    "FROM source GROUP BY ALL",
}


def columns(table, query):
    """Names and kinds; the time column is a time only where the query needs one."""
    kinds = dict(c.split(":") for c in COLUMNS[table].split())
    if query == "tumbling":
        kinds[TIME[table]] = "t"
    return kinds


def run_duckdb(duckdb, table, query, source, target, threads):
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    types = {"i": "BIGINT", "f": "DOUBLE", "s": "VARCHAR", "t": "TIMESTAMP"}
    declared = "{" + ", ".join(f"'{n}': '{types[k]}'" for n, k in columns(table, query).items()) + "}"
    if source.endswith(".csv"):
        read = f"read_csv('{source}', columns = {declared}, header = true, nullstr = 'NA')"
        write = "(FORMAT csv, HEADER true)"
    else:
        read = f"read_ndjson('{source}', columns = {declared})"
        write = "(FORMAT json)"
    sql = DUCKDB[table, query].replace("FROM source", f"FROM {read}")
    start = time.perf_counter()
    connection.execute(f"COPY ({sql}) TO '{target}' {write}")
    return time.perf_counter() - start


def polars_query(pl, table, query, rows):
    if query == "pass":
        return rows
    if query == "filter" and table == "orders":
        chosen = rows.filter(pl.col("amount") >= 250)
        return chosen.select("order_id", "symbol", (pl.col("amount") * 2).alias("twice"), "status")
    if query == "filter":
        return rows.filter(pl.col("dep_delay") > 15).select("carrier", "flight", "origin", "dest", "dep_delay")
    value = "amount" if table == "orders" else "dep_delay"
    total = pl.col("amount").sum().alias("total") if table == "orders" else pl.col("distance").sum().alias("miles")
    if query == "group":
        key = "customer_id" if table == "orders" else "carrier"
        mean, low, high = pl.col(value).mean(), pl.col(value).min(), pl.col(value).max()
        return rows.group_by(key).agg(pl.len().alias("n"), total, mean.alias("mean"), low.alias("low"), high.alias("high"))
    key, every = ("symbol", "1h") if table == "orders" else ("origin", "1d")
    window = pl.col(TIME[table]).dt.truncate(every).alias("window_start")
    return rows.group_by(key, window).agg(pl.len().alias("n"), total)


def run_polars(pl, table, query, source, target, threads):
    assert pl.thread_pool_size() == threads, "POLARS_MAX_THREADS was not obeyed"
    # Polars parses times from text by a format; the column is read as text and parsed there.
    kinds = {"i": pl.Int64, "f": pl.Float64, "s": pl.String, "t": pl.String}
    schema = {n: kinds[k] for n, k in columns(table, query).items()}
    start = time.perf_counter()
    if source.endswith(".csv"):
        rows = pl.scan_csv(source, schema=schema, null_values="NA")
    else:
        rows = pl.scan_ndjson(source, schema=schema)
    if query == "tumbling":
        form = "%Y-%m-%dT%H:%M:%S%.fZ" if table == "orders" else "%Y-%m-%dT%H:%M:%SZ"
        rows = rows.with_columns(pl.col(TIME[table]).str.to_datetime(form))
    result = polars_query(pl, table, query, rows)
    if target.endswith(".csv"):
        result.sink_csv(target, datetime_format="%Y-%m-%d %H:%M:%S")
    else:
        result.sink_ndjson(target)
    return time.perf_counter() - start


def main():
    peer, *rest = sys.argv[1:]
    try:
        module = importlib.import_module(peer)
    except ImportError:
        print(f"the Python module {peer} is not installed", file=sys.stderr)
        sys.exit(3)
    if rest == ["version"]:
        print({"duckdb": "DuckDB", "polars": "Polars"}[peer], module.__version__)
        return
    table, query, source, target, threads = rest
    run = {"duckdb": run_duckdb, "polars": run_polars}[peer]
    print(json.dumps({"seconds": run(module, table, query, source, target, int(threads))}))


main()
