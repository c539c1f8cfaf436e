#!/usr/bin/env python3
"""Groups more rows than fit into memory on a store on disk, and checks the result and the memory of the process.

    tests/kill/memory.py target/release/millstream [--keys N] [--again N] [--memory MIB] [--limit MIB] [--order shuffled|rising] [--emit final|changes]

Needs a build with the feature disk-state. N keys come once each, in an order that leaps about (or rises), then the first of them
again. `--memory` is state_max_bytes; `--limit` what the process may have resident at most, all that it needs besides included. Every
row of the output is compared with what it must be, which is computed here. The full run is 10,000,000 keys in 256 MiB:

    tests/kill/memory.py target/release/millstream --keys 10000000 --again 2000000 --memory 256 --limit 256
"""

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
import time


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("binary")
    arguments.add_argument("--keys", type=int, default=300_000)
    arguments.add_argument("--again", type=int, default=100_000)
    arguments.add_argument("--memory", type=int, default=16)
    arguments.add_argument("--limit", type=int, default=96)
    arguments.add_argument("--order", choices=("shuffled", "rising"), default="shuffled")
    arguments.add_argument("--emit", choices=("final", "changes"), default="final")
    arguments.add_argument("--execution", default="auto")
    arguments.add_argument("--interval", default="1s")
    args = arguments.parse_args()
    keys, rows, binary = args.keys, args.keys + args.again, os.path.abspath(args.binary)
    # A step that shares no factor with the number of keys meets each of them once.
    step = 1 if args.order == "rising" else next(n for n in range(keys * 618 // 1000, 2 * keys) if math.gcd(n, keys) == 1)
    with tempfile.TemporaryDirectory(dir=os.environ.get("MEMORY_DIR")) as place:
        with open(os.path.join(place, "in.jsonl"), "w", 1 << 20) as f:
            for n in range(rows):
                f.write('{"k":%d,"v":%d}\n' % (n * step % keys, n % 1000))
        with open(os.path.join(place, "job.sql"), "w") as f:
            f.write(
                "CREATE STREAM i (k BIGINT, v BIGINT) WITH (connector = 'file', path = 'in.jsonl');\n"
                "CREATE STREAM o WITH (connector = 'file', path = 'out.csv', format = '%s');\n"
                "INSERT INTO o SELECT k, count(*) AS c, sum(v) AS s, max(v) AS m FROM i GROUP BY k%s;\n"
                % (("csv", "") if args.emit == "final" else ("debezium-json", " EMIT CHANGES"))
            )
        settings = [
            "state_backend=disk", f"state_max_bytes={args.memory} MiB", f"execution={args.execution}",
            f"commit_interval={args.interval}", "job_name=job",
        ]
        command = [binary, "run", "job.sql", "--state", "state", "--quiet"]
        for setting in settings:
            command += ["--set", setting]
        began = time.monotonic()
        ran = subprocess.run(command, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        took = time.monotonic() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        if ran.returncode:
            sys.exit(f"FAILED: exit code {ran.returncode}: {ran.stderr}")
        store = os.path.join(place, "state/job/groups.redb")
        if not os.path.exists(store):
            sys.exit("FAILED: everything fitted into memory")
        checked = check_final(place, keys, rows, step) if args.emit == "final" else check_changes(place, keys, rows, step)
        resident = used.ru_maxrss / 1024
        print(
            f"{keys:,} keys ({args.order}), {rows:,} rows, {args.emit}, state_max_bytes {args.memory} MiB: {took:.1f} s "
            f"({used.ru_utime + used.ru_stime:.1f} s of CPU time), resident at most {resident:.0f} MiB, file of the store "
            f"{os.path.getsize(store) / 2**20:.0f} MiB; {checked:,} rows of output checked"
        )
        if resident > args.limit:
            sys.exit(f"FAILED: more than {args.limit} MiB resident")


def check_final(place, keys, rows, step):
    """The groups in the order in which they came first."""
    with open(os.path.join(place, "out.csv"), buffering=1 << 20) as f:
        header, at = f.readline().strip(), -1
        if header != "k,c,s,m":
            sys.exit(f"FAILED: a header that should not be: {header}")
        for at, line in enumerate(f):
            values = [n % 1000 for n in range(at, rows, keys)]
            expected = f"{at * step % keys},{len(values)},{sum(values)},{max(values)}\n"
            if line != expected:
                sys.exit(f"FAILED: row {at} is {line!r}, not {expected!r}")
    if at + 1 != keys:
        sys.exit(f"FAILED: {at + 1} groups, not {keys}")
    return keys


def check_changes(place, keys, rows, step):
    """What is left when all changes are applied: each change must fit what was there before it."""
    import json

    last, count = {}, 0
    with open(os.path.join(place, "out.csv"), buffering=1 << 20) as f:
        for line in f:
            change = json.loads(line)
            change = change.get("payload", change)
            before, after = change.get("before"), change["after"]
            known = last.get(after["k"])
            told = None if before is None else (before["c"], before["s"], before["m"])
            if told is not None and known != told:
                sys.exit(f"FAILED: {line!r} follows {known}")
            last[after["k"]] = (after["c"], after["s"], after["m"])
            count += 1
    for n in range(keys):
        values = [m % 1000 for m in range(n, rows, keys)]
        expected = (len(values), sum(values), max(values))
        if last.pop(n * step % keys, None) != expected:
            sys.exit(f"FAILED: key {n * step % keys} is not {expected}")
    if last:
        sys.exit(f"FAILED: {len(last)} keys that should not be")
    return count


if __name__ == "__main__":
    main()
