#!/usr/bin/env python3
"""Takes the disk away from the millstream binary and checks that it says so, and that what it was doing is completed afterwards.

    tests/kill/disk.py target/debug/millstream [power|full|limit|errors|stall ...] [--count N] [--seed S] [--mode MODE ...]

power   A job on an ext4 file system in an image loses its power at a random moment: what was not synced is gone. (The file system is
        shut down by its ioctl, without its journal being written.) The last commits must have survived. Needs root; else SKIP.
full    The same on a file system in memory that is too small, which then grows. Needs root; else SKIP.
limit   Files must not grow beyond a random size (RLIMIT_FSIZE with SIGXFSZ ignored): sink, stage, snapshot, MANIFEST or dead letters.
errors  One system call of a kind fails (by strace; without it SKIP).
stall   A sink that nobody reads is named within 10 s.

After each fault the job must have ended with exit code 1 and the path and cause in its message; the next run must complete the output,
which is computed here, from ids in the rows, without the engine. FAULT_SCALE multiplies the counts; `full` is the full run.
"""

import argparse
import collections
import fcntl
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from kill import KINDS, MODES, SMALL, Job, kinds_of, place as directory

# What a usual and a full run do of each.
COUNTS = {"power": (10, 200), "full": (6, 60), "limit": (6, 60), "errors": (18, 120), "stall": (1, 12)}
# _IOR('X', 125, __u32) of ext4, and its flag to leave the journal alone.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2
ERRORS = [
    ("write", "ENOSPC"), ("write", "EIO"), ("write", "EINTR"), ("fsync", "EIO"), ("fsync", "ENOSPC"), ("rename", "EIO"),
    ("openat", "EMFILE"), ("openat", "EACCES"), ("ftruncate", "EIO"), ("unlink", "EIO"), ("mkdir", "ENOSPC"),
]
# One file out of all, and what is done with it: strace counts the calls that name it.
ONE_FILE = {
    "MANIFEST": ("state/job/MANIFEST", [("write", "ENOSPC"), ("write", "EIO"), ("fsync", "EIO"), ("openat", "EACCES")]),
    "dead letters": ("bad.jsonl", [("write", "ENOSPC"), ("write", "EIO"), ("fsync", "EIO"), ("openat", "EACCES")]),
}
# What this build can run.
HERE = list(KINDS)
CAUSES = "No space left|File too large|Input/output error|Too many open files|Permission denied|Read-only"


class Wrong(Exception):
    pass


def ended_well(text, code, where):
    """The message of a job that a fault has ended, out of what it said."""
    if code != 1:
        raise Wrong(f"{where}: exit code {code}: {text}")
    line = next((line for line in text.splitlines() if re.search(CAUSES, line)), None)
    if line is None:
        raise Wrong(f"{where}: the message has no cause: {text}")
    if not re.search(r"out|state|bad\.jsonl|i[12]\.jsonl", line):
        raise Wrong(f"{where}: the message has no path: {line}")
    return line


def kind_of_file(line):
    for name, pattern in [("stage", r"\.stage"), ("MANIFEST", "MANIFEST"), ("snapshot", "checkpoint|epoch-"), ("dead letters", "bad"),
                          ("sink", "out"), ("state", "state"), ("input", r"i[12]\.jsonl")]:
        if re.search(pattern, line):
            return name
    return "other"


def completed(job, where, run=None):
    """The next run is not hindered and writes what is missing."""
    open(job.path("log"), "w").close()
    if code := (run or job.run_inline)():
        raise Wrong(f"{where}: after it: exit code {code}: {job.log()}")
    if wrong := job.check(whole=True):
        raise Wrong(f"{where}: {wrong}")


def run_freely(job):
    process = job.start()
    return process.wait(timeout=120)


def run_and_listen(job, prepare=None):
    """Its messages go where there is room for them."""
    ran = subprocess.run(
        job.command(), cwd=job.place, stdin=subprocess.DEVNULL, capture_output=True, preexec_fn=prepare, timeout=120
    )
    return ran.returncode, ran.stderr.decode(errors="replace")


def newest_epoch(job):
    """The newest checkpoint that has its name."""
    names = os.listdir(job.path("state/job")) if os.path.isdir(job.path("state/job")) else []
    return max((int(m[1]) for n in names if (m := re.fullmatch(r"epoch-(\d+)\.ckpt", n))), default=-1)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def umount(place):
    for _ in range(100):
        if subprocess.run(["umount", place], capture_output=True).returncode == 0:
            return
        time.sleep(0.02)
    raise Wrong(f"{place} can't be unmounted")


def power(binary, rng, mode, seen):
    kind = rng.choice(HERE)
    with directory() as outside:
        image, place = os.path.join(outside, "image"), os.path.join(outside, "disk")
        os.mkdir(place)
        with open(image, "w") as f:
            f.truncate(64 << 20)
        quick = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", quick, image], check=True, capture_output=True)
        # Files renamed without being synced are not helped; the journal is written rarely, or now and then.
        options = f"loop,noauto_da_alloc,commit={rng.choice((1, 60))}"
        mount("-o", options, image, place)
        mounted = True
        try:
            job = Job(binary, KINDS[kind](), mode, rng, place)
            subprocess.run(["sync", "-f", place], check=True)
            for _ in range(rng.randrange(1, 4)):
                process = job.start()
                try:
                    process.wait(timeout=rng.random() * rng.choice((0.1, 0.6, 2.0)))
                except subprocess.TimeoutExpired:
                    pass
                before = newest_epoch(job)
                root = os.open(place, os.O_RDONLY)
                fcntl.ioctl(root, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
                os.close(root)
                # It meets errors everywhere, and may not even be able to say so.
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise Wrong(f"{mode} {kind}: it does not end when its disk is gone")
                mounted = False
                umount(place)
                mount("-o", options, image, place)
                mounted = True
                where = f"{mode} {kind}: power lost at epoch {before}"
                # While a checkpoint gets its name, the one before is durable.
                after = newest_epoch(job)
                if after < before - 1:
                    raise Wrong(f"{where}: then the newest checkpoint was {after}")
                if wrong := job.check(whole=False):
                    raise Wrong(f"{where}: {wrong}")
                seen["after commits" if before > 0 else "before the first commit"] += 1
            completed(job, where, lambda: run_freely(job))
        finally:
            if mounted:
                umount(place)


def full(binary, rng, mode, seen):
    kind = rng.choice(HERE)
    with tempfile.TemporaryDirectory() as place:
        mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", place)
        try:
            job = Job(binary, KINDS[kind](), mode, rng, place)
            inputs = sum(os.path.getsize(os.path.join(place, name)) for name in os.listdir(place))
            room = rng.choice((16 << 10, 64 << 10, 256 << 10, 1 << 20))
            mount("-o", f"remount,size={inputs + 8192 + rng.randrange(room)}", place)
            where = f"{mode} {kind}: a full disk"
            code, text = run_and_listen(job)
            if code == 0:
                seen["enough room"] += 1
            else:
                seen[kind_of_file(ended_well(text, code, where))] += 1
            if wrong := job.check(whole=False):
                raise Wrong(f"{where}: {wrong}")
            mount("-o", "remount,size=64m", place)
            completed(job, where, lambda: run_freely(job))
        finally:
            umount(place)


def limit(binary, rng, mode, seen):
    kind = rng.choice(HERE)
    most = int(100 * 2 ** (rng.random() * 12))
    where = f"{mode} {kind}: files of at most {most} bytes"

    def shrink():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    with directory() as place:
        job = Job(binary, KINDS[kind](), mode, rng, place, SMALL * 10)
        code, text = run_and_listen(job, shrink)
        if code == 0:
            seen["enough room"] += 1
        else:
            seen[kind_of_file(ended_well(text, code, where))] += 1
        if wrong := job.check(whole=False):
            raise Wrong(f"{where}: {wrong}")
        completed(job, where)


def errors(binary, rng, mode, seen):
    kind = rng.choice(HERE)
    # Each third run is about one file: in the first as in the other calls that name it.
    only = [None, None, None, "MANIFEST", None, "dead letters"][seen.total() % 6]
    path, calls = ONE_FILE[only] if only else (None, ERRORS)
    syscall, error = rng.choice(calls)
    when = rng.randrange(1, {None: 20, "MANIFEST": 4, "dead letters": 2}[only])
    if only == "MANIFEST" and mode == "simple":
        mode = "transactional"
    if only == "dead letters":
        kind = "stateless"
    where = f"{mode} {kind}: {error} at {syscall} {when}{f' of {path}' if path else ''}"
    with directory() as place:
        of = KINDS[kind]()
        if only == "dead letters":
            of.broken = 0.03
        job = Job(binary, of, mode, rng, place, SMALL)
        settings = ["--set", "execution=inline", "--set", "commit_interval=100 rows", "--set", "batch_rows=20"]
        # The start of the program opens files too; directories are made once.
        if not path:
            when = {"openat": when + 40, "mkdir": when % 3 + 1}.get(syscall, when)
        inject = ["strace", "-f", "-qq", "-o", job.path("calls"), *(["-P", path, "-P", job.path(path)] if path else []), "-e", f"trace={syscall}", "-e", f"inject={syscall}:error={error}:when={when}"]
        command = [*inject, binary, "run", "job.sql", "--state", "state", "--quiet", *settings]
        with open(job.path("log"), "wb") as log:
            code = subprocess.run(command, cwd=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode
        if code == 0 or error == "EINTR":
            # The call did not come that often, or could be done again or without.
            if code:
                raise Wrong(f"{where}: exit code {code}: {job.log()}")
            seen["no harm"] += 1
            if wrong := job.check(whole=True):
                raise Wrong(f"{where}: {wrong}")
            return
        if code == 2:
            # It could not even begin.
            code = 1
        with open(job.path("calls"), errors="replace") as calls:
            unheard = any(" write(2, " in call and "INJECTED" in call for call in calls)
        unheard = unheard and code == 1
        if not unheard:
            seen[kind_of_file(ended_well(job.log(), code, where))] += 1
        if wrong := job.check(whole=False):
            raise Wrong(f"{where}: {wrong}")
        completed(job, where)
    if unheard:
        # Calls are counted in each thread: that of the message was one of them. This one does not count, as its message can't be read.
        errors(binary, rng, mode, seen)


def stall(binary, rng, mode, seen):
    """A FIFO whose reader does nothing; nothing is lost when it goes on."""
    if mode != "simple":
        return
    with directory() as place:
        job = Job(binary, KINDS["stateless"](), mode, rng, place)
        with open(job.path("job.sql")) as f:
            text = f.read()
        with open(job.path("job.sql"), "w") as f:
            f.write(text.replace("path = 'out.jsonl'", "path = 'out.fifo'"))
        os.mkfifo(job.path("out.fifo"))
        reader = os.open(job.path("out.fifo"), os.O_RDONLY | os.O_NONBLOCK)
        execution = rng.choice(("inline", "threads", "auto"))
        with open(job.path("log"), "wb") as log:
            command = [binary, "run", "job.sql", "--set", f"execution={execution}", "--set", "batch_rows=200"]
            process = subprocess.Popen(command, cwd=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        began, named = time.monotonic(), None
        while named is None and time.monotonic() - began < 12 and process.poll() is None:
            time.sleep(0.1)
            if re.search(r"sink o\b|'o'", job.log()):
                named = time.monotonic() - began
        os.set_blocking(reader, True)
        with open(reader, "rb") as fifo, open(job.path("out.jsonl"), "wb") as out:
            shutil.copyfileobj(fifo, out)
        code = process.wait(timeout=60)
        if code:
            raise Wrong(f"a reader that does nothing, {execution}: exit code {code}: {job.log()}")
        if named is None or named > 11:
            raise Wrong(f"a reader that does nothing, {execution}: the sink is not named in time: {job.log()}")
        seen[execution] += 1
        if wrong := job.check(whole=True):
            raise Wrong(f"a reader that does nothing, {execution}: {wrong}")


def cannot(what):
    """Why a fault can't be made here."""
    if what in ("power", "full"):
        if os.geteuid() != 0:
            return "mounting needs root"
        with tempfile.TemporaryDirectory() as place:
            if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True).returncode:
                return "mounting is not permitted here"
            umount(place)
        if what == "power" and shutil.which("mkfs.ext4") is None:
            return "mkfs.ext4 is not installed"
        if what == "power" and not os.path.exists("/dev/loop-control"):
            return "there are no loop devices"
    if what == "errors" and shutil.which("strace") is None:
        return "strace is not installed"
    return None


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("binary")
    arguments.add_argument("faults", choices=[*COUNTS, []], nargs="*")
    arguments.add_argument("--count", type=int)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments.add_argument("--mode", choices=MODES, nargs="*", default=list(MODES))
    args = arguments.parse_args()
    binary = os.path.abspath(args.binary)
    HERE[:] = kinds_of(binary)
    scale = os.environ.get("FAULT_SCALE", "1")
    print(f"seed {args.seed}")
    failures = 0
    for what in args.faults or COUNTS:
        if why := cannot(what):
            print(f"{what}: SKIP ({why})")
            continue
        usual, most = COUNTS[what]
        count = args.count or (most if scale == "full" else max(1, round(usual * float(scale))))
        began, seen, wrong = time.monotonic(), collections.Counter(), None
        modes = ["simple"] if what == "stall" else args.mode
        for n in range(count):
            try:
                globals()[what](binary, random.Random(f"{args.seed} {what} {n}"), modes[n % len(modes)], seen)
            except Wrong as e:
                wrong = f"run {n}: {e}"
                break
        if what == "errors" and wrong is None and count >= 18 and (missing := set(ONE_FILE) - set(seen)):
            wrong = f"never the one that failed: {', '.join(missing)}"
        at = ", ".join(f"{name} {n}" for name, n in sorted(seen.items()))
        verdict = f"FAILED: {wrong}" if wrong else "ok"
        print(f"{what}: {count} runs ({at}), {time.monotonic() - began:.0f} s: {verdict}", flush=True)
        failures += wrong is not None
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
