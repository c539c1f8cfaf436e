#!/usr/bin/env python3
"""Hurts the engine and a broker while a transactional job runs between two topics, and checks with Apache's Java client, reading
committed transactions only, that every id has arrived exactly once.

    tests/kafka/faults.py target/debug/millstream VERSION [--kills N] [--seed S] [--only NAME ...]

Starts a broker of that version by broker.sh, with a loopback proxy as its advertised listener. The binary must have the feature
rdkafka. FAULT_SCALE multiplies the number of kills; `full` is the full run of 200. Prints its seed.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
USUAL, FULL = 15, 200
RATE = 4_000
# How long something that must come may take on a machine that has other things to do. No test ends for a clock but by failing.
PATIENCE = 180


def free_port():
    """Below the ports that outgoing connections take: a port of theirs may be in use when its broker comes again."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def last_lines(path, n):
    if not os.path.exists(path):
        return "(nothing)"
    with open(path, errors="replace") as file:
        return "".join(file.readlines()[-n:])


def wait_until(what, done, words=lambda: "", patience=PATIENCE, pause=0.02):
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {patience} s\n{words()}")
        time.sleep(pause)


def wrong_ids(fed, rows, lost, twice, strange):
    """What is wrong with the ids that were read back."""
    problems = [] if len(fed) >= rows else [f"only {len(fed)} of {rows} ids were fed"]
    for what, ids in (("lost", lost), ("twice", twice), ("strange", strange)):
        if ids:
            problems.append(f"{len(ids)} ids {what}, such as {sorted(ids)[:3]}")
    return problems


class Proxy:
    """Passes bytes on to the broker, with delays and cuts on demand."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.port = self.listener.getsockname()[1]
        self.target = None
        self.delay = 0.0
        self.pairs = set()
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 2)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            with self.lock:
                self.pairs.add((client, server))
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    def pump(self, a, b):
        try:
            while data := a.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """Every connection breaks."""
        with self.lock:
            pairs, self.pairs = self.pairs, set()
        for pair in pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


class Rig:
    def __init__(self, binary, version, rng, dir):
        self.binary, self.version, self.rng, self.dir = os.path.abspath(binary), version, rng, dir
        self.broker_dir = os.path.join(dir, "broker")
        self.libs = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "kafka", f"libs-{version}")
        self.proxy = Proxy()
        self.names = 0
        self.started = []
        self.proxy.target = free_port()
        self.classes = os.path.join(dir, "classes")
        subprocess.run(
            ["javac", "-d", self.classes, "-cp", f"{self.libs}/*", os.path.join(HERE, "ReadBack.java")], check=True
        )

    def script(self, *arguments):
        env = dict(os.environ, KAFKA_PORT=str(self.proxy.target), KAFKA_ADVERTISED=str(self.proxy.port))
        done = subprocess.run([os.path.join(HERE, "broker.sh"), *arguments], env=env, stdout=subprocess.DEVNULL)
        if done.returncode:
            sys.exit(f"broker.sh {' '.join(arguments)} failed")

    def start_broker(self):
        self.script("start", self.version, self.broker_dir)

    def broker_pid(self):
        with open(os.path.join(self.broker_dir, "pid")) as file:
            return int(file.read())

    def topic(self, prefix, partitions=2):
        self.names += 1
        name = f"{prefix}-{self.names}"
        self.script("topic", self.broker_dir, name, str(partitions))
        return name

    def with_(self, topic, more=""):
        return (
            f"WITH (connector = 'kafka', client = 'rdkafka', bootstrap_servers = '127.0.0.1:{self.proxy.port}', "
            f"topic = '{topic}', format = 'json'{more})"
        )

    def engine(self, text, name, *arguments):
        path = os.path.join(self.dir, f"{name}.sql")
        with open(path, "w") as file:
            file.write(text)
        log = open(os.path.join(self.dir, f"{name}.log"), "ab")
        process = subprocess.Popen([self.binary, "run", path, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.started.append(process)
        return process

    def end_all(self):
        """Nobody of a fault is there when the next one begins, also if it broke off."""
        for process in self.started:
            end(process)
        self.started.clear()

    def words(self, name):
        return last_lines(os.path.join(self.dir, f"{name}.log"), 20)

    def read_back(self, topic):
        """The ids in a topic, each as often as it is there."""
        return Counter(value["id"] for value in self.values(topic))

    def values(self, topic):
        """What is in a topic, by Apache's client: in order within a partition."""
        done = subprocess.run(
            ["java", "-cp", f"{self.libs}/*:{self.classes}", "ReadBack", f"127.0.0.1:{self.proxy.port}", topic],
            capture_output=True, text=True, timeout=2 * PATIENCE,
        )
        if done.returncode:
            sys.exit(done.stderr)
        return [json.loads(json.loads(line)["value"]) for line in done.stdout.splitlines()]


def newest(folder):
    """The epoch of the newest snapshot."""
    files = [f for f in os.listdir(folder) if f.endswith(".ckpt")] if os.path.isdir(folder) else []
    return max((int(f[6:26]) for f in files), default=-1)


class Feeder:
    """Writes ids into a topic until it is told to stop, and so many at least, so that no test depends on how fast a machine is."""

    def __init__(self, rig, name, insert, topic, rows):
        self.rig, self.name, self.topic, self.rows = rig, f"{name}-feed", topic, rows
        self.began = time.monotonic()
        self.process = rig.engine(
            f"""CREATE STREAM g (id BIGINT) WITH (connector = 'generator', rate = '{RATE}', "fields.id.kind" = 'sequence');
            {insert}""",
            self.name,
        )

    def check(self):
        if self.process.poll() is not None:
            sys.exit(f"{self.name}: it ended with {self.process.returncode}\n{self.rig.words(self.name)}")

    def has_enough(self):
        self.check()
        return self.rig.read_back(self.topic).total() >= self.rows

    def stop(self):
        # Reading them all costs more than waiting until they can be there.
        wait_until("time", lambda: time.monotonic() - self.began >= self.rows / RATE, patience=self.rows / RATE + 1)
        wait_until(f"{self.name}: {self.rows} ids", self.has_enough, lambda: self.rig.words(self.name), pause=1)
        code = end(self.process, signal.SIGTERM)
        if code not in (0, -signal.SIGTERM):
            sys.exit(f"{self.name}: it ended with {code}\n{self.rig.words(self.name)}")


class Run:
    """A job from `in` to `out`, while `in` grows."""

    def __init__(self, rig, name, rows, timeout="30s"):
        self.rig, self.name, self.rows = rig, name, rows
        self.input, self.output = rig.topic(f"{name}-in"), rig.topic(f"{name}-out")
        self.state = os.path.join(rig.dir, f"{name}-state")
        self.timeout = timeout
        self.feeder = Feeder(rig, name, f"CREATE STREAM a {rig.with_(self.input)}; INSERT INTO a SELECT id FROM g;", self.input, rows)

    def text(self, stop="", state=None):
        return f"""SET mode = 'transactional'; SET state = '{state or self.state}'; SET job_name = '{self.name}';
            SET commit_interval = '150ms'; SET max_restarts = '20';
            CREATE STREAM a (id BIGINT) {self.rig.with_(self.input, f", group_id = 'g-{self.name}', timeout = '10s'{stop}")};
            CREATE STREAM b {self.rig.with_(self.output, f", transaction_timeout = '{self.timeout}', timeout = '10s'")};
            INSERT INTO b SELECT id FROM a WHERE id % 3 <> 0;"""

    def start(self, state=None, name=None):
        return self.rig.engine(self.text(state=state), name or self.name)

    def newest(self, state=None):
        return newest(os.path.join(state or self.state, self.name))

    def wait_for_state(self, epochs, state=None, name=None):
        """Until so many snapshots more have been written."""
        name = name or self.name

        def written():
            self.feeder.check()
            return self.newest(state) >= wanted

        wanted = self.newest(state) + epochs
        wait_until(f"{name}: {epochs} commits", written, lambda: self.rig.words(name))

    def finish(self, state=None):
        """Lets the input end, takes what is left, and looks at what has arrived."""
        self.feeder.stop()
        last = self.rig.engine(self.text(", stop = 'latest'", state), self.name)
        try:
            code = last.wait(timeout=2 * PATIENCE)
        except subprocess.TimeoutExpired:
            end(last)
            code = "no end"
        fed = self.rig.read_back(self.input)
        seen = self.rig.read_back(self.output)
        wanted = {id for id in fed if id % 3}
        lost, strange = wanted - set(seen), set(seen) - wanted
        twice = [id for id, n in seen.items() if n > fed[id]]
        problems = []
        if code:
            problems.append(f"the last run ended with {code}")
        problems += wrong_ids(fed, self.rows, lost, twice, strange)
        if problems:
            print(self.rig.words(self.name))
        return problems


def end(engine, sig=signal.SIGKILL):
    if engine.poll() is None:
        engine.send_signal(sig)
    return engine.wait(timeout=PATIENCE)


def stop_process(engine):
    """SIGSTOP, and until every thread has heard of it."""
    engine.send_signal(signal.SIGSTOP)

    def stands(task):
        try:
            with open(f"/proc/{engine.pid}/task/{task}/stat") as file:
                return file.read().rsplit(")", 1)[1].split()[0] in "TtZX"
        except OSError:
            return True

    wait_until("SIGSTOP", lambda: all(stands(t) for t in os.listdir(f"/proc/{engine.pid}/task")), pause=0.005)


def kills(rig, count):
    """SIGKILL of the engine at random moments."""
    run = Run(rig, "kills", rows=int(RATE * (3 + count * 0.8)))
    for _ in range(count):
        engine = run.start()
        if rig.rng.random() < 0.7:
            run.wait_for_state(rig.rng.randint(1, 3))
        time.sleep(rig.rng.random() * 0.3)
        code = end(engine)
        if code != -signal.SIGKILL:
            return [f"it ended by itself with {code}\n{rig.words('kills')}"]
    return run.finish()


def broker_killed(rig, count):
    """SIGKILL of the broker, and a start of it in the same folder."""
    run = Run(rig, "broker-killed", rows=RATE * 25)
    engine = run.start()
    for _ in range(2):
        run.wait_for_state(5)
        os.kill(rig.broker_pid(), signal.SIGKILL)
        rig.proxy.cut()
        rig.start_broker()
    run.wait_for_state(5)
    code = end(engine, signal.SIGTERM)
    return run.finish() + ([f"the engine ended with {code}\n{rig.words('broker-killed')}"] if code not in (0, 130, 143) else [])


def broker_stopped(rig, count):
    """SIGSTOP of the broker for 10 s."""
    run = Run(rig, "broker-stopped", rows=RATE * 15)
    engine = run.start()
    run.wait_for_state(5)
    os.kill(rig.broker_pid(), signal.SIGSTOP)
    time.sleep(10)
    os.kill(rig.broker_pid(), signal.SIGCONT)
    run.wait_for_state(5)
    code = end(engine, signal.SIGTERM)
    return run.finish() + ([f"the engine ended with {code}\n{rig.words('broker-stopped')}"] if code not in (0, 130, 143) else [])


def wake_after_its_transaction(rig, run, delay):
    """SIGSTOP of the engine for longer than its transactions may last, with so much delay on the way to the broker just before. Its exit
    code when it wakes, or None if it goes on."""
    engine = run.start()
    run.wait_for_state(5)
    # In the middle of a transaction, most likely, as rows come all the time; between two it may go on.
    for _ in range(3):
        rig.proxy.delay = delay
        time.sleep(10 * delay)
        stop_process(engine)
        rig.proxy.delay = 0
        time.sleep(4)
        engine.send_signal(signal.SIGCONT)
        goal = run.newest() + 5
        wait_until("its end, or five commits", lambda: engine.poll() is not None or run.newest() >= goal, lambda: rig.words(run.name))
        if engine.poll() is not None:
            return engine.returncode
    end(engine)
    return None


def engine_stopped(rig, count):
    """It must end with 3, whoever goes on loses nothing."""
    run = Run(rig, "engine-stopped", rows=RATE * 30, timeout="2s")
    code = wake_after_its_transaction(rig, run, 0)
    if code is None:
        return ["it went on three times"]
    return run.finish() + ([f"it ended with {code}\n{rig.words('engine-stopped')}"] if code != 3 else [])


def engine_stopped_slow(rig, count):
    """The same where messages are under way: they have timed out when it wakes, and it may begin again from its last commit, as nobody has
    taken over; if it ends, then with 3."""
    run = Run(rig, "engine-stopped-slow", rows=RATE * 15, timeout="2s")
    code = wake_after_its_transaction(rig, run, 0.1)
    return run.finish() + ([f"it ended with {code}\n{rig.words(run.name)}"] if code not in (3, None) else [])


def zombie(rig, count):
    """SIGSTOP of the engine, another instance goes on elsewhere with a copy of the state, and the first one wakes up."""
    run = Run(rig, "zombie", rows=RATE * 10)
    engine = run.start()
    run.wait_for_state(5)
    stop_process(engine)
    copy = os.path.join(rig.dir, "zombie-copy")
    shutil.copytree(run.state, copy)
    heir = run.start(state=copy, name="zombie-heir")
    # Woken before that it would commit once more, rightly, and the copy would be older than what counts.
    run.wait_for_state(3, copy, "zombie-heir")
    engine.send_signal(signal.SIGCONT)
    try:
        code = engine.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        end(engine)
        code = "no end"
    problems = [f"the zombie ended with {code}\n{rig.words('zombie')}"] if code != 3 else []
    if heir.poll() is not None:
        problems.append(f"the heir has ended\n{rig.words('zombie-heir')}")
    end(heir, signal.SIGTERM)
    return run.finish(state=copy) + problems


def network(rig, count):
    """Connections that break and bytes that come late."""
    run = Run(rig, "network", rows=RATE * 14)
    engine = run.start()
    run.wait_for_state(2)
    for _ in range(8):
        time.sleep(rig.rng.random())
        rig.proxy.delay = rig.rng.choice((0, 0.005, 0.05))
        if rig.rng.random() < 0.6:
            rig.proxy.cut()
    rig.proxy.delay = 0
    run.wait_for_state(3)
    code = end(engine, signal.SIGTERM)
    return run.finish() + ([f"the engine ended with {code}\n{rig.words('network')}"] if code not in (0, 130, 143) else [])


class Group:
    """Three instances of a job that share a group, while its topic grows."""

    def __init__(self, rig, name, rows, mode="transactional", more="", timeout="30s", restarts=0, fetch="direct"):
        self.rig, self.name, self.rows, self.mode, self.more, self.timeout, self.restarts = rig, name, rows, mode, more, timeout, restarts
        self.more += f", fetch = '{fetch}'"
        self.input, self.output = rig.topic(f"{name}-in", 6), rig.topic(f"{name}-out", 6)
        self.feeder = Feeder(rig, name, self.feed(), self.input, rows)
        self.running = {}

    def feed(self):
        return f"CREATE STREAM a {self.rig.with_(self.input)}; INSERT INTO a SELECT id FROM g;"

    def start(self, instance):
        more = f", group_id = 'g-{self.name}', timeout = '10s'{self.more}"
        more += """, "kafka.session.timeout.ms" = '6000', "kafka.heartbeat.interval.ms" = '500'"""
        text = f"""SET mode = '{self.mode}'; SET job_name = '{self.name}'; SET commit_interval = '150ms'; SET max_restarts = '{self.restarts}';
            CREATE STREAM a (id BIGINT) {self.rig.with_(self.input, more)};
            CREATE STREAM b {self.rig.with_(self.output, f", transaction_timeout = '{self.timeout}', timeout = '10s'")};
            INSERT INTO b SELECT id FROM a WHERE id % 3 <> 0;"""
        state = os.path.join(self.rig.dir, f"{self.name}-state-{instance}")
        self.running[instance] = self.rig.engine(text, f"{self.name}-{instance}", "--instance", instance, "--state", state)

    def stop(self, instance, sig):
        code = end(self.running.pop(instance), sig)
        if code not in (0, -sig, 130, 143):
            return [f"instance {instance} ended with {code}\n{self.rig.words(f'{self.name}-{instance}')}"]
        return []

    def wait_for(self, done):
        """That or patience's end: what is missing then is said by who looks at it. An instance that has ended makes it vain."""
        deadline = time.monotonic() + PATIENCE
        while not done() and time.monotonic() < deadline and all(e.poll() is None for e in self.running.values()):
            time.sleep(0.5)

    def finish(self):
        """Lets the input end, waits until everything has arrived, stops all, and looks at it."""
        self.feeder.stop()
        fed = self.rig.read_back(self.input)
        wanted = {id for id in fed if id % 3}
        self.wait_for(lambda: not wanted - set(self.rig.read_back(self.output)))
        problems = []
        for instance in list(self.running):
            problems += self.stop(instance, signal.SIGTERM)
        seen = self.rig.read_back(self.output)
        lost, strange = wanted - set(seen), set(seen) - wanted
        twice = [id for id, n in seen.items() if n > fed[id] and self.mode == "transactional"]
        problems += wrong_ids(fed, self.rows, lost, twice, strange)
        if problems:
            for instance in ("one", "two", "three"):
                print(self.rig.words(f"{self.name}-{instance}"))
        return problems


def comes_and_goes(rig, name, rounds, kind=Group, **more):
    """Three processes, each of which is stopped or killed now and then and comes again."""
    group = kind(rig, name, rows=int(RATE * (6 + rounds * 3)), **more)
    problems = []
    for instance in ("one", "two", "three"):
        group.start(instance)
        time.sleep(rig.rng.random())
    for _ in range(rounds):
        time.sleep(1 + rig.rng.random() * 2)
        instance = rig.rng.choice(sorted(group.running))
        problems += group.stop(instance, rig.rng.choice((signal.SIGTERM, signal.SIGKILL)))
        time.sleep(rig.rng.random())
        group.start(instance)
    return problems + group.finish()


def group_transactional(rig, count):
    return comes_and_goes(rig, "group", max(3, count // 3))


def group_eager(rig, count):
    return comes_and_goes(rig, "group-eager", max(2, count // 5), more=", assignor = 'range', membership = 'static'")


def group_library(rig, count):
    return comes_and_goes(rig, "group-library", max(2, count // 5), fetch="library")


def group_simple(rig, count):
    return comes_and_goes(rig, "group-simple", max(2, count // 5), mode="simple")


class Counts(Group):
    """The same with state: counts and sums of ids by key, which move with the partitions. Every process begins with nothing on disk."""

    KEYS = 97

    def __init__(self, rig, name, rows, more="", timeout="10s"):
        super().__init__(rig, name, rows, more=more, timeout=timeout)
        self.starts = 0

    def feed(self):
        return f"""CREATE STREAM a {self.rig.with_(self.input, ", partition_by = 'k'")};
            INSERT INTO a SELECT id, id % {self.KEYS} AS k FROM g;"""

    def start(self, instance):
        more = f", group_id = 'g-{self.name}', partition_by = 'k', timeout = '10s'{self.more}"
        more += """, "kafka.session.timeout.ms" = '6000', "kafka.heartbeat.interval.ms" = '500'"""
        text = f"""SET mode = 'transactional'; SET job_name = '{self.name}'; SET commit_interval = '150ms';
            CREATE STREAM a (id BIGINT, k BIGINT) {self.rig.with_(self.input, more)};
            CREATE STREAM b {self.rig.with_(self.output, f", transaction_timeout = '{self.timeout}', timeout = '10s', changelog = 'upsert', key_columns = 'k'")};
            INSERT INTO b SELECT k, count(*) AS n, sum(id) AS s FROM a GROUP BY k;"""
        self.starts += 1
        state = os.path.join(self.rig.dir, f"{self.name}-state-{self.starts}")
        self.running[instance] = self.rig.engine(text, f"{self.name}-{instance}", "--instance", instance, "--state", state)

    def finish(self):
        self.feeder.stop()
        wanted = {}
        for value in self.rig.values(self.input):
            n, s = wanted.get(value["k"], (0, 0))
            wanted[value["k"]] = (n + 1, s + value["id"])

        def last():
            return {v["k"]: (v["n"], v["s"]) for v in self.rig.values(self.output)}

        self.wait_for(lambda: last() == wanted)
        problems = []
        for instance in list(self.running):
            problems += self.stop(instance, signal.SIGTERM)
        if sum(n for n, _ in wanted.values()) < self.rows:
            problems.append(f"only {sum(n for n, _ in wanted.values())} of {self.rows} ids were fed")
        # A key's rows are in one partition, in order: counts that go back have lost state, equal ones come twice.
        before = {}
        for value in self.rig.values(self.output):
            if before.get(value["k"], 0) >= value["n"]:
                problems.append(f"key {value['k']}: {value['n']} behind {before[value['k']]}")
                break
            before[value["k"]] = value["n"]
        if last() != wanted:
            wrong = [(k, last().get(k), w) for k, w in wanted.items() if last().get(k) != w]
            problems.append(f"{len(wrong)} keys are wrong, such as {wrong[:3]}")
        if problems:
            for instance in ("one", "two", "three"):
                print(self.rig.words(f"{self.name}-{instance}"))
        return problems


class Split(Counts):
    """The same counts from a topic that is not partitioned by their key: REPARTITION BY makes two jobs of it, both in groups."""

    def feed(self):
        return f"""CREATE STREAM a {self.rig.with_(self.input)}; INSERT INTO a SELECT id, id % {self.KEYS} AS k FROM g;"""

    def start(self, instance):
        more = f", group_id = 'g-{self.name}', timeout = '10s'{self.more}"
        more += """, "kafka.session.timeout.ms" = '6000', "kafka.heartbeat.interval.ms" = '500'"""
        text = f"""SET mode = 'transactional'; SET job_name = '{self.name}'; SET commit_interval = '150ms';
            CREATE STREAM a (id BIGINT, k BIGINT) {self.rig.with_(self.input, more)};
            CREATE STREAM b {self.rig.with_(self.output, ", transaction_timeout = '10s', timeout = '10s', changelog = 'upsert', key_columns = 'k'")};
            INSERT INTO b SELECT k, count(*) AS n, sum(id) AS s FROM a
              REPARTITION BY k THROUGH '{self.input}-by-k' WITH (partitions = 6, transaction_timeout = '10s') GROUP BY k;"""
        state = os.path.join(self.rig.dir, f"{self.name}-state-{instance}")
        self.running[instance] = self.rig.engine(text, f"{self.name}-{instance}", "--instance", instance, "--state", state)


def group_counts(rig, count):
    return comes_and_goes(rig, "group-counts", max(3, count // 3), kind=Counts)


def group_counts_eager(rig, count):
    return comes_and_goes(rig, "group-counts-eager", max(2, count // 5), kind=Counts, more=", assignor = 'range', membership = 'static'")


def group_lost(rig, count):
    """SIGKILL of a member that does not come again: who gets its partitions waits for the end of its transaction, for longer than one
    call may take."""
    group = Counts(rig, "group-lost", rows=RATE * 10, timeout="20s")
    for instance in ("one", "two", "three"):
        group.start(instance)
    commits = lambda: newest(os.path.join(rig.dir, "group-lost-state-1", "group-lost.one"))
    wait_until("commits of one", lambda: commits() >= 5, lambda: rig.words("group-lost-one"))
    time.sleep(rig.rng.random() * 0.3)
    end(group.running.pop("one"))
    return group.finish()


def group_split(rig, count):
    return comes_and_goes(rig, "group-split", max(2, count // 5), kind=Split)


def group_stopped(rig, count):
    """SIGSTOP of a member past its session's time-out: others read on, and it commits nothing of what they read. In half of the runs
    it is past its transaction's, too: then it may end with 3, and comes again."""
    timeout = rig.rng.choice(("30s", "4s"))
    # Messages that were under way have timed out then: it begins again.
    group = Group(rig, "group-stopped", rows=RATE * 20, timeout=timeout, restarts=5 if timeout == "4s" else 0)
    for instance in ("one", "two", "three"):
        group.start(instance)
    commits = lambda: newest(os.path.join(rig.dir, "group-stopped-state-one", "group-stopped.one"))
    wait_until("commits of one", lambda: commits() >= 5, lambda: rig.words("group-stopped-one"))
    one = group.running["one"]
    stop_process(one)
    time.sleep(9)
    one.send_signal(signal.SIGCONT)
    goal, problems = commits() + 3, []
    wait_until("its end, or three commits", lambda: one.poll() is not None or commits() >= goal, lambda: rig.words("group-stopped-one"))
    if one.poll() is not None:
        if (timeout, one.returncode) != ("4s", 3):
            problems.append(f"one ended with {one.returncode}\n{rig.words('group-stopped-one')}")
        group.start("one")
    return problems + group.finish()


FAULTS = {
    "kills": kills,
    "broker-killed": broker_killed,
    "broker-stopped": broker_stopped,
    "engine-stopped": engine_stopped,
    "engine-stopped-slow": engine_stopped_slow,
    "zombie": zombie,
    "network": network,
    "group": group_transactional,
    "group-eager": group_eager,
    "group-library": group_library,
    "group-simple": group_simple,
    "group-counts": group_counts,
    "group-counts-eager": group_counts_eager,
    "group-lost": group_lost,
    "group-split": group_split,
    "group-stopped": group_stopped,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("version")
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=list(FAULTS))
    arguments = parser.parse_args()
    scale = os.environ.get("FAULT_SCALE", "1")
    kills = arguments.kills or (FULL if scale == "full" else max(1, int(USUAL * float(scale))))
    print(f"Kafka {arguments.version}, seed {arguments.seed}, {kills} kills", flush=True)
    dir = tempfile.mkdtemp(prefix="millstream-kafka-")
    rig = Rig(arguments.binary, arguments.version, random.Random(arguments.seed), dir)
    failures = []
    try:
        rig.start_broker()
        for name in arguments.only:
            from_ = time.monotonic()
            try:
                problems = FAULTS[name](rig, kills)
            except (Exception, SystemExit) as error:
                problems = [str(error) if isinstance(error, SystemExit) else traceback.format_exc()]
            rig.end_all()
            good = "each id at least once" if name == "group-simple" else "each id counted exactly once" if name in ("group-counts", "group-counts-eager", "group-split", "group-lost") else "each id exactly once"
            print(f"{name}: {'; '.join(problems) or good} ({time.monotonic() - from_:.0f} s)", flush=True)
            if problems:
                failures.append(name)
                print(f"--- the last words of Kafka {arguments.version}\n{last_lines(os.path.join(rig.broker_dir, 'log'), 20)}", flush=True)
    finally:
        rig.end_all()
        rig.script("stop", rig.broker_dir)
        if not failures:
            shutil.rmtree(dir, ignore_errors=True)
        else:
            print(f"logs are in {dir}")
            print(f"Kafka {arguments.version}, seed {arguments.seed}: FAILED: {', '.join(failures)}", flush=True)
    sys.exit(bool(failures))


main()
