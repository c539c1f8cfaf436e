#!/usr/bin/env python3
"""Makes the sample data in this directory; standard library only, same bytes every time.

usage: python3 make.py FLIGHTS_CSV_GZ AIRLINES_CSV

FLIGHTS_CSV_GZ and AIRLINES_CSV are the files of the nycflights13 data set (see README.md).
orders.jsonl and orders_bad.jsonl are made up and need no input.
"""

import csv
import gzip
import json
import pathlib
import random
import sys
from datetime import datetime, timedelta

HERE = pathlib.Path(__file__).resolve().parent


def flights(source, target):
    """January 2013 in scheduled order: the whole file is in text order of the months."""
    with gzip.open(source, "rt", newline="") as f:
        rows = csv.reader(f)
        header = next(rows)
        column = {name: i for i, name in enumerate(header)}
        january = [r for r in rows if r[column["month"]] == "1"]
    keys = ["time_hour", "sched_dep_time", "carrier", "flight", "origin"]

    def key(row):
        v = [row[column[k]] for k in keys]
        return v[0], int(v[1]), v[2], int(v[3]), v[4]

    january.sort(key=key)
    with open(target, "w", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(header)
        out.writerows(january)
    return len(january)


NAMES = ["Ada", "Björn", "Chloé", "Dvořák", "Eve", "Фёдор", "Γιώργος", "花子", "İpek", "Zoë 🚀",
         "O'Brien", 'Ann "Q" Lee', "back\\slash", "tab\there"]
CITIES = [("Zürich", "CH"), ("São Paulo", "BR"), ("New York", "US"), ("東京", "JP"), ("Oslo", "NO")]
SYMBOLS = ["AAPL", "MSFT", "NVDA", "AMZN", "TSLA", "ORCL", "IBM", "SAP"]
TAGS = ["new", "gift", "rush", "b2b", "naïve"]


def orders(target, count=1000, seed=20130101):
    """One order a line, in event-time order; NULL as null and as a missing key."""
    rng = random.Random(seed)
    ts = datetime(2026, 1, 1)
    with open(target, "w", encoding="utf-8", newline="") as f:
        for order_id in range(1, count + 1):
            ts += timedelta(milliseconds=rng.randrange(1, 60000))
            cents = rng.choice([rng.randrange(1, 100), rng.randrange(100, 50000), rng.randrange(1000000, 99999999)])
            city, country = rng.choice(CITIES)
            row = [
                ("order_id", order_id),
                ("customer_id", rng.randrange(1, 120)),
                ("customer", rng.choice(NAMES)),
                # A decimal with both places, also where the last one is zero.
                ("amount", Raw(f"{cents // 100}.{cents % 100:02d}")),
                ("symbol", rng.choice(SYMBOLS)),
                ("quantity", rng.randrange(1, 500)),
                ("ts", ts.strftime("%Y-%m-%dT%H:%M:%S") + f".{ts.microsecond // 1000:03d}Z"),
                ("paid", rng.random() < 0.8),
                ("discount", Raw(f"0.{rng.randrange(0, 50):02d}")),
                ("weight", round(rng.uniform(0.01, 40.0), 3)),
                ("city", {"name": city, "country": country}),
                ("tags", rng.sample(TAGS, rng.randrange(0, 4))),
            ]
            if rng.random() < 0.15:
                row = [(k, None if k == "discount" else v) for k, v in row]
            if rng.random() < 0.10:
                row = [(k, None if k == "symbol" else v) for k, v in row]
            if rng.random() < 0.05:
                row = [(k, v) for k, v in row if k != "paid"]
            f.write(line(row) + "\n")


class Raw(str):
    """A number that is written digit for digit."""


def line(row):
    def value(v):
        return str(v) if isinstance(v, Raw) else json.dumps(v, ensure_ascii=False, separators=(",", ":"))

    return "{" + ",".join(f"{json.dumps(k)}:{value(v)}" for k, v in row) + "}"


# (line, what is wrong with it); None marks a good line.
BAD = [
    (b'{"order_id":1,"customer":"Ada","amount":10.50,"ts":"2026-01-01T00:00:01Z"}', None),
    (b'{"order_id":2,"customer":"Eve","amount":1.5', "cut off"),
    (b'{"order_id":3,"customer":"Eve","amount":"ten","ts":"2026-01-01T00:00:03Z"}', "amount is not a number"),
    (b'{"order_id":4,"customer":"Bj\xf6rn","amount":4.00,"ts":"2026-01-01T00:00:04Z"}', "Latin-1, not UTF-8"),
    (b'{"order_id":5,"customer":"Ada","amount":5.00,"ts":"2026-01-01T00:00:05Z"}', None),
    (b'order 6 was lost', "not JSON"),
    (b'{"order_id":7,"customer":"Ada","amount":7.00,"ts":"2026-02-30T00:00:00Z"}', "no such day"),
    (b'{"order_id":8.5,"customer":"Ada","amount":8.00,"ts":"2026-01-01T00:00:08Z"}', "order_id is not an integer"),
    (b'{"order_id":9,"order_id":9,"customer":"Ada","amount":9.00,"ts":"2026-01-01T00:00:09Z"}', "duplicate key"),
    (b'[10,"Ada",10.00]', "an array, not an object"),
    (b'{"order_id":11,"customer":"Ada","amount":11.00,"ts":"2026-01-01T00:00:11Z"} {}', "something after the object"),
    (b'{"order_id":12,"customer":"Zo\xc3\xab","amount":12.00,"ts":"2026-01-01T00:00:12Z"}', None),
]


def bad_orders(target):
    with open(target, "wb") as f:
        for text, _ in BAD:
            f.write(text + b"\n")


def main():
    if len(sys.argv) == 3:
        n = flights(sys.argv[1], HERE / "flights.csv")
        (HERE / "airlines.csv").write_bytes(pathlib.Path(sys.argv[2]).read_bytes())
        print(f"flights.csv: {n} rows")
    else:
        print("flights.csv and airlines.csv left as they are:", __doc__.splitlines()[2])
    orders(HERE / "orders.jsonl")
    bad_orders(HERE / "orders_bad.jsonl")


if __name__ == "__main__":
    main()
