#!/usr/bin/env python3
"""Kills the millstream binary with SIGKILL at random moments and checks that the output is what it must be.

    tests/kill/kill.py target/debug/millstream [--kills N] [--seed S] [--kind KIND ...] [--mode MODE ...]
    tests/kill/kill.py target/debug/millstream --syscalls [--seed S] [--kind KIND ...] [--mode MODE ...]

Each kind of job reads files of rows with ids, is killed and started again until it ends, and then begins anew, until it has been
killed N times behind the opening of its state. What must be in the output is computed here, from the ids, without the engine. FAULT_SCALE multiplies N; `full`
is the full run of 500 kills a kind. Prints its seed; the last line says how often it killed and what went wrong.

With --syscalls a small job, on one thread, is killed by strace at each system call that changes a file or makes one durable, one after
the other; every third time its recovery is killed too. Without strace that is skipped, and said.

A killed process leaves what it wrote to the system, so jobs live in memory (/dev/shm, unless TMPDIR says where), which has
the fewest moments of waiting; one in eight lives on the disk.
"""

import argparse
import base64
import functools
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

ROWS = 30_000
SMALL = 400
# What the way of a commit and of a recovery is made of.
SYSCALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "ftruncate", "mkdir", "openat")
# Of these every job makes several.
OFTEN = ("fsync", "rename", "openat")
USUAL, FULL = 30, 500
MODES = ("simple", "transactional", "rotated")
# Jobs that have a directory so far.
PLACES = itertools.count()


def place(in_memory=None):
    """A directory for a job; it goes with the `with` that has it."""
    n = next(PLACES)
    memory = n % 8 != 7 if in_memory is None else in_memory
    there = memory and "TMPDIR" not in os.environ and os.path.isdir("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="millstream-", dir="/dev/shm" if there else None)


def rows(rng, count, first, keys, late):
    """Rows that mostly rise in time; with `late` some leap back."""
    out, some = [], rng.random
    for n in range(count):
        leap = 30 if late and some() < 0.01 else 0
        ts = n // 20 - (0, 0, 1, 2)[int(some() * 4)] - leap + 1_000
        out.append({"id": first + n, "k": int(some() * keys), "ts": ts})
    return out


@functools.cache
def stamp(second):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


class Kind:
    """A job: its text, and what it must write."""

    sources = 1
    # Which share of the rows is followed by a line that is none.
    broken = 0
    keys = 50
    late = True
    watermark = False
    # Settings of a job of so many rows.
    settings = staticmethod(lambda count: [])

    def text(self):
        raise NotImplementedError

    def expected(self, inputs):
        raise NotImplementedError

    def growing(self):
        """Whether output that is there already must be a beginning of what is expected."""
        return True


class Stateless(Kind):
    broken = 0.003

    def text(self):
        return "INSERT INTO o SELECT id, id * 2 AS twice FROM i1 WHERE id % 3 <> 0;"

    def expected(self, inputs):
        return [{"id": r["id"], "twice": r["id"] * 2} for r in inputs[0] if r["id"] % 3 != 0]


class Union(Kind):
    sources = 2

    def text(self):
        return "INSERT INTO o SELECT id FROM i1 UNION ALL SELECT id FROM i2 WHERE k < 25;"

    def expected(self, inputs):
        return [{"id": r["id"]} for r in inputs[0]] + [{"id": r["id"]} for r in inputs[1] if r["k"] < 25]


class Groups(Kind):
    def text(self):
        return "INSERT INTO o SELECT k, count(*) AS c, min(id) AS least, max(id) AS most FROM i1 GROUP BY k;"

    def expected(self, inputs):
        groups = {}
        for r in inputs[0]:
            groups.setdefault(r["k"], []).append(r["id"])
        return [{"k": k, "c": len(ids), "least": min(ids), "most": max(ids)} for k, ids in groups.items()]


class Many(Groups):
    """So many groups that epochs write only what changed."""

    keys = 25_000


class Disk(Groups):
    """Groups of which few fit into memory: the others lie in the store (needs a build with the feature disk-state)."""

    keys = 25_000
    settings = staticmethod(lambda count: ["state_backend = 'disk'", f"state_max_bytes = '{512 if count > SMALL else 48} KiB'"])


class Windows(Kind):
    watermark = True

    def text(self):
        return (
            "INSERT INTO o SELECT k, window_start AS w, count(*) AS c, max(id) AS most "
            "FROM TUMBLE(i1, ts, INTERVAL '20' SECOND) GROUP BY k, window_start, window_end;"
        )

    def growing(self):
        return False

    def expected(self, inputs):
        watermark, windows = None, {}
        for r in inputs[0]:
            start = r["ts"] // 20 * 20
            if watermark is None or start + 20 > watermark:
                windows.setdefault((start, r["k"]), []).append(r["id"])
            watermark = r["ts"] - 2 if watermark is None else max(watermark, r["ts"] - 2)
        return [
            {"k": k, "w": stamp(start), "c": len(ids), "most": max(ids)} for (start, k), ids in windows.items()
        ]


class Sessions(Kind):
    """Sessions of keys that come about every 20 s; what merges is at least half a second away from the gap."""

    keys = 400
    late = False
    watermark = True

    def text(self):
        return (
            "INSERT INTO o SELECT k, window_start AS w, count(*) AS c, max(id) AS most "
            "FROM SESSION(i1, ts, INTERVAL '4.5' SECOND PARTITION BY k) GROUP BY k, window_start, window_end;"
        )

    def growing(self):
        return False

    def expected(self, inputs):
        keys, out = {}, []
        for r in inputs[0]:
            keys.setdefault(r["k"], []).append((r["ts"], r["id"]))
        for k, members in keys.items():
            members.sort()
            session = [members[0]]
            for before, now in zip(members, members[1:]):
                if now[0] - before[0] > 4.5:
                    out.append((k, session))
                    session = []
                session.append(now)
            out.append((k, session))
        return [
            {"k": k, "w": stamp(s[0][0]), "c": len(s), "most": max(i for _, i in s)} for k, s in out
        ]


KINDS = {
    "stateless": Stateless, "union": Union, "groups": Groups, "many": Many, "disk": Disk, "windows": Windows, "sessions": Sessions,
}
NOT_HERE = ("not supported yet", "needs a build with the feature")


def kinds_of(binary):
    """The kinds that this build can run."""
    def here(kind):
        with place() as where:
            said = Job(binary, kind(), "simple", random.Random(0), where, 1).supported().stderr
            return not any(reason in said for reason in NOT_HERE)

    return [name for name, kind in KINDS.items() if here(kind)]


def normal(row):
    """A row as text: times without fraction and zone, so that only the instant counts."""
    if "w" in row:
        row = {**row, "w": row["w"].replace(" ", "T").removesuffix("Z").split(".")[0]}
    return repr(sorted(row.items()))


class Lines(dict):
    """Lines of output as rows: most are read again after each kill, and are parsed once."""

    def __missing__(self, line):
        row = self[line] = normal(json.loads(line))
        return row


class Fed:
    """What jobs of a kind read, and what they must write: every fifth job has other rows."""

    made = {}

    def __init__(self, kind, rng, count):
        self.inputs = [rows(rng, count, i * 1_000_000, kind.keys, kind.late) for i in range(1, kind.sources + 1)]
        self.texts, self.broken = [], []
        for content in self.inputs:
            lines = []
            for r in content:
                lines.append(f'{{"id": {r["id"]}, "k": {r["k"]}, "ts": "{stamp(r["ts"])}"}}')
                if kind.broken and rng.random() < kind.broken:
                    self.broken.append('{"id": broken %d' % r["id"])
                    lines.append(self.broken[-1])
            self.texts.append("\n".join(lines) + "\n")
        self.expected = [normal(r) for r in kind.expected(self.inputs)]
        self.counted, self.lines = Counter(self.expected), Lines()

    @classmethod
    def of(cls, kind, rng, count):
        key = (type(kind), kind.broken, count)
        uses, fed = cls.made.get(key, (0, None))
        if uses % 5 == 0:
            fed = cls(kind, rng, count)
        cls.made[key] = (uses + 1, fed)
        return fed


class Job:
    def __init__(self, binary, kind, mode, rng, place, count=ROWS):
        self.binary, self.kind, self.mode, self.rng, self.place = binary, kind, mode, rng, place
        fed = Fed.of(kind, rng, count)
        self.broken, self.expected, self.counted, self.lines = fed.broken, fed.expected, fed.counted, fed.lines
        for number, text in enumerate(fed.texts, 1):
            with open(self.path(f"i{number}.jsonl"), "w") as f:
                f.write(text)
        transactional = mode != "simple"
        lines = ["SET job_name = 'job';", "SET mode = 'transactional';" if transactional else "SET mode = 'simple';"]
        lines += [f"SET {setting};" for setting in kind.settings(count)]
        for number in range(1, kind.sources + 1):
            dlq = ", on_error = 'dlq', dlq = 'bad.jsonl'" if kind.broken else ""
            lines.append(
                f"CREATE STREAM i{number} (id BIGINT, k BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '2' SECOND) "
                f"WITH (connector = 'file', path = 'i{number}.jsonl'{dlq});"
                if kind.watermark
                else f"CREATE STREAM i{number} (id BIGINT, k BIGINT, ts TIMESTAMP) "
                f"WITH (connector = 'file', path = 'i{number}.jsonl'{dlq});"
            )
        path = "out" if transactional else "out.jsonl"
        # Parts that grow over commits are cut back to their lengths.
        rotated = ", rotate_size = '20 KB'" if mode == "rotated" else ""
        lines.append(f"CREATE STREAM o WITH (connector = 'file', path = '{path}', format = 'json'{rotated});")
        lines.append(kind.text())
        with open(self.path("job.sql"), "w") as f:
            f.write("\n".join(lines))

    def path(self, name):
        return os.path.join(self.place, name)

    def supported(self):
        return subprocess.run([self.binary, "check", "job.sql", "--set", "state=state"], cwd=self.place, capture_output=True, text=True)

    def command(self):
        execution = self.rng.choice(("inline", "threads", "auto"))
        interval = self.rng.choice(("3ms", "20ms", "500 rows", "100 KB"))
        threads = self.rng.choice((1, 2, 4))
        settings = ["--set", f"execution={execution}", "--threads", str(threads), "--set", f"commit_interval={interval}", "--set", "batch_rows=200"]
        return [self.binary, "run", "job.sql", "--state", "state", "--quiet", *settings]

    def run_inline(self, syscall=None, when=0):
        """One run on one thread; strace kills it at that call, if it comes to it. Gives the exit code."""
        settings = ["--set", "execution=inline", "--set", "commit_interval=100 rows", "--set", "batch_rows=20"]
        command = [self.binary, "run", "job.sql", "--state", "state", "--quiet", *settings]
        if syscall:
            inject = f"inject={syscall}:signal=SIGKILL:when={when}"
            command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={syscall}", "-e", inject, *command]
        with open(self.path("log"), "ab") as log:
            return subprocess.run(command, cwd=self.place, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode

    def start(self):
        with open(self.path("log"), "ab") as log:
            return subprocess.Popen(self.command(), cwd=self.place, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def output(self, whole):
        """Rows of the output; unless it is whole, a last line may be torn."""
        out = []
        for name in self.files():
            with open(name) as f:
                text = f.read()
            if not whole:
                text = text[: text.rfind("\n") + 1]
            out += map(self.lines.__getitem__, text.splitlines())
        return out

    def files(self):
        if self.mode == "simple":
            return [self.path("out.jsonl")] if os.path.exists(self.path("out.jsonl")) else []
        if not os.path.isdir(self.path("out")):
            return []
        names = sorted(n for n in os.listdir(self.path("out")) if n.startswith("part-"))
        return [os.path.join(self.path("out"), n) for n in names]

    def check(self, whole):
        expected = self.expected
        # A transactional job shows whole part files only, at any time; of a single file the last line may be torn.
        got = self.output(whole or self.mode != "simple")
        if not whole:
            if self.kind.growing():
                return None if got == expected[: len(got)] else "what is there is not a beginning of what is expected"
            twice = [row for row, n in (Counter(got) - self.counted).items()]
            return f"{twice[:3]} should not be there (yet)" if twice else None
        if self.kind.growing() and got == expected:
            return self.check_letters()
        missing, more = self.counted - Counter(got), Counter(got) - self.counted
        if missing or more:
            return f"lost: {list(missing.items())[:3]}, too much: {list(more.items())[:3]} of {len(expected)} rows"
        if self.kind.growing() and got != expected:
            return "the rows are there, in another order"
        return self.check_letters()

    def check_letters(self):
        if not self.kind.broken:
            return None
        with open(self.path("bad.jsonl")) as f:
            letters = [json.loads(line) for line in f]
        got = Counter(base64.b64decode(letter["raw"]).decode() for letter in letters)
        lost, more = Counter(self.broken) - got, got - Counter(self.broken)
        if lost or more:
            return f"dead letters lost: {list(lost)[:3]}, too many: {list(more)[:3]}"
        return None

    def opened(self):
        """When its state was opened last."""
        try:
            return os.stat(self.path("state/job/LOCK")).st_mtime_ns
        except FileNotFoundError:
            return None

    def start_and_open(self):
        """Starts it and waits until it opens its state, or has ended."""
        before = self.opened()
        process = self.start()
        while self.opened() == before and process.poll() is None:
            time.sleep(0.0005)
        return process

    def log(self):
        with open(self.path("log"), errors="replace") as f:
            return f.read()[-2000:]


def run_kind(binary, name, mode, kills, rng):
    """Kills that many times; gives the number of kills and jobs, or what went wrong."""
    done, jobs, whole = 0, 0, None
    while done < kills:
        with place() as where:
            job = Job(binary, KINDS[name](), mode, rng, where)
            checked = job.supported()
            if checked.returncode:
                if any(reason in checked.stderr for reason in NOT_HERE):
                    return 0, 0, None
                return done, jobs, f"it can't be checked: {checked.stderr}"
            jobs += 1
            if whole is None:
                # How long it takes if nobody kills it, from when it opens its state: by that, moments are chosen.
                process = job.start_and_open()
                began = time.monotonic()
                if code := process.wait(timeout=120):
                    return done, jobs, f"unhurt: exit code {code}: {job.log()}"
                whole = max(time.monotonic() - began, 0.01)
                if wrong := job.check(whole=True):
                    return done, jobs, f"unhurt: {wrong}"
                continue
            starts = 0
            while True:
                starts += 1
                if starts > 400:
                    return done, jobs, "it makes no progress"
                # One in eight dies at any moment of its start, which is not counted: hardly anything can be lost there. Of the others some
                # die early, in recovery too, and some have time to get on.
                early = rng.random() < 1 / 8
                process = job.start() if early else job.start_and_open()
                most = 0.03 if early else rng.choice((0.1, 0.3, 0.8)) * whole
                try:
                    code = process.wait(timeout=rng.random() * most if done < kills else 120)
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    done += not early
                    wrong = job.check(whole=False)
                    if wrong:
                        return done, jobs, f"after a kill: {wrong}"
                    continue
                if code:
                    return done, jobs, f"exit code {code}: {job.log()}"
                break
            wrong = job.check(whole=True)
            if wrong:
                return done, jobs, f"{wrong}\n{job.log()}"
    return done, jobs, None


def run_syscalls(binary, name, mode, rng):
    """Kills at each call of each kind; gives how often at which, or what went wrong."""
    kills = Counter()
    for syscall in SYSCALLS:
        when = 0
        while True:
            when += 1
            with place() as where:
                job = Job(binary, KINDS[name](), mode, rng, where, SMALL)
                code = job.run_inline(syscall, when)
                if code == 0:
                    break
                kills[syscall] += 1
                when_killed = f"killed at {syscall} {when}"
                if code not in (-signal.SIGKILL, 128 + signal.SIGKILL):
                    return kills, f"{when_killed}: exit code {code}: {job.log()}"
                wrong = job.check(whole=False)
                if wrong is None and when % 3 == 0:
                    other, later = rng.choice(SYSCALLS), rng.randrange(1, 12)
                    when_killed += f", then at {other} {later}"
                    code = job.run_inline(other, later)
                    kills["recovery"] += code != 0
                    wrong = job.check(whole=False) if code else None
                if wrong is None and (code := job.run_inline()):
                    wrong = f"exit code {code}"
                wrong = wrong or job.check(whole=True)
                if wrong:
                    return kills, f"{when_killed}: {wrong}\n{job.log()}"
    if few := [call for call in OFTEN if kills[call] < 4]:
        return kills, f"hardly killed at {', '.join(few)}: does strace send its signals?"
    return kills, None


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("binary")
    arguments.add_argument("--kills", type=int)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments.add_argument("--kind", choices=KINDS, nargs="*", default=list(KINDS))
    arguments.add_argument("--mode", choices=MODES, nargs="*", default=list(MODES))
    arguments.add_argument("--syscalls", action="store_true")
    args = arguments.parse_args()
    scale = os.environ.get("FAULT_SCALE", "1")
    kills = args.kills or (FULL if scale == "full" else max(1, round(USUAL * float(scale))))
    binary = os.path.abspath(args.binary)
    if args.syscalls:
        sys.exit(main_syscalls(args, binary))
    print(f"seed {args.seed}, {kills} kills of each kind")
    failures = 0
    for mode in args.mode:
        for name in args.kind:
            began = time.monotonic()
            done, jobs, wrong = run_kind(binary, name, mode, kills, random.Random(f"{args.seed} {mode} {name}"))
            took = time.monotonic() - began
            if wrong is None and jobs == 0:
                print(f"{mode} {name}: SKIP (this build can't run it)")
                continue
            print(f"{mode} {name}: {done} kills in {jobs} jobs, {took:.0f} s: {'FAILED: ' + wrong if wrong else 'ok'}", flush=True)
            failures += wrong is not None
    sys.exit(1 if failures else 0)


def main_syscalls(args, binary):
    if shutil.which("strace") is None:
        print("kills at system calls: SKIP (strace is not installed)")
        return 0
    print(f"seed {args.seed}, a kill at each of {', '.join(SYSCALLS)}")
    failures = 0
    here = kinds_of(binary)
    for mode in args.mode:
        for name in args.kind:
            if name not in here:
                print(f"{mode} {name}: SKIP (this build can't run it)")
                continue
            began = time.monotonic()
            done, wrong = run_syscalls(binary, name, mode, random.Random(f"{args.seed} {mode} {name}"))
            verdict = f"FAILED: {wrong}" if wrong else "ok"
            at = ", ".join(f"{what} {n}" for what, n in done.items())
            print(f"{mode} {name}: {done.total()} kills ({at}), {time.monotonic() - began:.0f} s: {verdict}", flush=True)
            failures += wrong is not None
    return 1 if failures else 0


if __name__ == "__main__":
    main()
