#!/usr/bin/env python3
"""Does what README.md and docs/scale-out.md say of Kafka, command by command, and looks at the rows that come out.

    tests/kafka/walk.py target/debug/millstream

The binary must have the feature rdkafka. Ports, and paths below /tmp, are others than in the text, so that nothing is in the way.
"""

import csv
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def commands(page):
    """The commands of the console blocks from the one that starts a broker to the one that stops it."""
    with open(os.path.join(ROOT, page)) as file:
        text = file.read()
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(line[2:])
            elif line.startswith("  ") and found:
                found[-1] += "\n" + line.strip()
    first = next(i for i, c in enumerate(found) if "broker.sh start" in c)
    last = next(i for i, c in enumerate(found) if "broker.sh stop" in c)
    return found[first:last + 1]


def flights():
    with open(os.path.join(ROOT, "examples", "data", "flights.csv")) as file:
        return list(csv.DictReader(file))


def late(rows):
    """README: one row for each flight that left an hour late or more."""
    wanted = sum(1 for f in flights() if f["dep_delay"].strip() not in ("", "NA") and int(f["dep_delay"]) >= 60)
    return None if len(rows) == wanted else f"{len(rows)} rows instead of {wanted}"


def dests(rows):
    """docs/scale-out.md: the last row of each destination has the number of its flights."""
    wanted = Counter(f["dest"] for f in flights() if f["dep_delay"].strip() not in ("", "NA"))
    last = {row["dest"]: row["flights"] for row in rows}
    return None if last == dict(wanted) else f"{sum(last.values())} flights of {sum(wanted.values())} in {len(last)} places"


def free_port():
    """Below the ports that outgoing connections take."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return str(port)
            except OSError:
                pass


def walk(binary, page, check, dir):
    port = free_port()
    os.symlink(os.path.join(ROOT, "tests"), os.path.join(dir, "tests"))
    shutil.copytree(os.path.join(ROOT, "examples"), os.path.join(dir, "examples"))
    for name in os.listdir(os.path.join(dir, "examples")):
        path = os.path.join(dir, "examples", name)
        if name.endswith(".sql"):
            with open(path) as file:
                text = file.read()
            with open(path, "w") as file:
                file.write(text.replace("9092", port))
    env = dict(os.environ, CARGO_TARGET_DIR=os.path.abspath(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))))
    log = open(os.path.join(dir, "log"), "ab")
    beside, problems = [], []
    for command in commands(page):
        text = command.replace("9092", port).replace("/tmp/", f"{dir}/")
        text = re.sub(r"^millstream", f"exec {binary}", text)
        if text.startswith("kill"):
            for process in beside:
                process.send_signal(signal.SIGTERM)
            problems += [f"a process ended with {p.returncode}" for p in beside if p.wait(180) not in (0, 130, 143)]
        elif text.endswith("&"):
            beside.append(subprocess.Popen(["bash", "-c", text[:-1]], cwd=dir, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        elif "millstream sql" in command:
            deadline = time.monotonic() + 300
            while True:
                with_json = text if "--format" in text else f"{text} --format json"
                out = subprocess.run(["bash", "-c", with_json], cwd=dir, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
                problem = check([json.loads(line) for line in out.stdout.decode().splitlines()])
                if not problem or not beside or time.monotonic() > deadline:
                    break
            problems += [problem] if problem else []
        elif subprocess.run(["bash", "-c", text], cwd=dir, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode:
            problems.append(f"failed: {command}")
    for process in beside:
        process.kill() if process.poll() is None else None
    return problems


def main():
    binary, failures = os.path.abspath(sys.argv[1]), 0
    for page, check in (("README.md", late), ("docs/scale-out.md", dests)):
        with tempfile.TemporaryDirectory(prefix="millstream-walk-") as dir:
            from_ = time.monotonic()
            try:
                problems = walk(binary, page, check, dir)
            finally:
                # Also if it broke off.
                subprocess.run(["tests/kafka/broker.sh", "stop", f"{dir}/kafka"], cwd=ROOT)
            failures += bool(problems)
            print(f"{page}: {'FAILED: ' if problems else ''}{'; '.join(problems) or 'as it says'} ({time.monotonic() - from_:.0f} s)", flush=True)
            if problems:
                with open(os.path.join(dir, "log"), errors="replace") as file:
                    print("".join(file.readlines()[-40:]))
    sys.exit(bool(failures))


main()
