#!/usr/bin/env python3
"""Checks the shape of what `millstream-bench kafka --json FILE` writes: tests/kafka/bench.py FILE [BACKLOG]."""

import json
import sys


def lines(path):
    found = [json.loads(line) for line in open(path)]
    assert found[0]["name"] == "machine", "the machine comes first"
    assert len(found) > 1, "no results"
    for line in found[1:]:
        assert line["stage"] and line["records"] > 0 and line["seconds"] > 0 and line["records_per_second"] > 0, line
    return found[1:]


results = {line["stage"]: line for line in lines(sys.argv[1])}
assert {"bare loop", "raw", "raw transactional", "filter", "windows"} <= set(results), list(results)
for stage, line in results.items():
    assert line["name"] == "kafka" and line["samples"] and len(line["samples"]) == len(line["cpu_samples"]), line
    assert line["cpu_seconds"] >= 0, line
assert results["raw"]["of_bare_loop"] > 0 and results["filter"]["of_bare_loop"] is None, results
if "streams filter" in results:
    assert results["filter"]["of_streams"] > 0 and results["filter"]["of_streams_cpu"] is not None, results
for line in lines(sys.argv[2]) if len(sys.argv) > 2 else []:
    assert line["name"] == "kafka-backlog" and line["peak_bytes"] > 1 << 20 and line["allowed_bytes"] == 80 << 20, line
print(f"benchmark kafka: {len(results)} stages")
