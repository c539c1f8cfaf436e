#!/usr/bin/env bash
# Apache Kafka for tests: one node, KRaft, loopback only, from Maven artifacts. Needs java 17 and mvn.
#
#   broker.sh libs VERSION            fetches what a broker needs into target/kafka/libs-VERSION
#   broker.sh start VERSION DIR       starts one in DIR and waits until it answers; DIR/address holds host:port
#   broker.sh topic DIR NAME N        makes a topic of N partitions
#   broker.sh stop DIR                stops it; DIR/log holds what it said
#   broker.sh streams VERSION         fetches Kafka Streams, compiles the benchmark's peer and prints the folder for its --streams
#
# A broker that was stopped or killed can be started again in the same DIR: it keeps its topics. KAFKA_PORT chooses its port,
# KAFKA_ADVERTISED the one that it tells its clients: that of a proxy. KAFKA_JVM replaces the options of its JVM, which are meant for
# short tests: for measuring, '-Xms1g -Xmx1g'.
#
# KAFKA_DOCKER=1 takes the image apache/kafka:VERSION in place of Java and Maven, on the host's network; a container that was stopped
# does not keep its topics. No daemon has run it so far: what docker is told was looked at with a program of that name.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}/kafka

libs_of() { echo "$target/libs-$1"; }

fetch() { # VERSION PROFILE DIR
  local libs=$3
  [ -e "$libs/complete" ] && return 0
  mkdir -p "$libs"
  if ! mvn -q -B -f "$here/pom.xml" -Dkv="$1" -P"$2" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$libs" >"$libs.log" 2>&1; then
    tail -5 "$libs.log" >&2
    return 1
  fi
  touch "$libs/complete"
}

fetch_libs() { # VERSION
  local profile=log4
  case $1 in 3.*) profile=log3 ;; esac
  fetch "$1" "$profile" "$(libs_of "$1")"
}

streams() { # VERSION
  local libs=$target/streams-$1 source=$here/../../benches/compare/streams
  fetch "$1" streams "$libs"
  javac -d "$libs" -cp "$libs/*" "$source/Peer.java"
  cd "$libs" && pwd
}

free_port() { # Below the ports that outgoing connections take: one of theirs may be in use when its broker comes again.
  python3 - <<'PYTHON'
import random, socket
while True:
    port = random.SystemRandom().randrange(10000, 32000)
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    break
PYTHON
}

configure() { # VERSION DIR: ports, settings, formatted storage
  local dir=$2 port controller libs
  libs=$(libs_of "$1")
  port=${KAFKA_PORT:-$(free_port)}
  controller=$(free_port)
  mkdir -p "$dir"
  cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:${KAFKA_ADVERTISED:-$port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.quorum.voters=1@127.0.0.1:$controller
log.dirs=$dir/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.check.interval.ms=300000
PROPERTIES
  cat >"$dir/log4j.properties" <<'PROPERTIES'
log4j.rootLogger=WARN, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=%d %p %m%n
PROPERTIES
  local id
  id=$(java -cp "$libs/*" kafka.tools.StorageTool random-uuid 2>/dev/null | tail -1)
  java -cp "$libs/*" kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" >"$dir/format.log" 2>&1 || {
    cat "$dir/format.log" >&2
    return 1
  }
  echo "127.0.0.1:$port" >"$dir/address"
}

# A metadata request (version 1, no topics) that is answered with a broker in it.
answers() { # HOST:PORT
  python3 - "$1" <<'PYTHON'
import socket, struct, sys
host, port = sys.argv[1].rsplit(":", 1)
try:
    with socket.create_connection((host, int(port)), 2) as s:
        s.settimeout(5)
        body = struct.pack(">hhih4si", 3, 1, 7, 4, b"test", 0)
        s.sendall(struct.pack(">i", len(body)) + body)
        size = b""
        while len(size) < 4:
            piece = s.recv(4 - len(size))
            if not piece:
                sys.exit(1)
            size += piece
        left, answer = struct.unpack(">i", size)[0], b""
        while len(answer) < left:
            piece = s.recv(left - len(answer))
            if not piece:
                sys.exit(1)
            answer += piece
        sys.exit(0 if struct.unpack(">ii", answer[:8])[1] > 0 else 1)
except OSError:
    sys.exit(1)
PYTHON
}

make_topic() { # HOST:PORT NAME PARTITIONS, by CreateTopics version 2
  python3 - "$@" <<'PYTHON'
import socket, struct, sys
host, port = sys.argv[1].rsplit(":", 1)
name = sys.argv[2].encode()
body = struct.pack(">hhih4s", 19, 2, 7, 4, b"test") + struct.pack(">ih", 1, len(name)) + name
body += struct.pack(">ihiiib", int(sys.argv[3]), 1, 0, 0, 20000, 0)
with socket.create_connection((host, int(port)), 10) as s:
    s.settimeout(30)
    s.sendall(struct.pack(">i", len(body)) + body)
    answer = b""
    while len(answer) < 4 or len(answer) < 4 + struct.unpack(">i", answer[:4])[0]:
        piece = s.recv(65536)
        if not piece:
            sys.exit("the broker hung up")
        answer += piece
code = struct.unpack(">h", answer[18 + len(name):20 + len(name)])[0]
sys.exit(f"topic {name.decode()}: error {code}" if code else 0)
PYTHON
}

start_container() { # VERSION DIR
  local dir=$2 port controller name
  command -v docker >/dev/null || {
    echo "KAFKA_DOCKER is set, but there is no command docker: install it, or unset KAFKA_DOCKER (needs java and mvn)" >&2
    return 1
  }
  local told
  told=$(docker info 2>&1 >/dev/null) || {
    echo "KAFKA_DOCKER is set, but no Docker daemon answers: ${told:-docker info fails}" >&2
    return 1
  }
  mkdir -p "$dir"
  port=${KAFKA_PORT:-$(free_port)}
  controller=$(free_port)
  name=millstream-kafka-$port
  # The image's own settings do not count where one is given. Those of configure, in capitals, with _ for each dot.
  told=$(docker run -d --rm --network host --name "$name" \
    -e KAFKA_NODE_ID=1 -e KAFKA_PROCESS_ROLES=broker,controller \
    -e KAFKA_LISTENERS="PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller" \
    -e KAFKA_ADVERTISED_LISTENERS="PLAINTEXT://127.0.0.1:${KAFKA_ADVERTISED:-$port}" \
    -e KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER \
    -e KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT \
    -e KAFKA_CONTROLLER_QUORUM_VOTERS="1@127.0.0.1:$controller" \
    -e KAFKA_LOG_DIRS=/tmp/kraft-combined-logs \
    -e KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR=1 -e KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS=4 \
    -e KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR=1 -e KAFKA_TRANSACTION_STATE_LOG_MIN_ISR=1 \
    -e KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS=4 \
    -e KAFKA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS=1000 \
    -e KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0 -e KAFKA_AUTO_CREATE_TOPICS_ENABLE=false \
    -e KAFKA_LOG_RETENTION_CHECK_INTERVAL_MS=300000 "apache/kafka:$1" 2>&1 >"$dir/log") || {
    echo "apache/kafka:$1 can't be started: $told" >&2
    return 1
  }
  echo "$name" >"$dir/container"
  echo "127.0.0.1:$port" >"$dir/address"
  local deadline=$((SECONDS + ${KAFKA_START_SECONDS:-180}))
  until answers "127.0.0.1:$port"; do
    [ $SECONDS -lt $deadline ] || { docker logs "$name" 2>&1 | tail -30 >&2; docker rm -f "$name" >/dev/null; return 1; }
    # Between two questions, not instead of one.
    read -rt 0.2 <> <(:) || :
  done
  cat "$dir/address"
}

start() { # VERSION DIR
  if [ -n "${KAFKA_DOCKER:-}" ]; then start_container "$1" "$2"; return; fi
  local version=$1 dir libs deadline pid
  mkdir -p "$2"
  dir=$(cd "$2" && pwd)
  libs=$(libs_of "$version")
  fetch_libs "$version"
  [ -e "$dir/address" ] || configure "$version" "$dir"
  # The star is java's, not the shell's.
  local jvm=${KAFKA_JVM:--Xmx512m -Xms128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1}
  # shellcheck disable=SC2086 # Several options.
  java $jvm -Dlog4j.configuration="file:$dir/log4j.properties" \
    -cp "$libs/*" kafka.Kafka "$dir/server.properties" >>"$dir/log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$dir/pid"
  deadline=$((SECONDS + ${KAFKA_START_SECONDS:-180}))
  until answers "$(cat "$dir/address")"; do
    if ! kill -0 "$pid" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
      echo "Kafka $version in $dir does not answer:" >&2
      tail -30 "$dir/log" >&2
      kill -9 "$pid" 2>/dev/null || true
      return 1
    fi
    # Between two questions, not instead of one.
    read -rt 0.2 <> <(:) || :
  done
  cat "$dir/address"
}

stop() { # DIR
  local pid
  if [ -e "$1/container" ]; then
    docker rm -f "$(cat "$1/container")" >/dev/null
    rm -f "$1/container"
    return 0
  fi
  [ -e "$1/pid" ] || return 0
  pid=$(cat "$1/pid")
  rm -f "$1/pid"
  kill "$pid" 2>/dev/null || return 0
  local deadline=$((SECONDS + 10))
  while kill -0 "$pid" 2>/dev/null; do
    if [ $SECONDS -ge $deadline ]; then
      kill -9 "$pid" 2>/dev/null || true
      break
    fi
    read -rt 0.2 <> <(:) || :
  done
}

case ${1:-} in
  libs) fetch_libs "$2" ;;
  start) start "$2" "$3" ;;
  topic) make_topic "$(cat "$2/address")" "$3" "$4" ;;
  stop) stop "$2" ;;
  streams) streams "$2" ;;
  *)
    sed -n '2,15s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
