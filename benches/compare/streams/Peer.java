// Kafka Streams over the topics of `millstream-bench kafka`: the same queries, tuned. Run by the benchmark, which says where it is
// (`--streams DIR`, made by `tests/kafka/broker.sh streams VERSION`).
//
//   Peer SERVERS INPUT OUTPUT raw|filter|windows at_least_once|exactly_once_v2 THREADS MESSAGES DIR [SCRATCH]
//
// With SCRATCH, a topic, everything is done once before into it, so that what is measured runs in a warm machine. Prints "began"
// when it reads the first message, and at the end one JSON object: the time from then to everything committed, and the CPU time of the
// process in it.

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Properties;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

public final class Peer {
    static final long WINDOW = 10_000;

    /** A message of the input without what no query asks for. */
    record Event(long id, long k, String ts) {}

    /** What the windows hold. */
    record Agg(long n, long last) {}

    /** Counts the messages that were processed, and remembers when the first one was. */
    static final class Progress {
        final LongAdder seen = new LongAdder();
        volatile boolean began;
        volatile long firstNanos;
        volatile long firstCpu;
        final boolean announce;

        Progress(boolean announce) {
            this.announce = announce;
        }

        void one() {
            if (!began) begin();
            seen.increment();
        }

        synchronized void begin() {
            if (began) return;
            if (announce) System.out.println("began");
            firstCpu = cpu();
            firstNanos = System.nanoTime();
            began = true;
        }
    }

    /** Decodes the fields that the queries need; the others are stepped over. */
    static final class EventDeserializer implements Deserializer<Event> {
        private final JsonFactory factory = new JsonFactory();

        @Override
        public Event deserialize(String topic, byte[] data) {
            long id = 0, k = 0;
            String ts = null;
            try (JsonParser parser = factory.createParser(data)) {
                parser.nextToken();
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    parser.nextToken();
                    switch (name) {
                        case "id" -> id = parser.getLongValue();
                        case "k" -> k = parser.getLongValue();
                        case "ts" -> ts = parser.getText();
                        default -> parser.skipChildren();
                    }
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            return new Event(id, k, ts);
        }
    }

    static final class EventSerializer implements Serializer<Event> {
        @Override
        public byte[] serialize(String topic, Event event) {
            StringBuilder out = new StringBuilder(80);
            out.append("{\"id\":").append(event.id).append(",\"k\":").append(event.k);
            out.append(",\"ts\":\"").append(event.ts).append("\"}");
            return out.toString().getBytes(StandardCharsets.ISO_8859_1);
        }
    }

    static final class AggSerde implements Serde<Agg> {
        @Override
        public Serializer<Agg> serializer() {
            return (topic, agg) -> agg == null ? null : ByteBuffer.allocate(16).putLong(agg.n).putLong(agg.last).array();
        }

        @Override
        public Deserializer<Agg> deserializer() {
            return (topic, data) -> {
                if (data == null) return null;
                ByteBuffer from = ByteBuffer.wrap(data);
                return new Agg(from.getLong(), from.getLong());
            };
        }
    }

    /** The event time: ts, as `2026-01-01 00:00:00.123` or with a T and fewer digits. */
    static final class EventTime implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            return record.value() instanceof Event event ? millis(event.ts) : record.timestamp();
        }
    }

    static int digits(String text, int from, int to) {
        int n = 0;
        for (int i = from; i < to; i++) n = n * 10 + (text.charAt(i) - '0');
        return n;
    }

    static long millis(String ts) {
        long days = LocalDate.of(digits(ts, 0, 4), digits(ts, 5, 7), digits(ts, 8, 10)).toEpochDay();
        long seconds = days * 86_400 + digits(ts, 11, 13) * 3600L + digits(ts, 14, 16) * 60 + digits(ts, 17, 19);
        int millis = 0, weight = 100;
        if (ts.length() > 19 && ts.charAt(19) == '.') {
            for (int i = 20; i < Math.min(23, ts.length()) && Character.isDigit(ts.charAt(i)); i++, weight /= 10) {
                millis += (ts.charAt(i) - '0') * weight;
            }
        }
        return seconds * 1000 + millis;
    }

    static final DateTimeFormatter TEXT = DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss");

    static long cpu() {
        return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    static Properties settings(String app, String servers, String guarantee, int threads, String dir) {
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, app);
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, servers);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, threads);
        p.put(StreamsConfig.STATE_DIR_CONFIG, dir);
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        // A cache that holds all open windows: a commit writes each group once, not each change of it.
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
        p.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
        p.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        p.put(StreamsConfig.METRICS_RECORDING_LEVEL_CONFIG, "INFO");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5_000);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_PARTITION_FETCH_BYTES_CONFIG), 8 << 20);
        // Left to the system, as librdkafka does.
        p.put(StreamsConfig.RECEIVE_BUFFER_CONFIG, -1);
        p.put(StreamsConfig.SEND_BUFFER_CONFIG, -1);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 5);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 64L << 20);
        return p;
    }

    static StreamsBuilder topology(String query, String input, String output, Progress progress) {
        StreamsBuilder builder = new StreamsBuilder();
        Serde<Event> events = Serdes.serdeFrom(new EventSerializer(), new EventDeserializer());
        switch (query) {
            case "raw" -> builder.stream(input, Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
                .peek((key, value) -> progress.one())
                .to(output, Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
            case "filter" -> builder.stream(input, Consumed.with(Serdes.ByteArray(), events))
                .filter((key, event) -> {
                    progress.one();
                    return event.k < 10;
                })
                .to(output, Produced.with(Serdes.ByteArray(), events));
            // The input is partitioned by k: no repartition topic. A store in memory with its changelog.
            case "windows" -> builder.stream(input, Consumed.with(Serdes.String(), events).withTimestampExtractor(new EventTime()))
                .groupByKey(Grouped.with(Serdes.String(), events))
                .windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofMillis(WINDOW)))
                .aggregate(
                    () -> new Agg(0, Long.MIN_VALUE),
                    (key, event, agg) -> {
                        progress.one();
                        return new Agg(agg.n + 1, Math.max(agg.last, event.id));
                    },
                    Materialized.<String, Agg>as(
                            Stores.inMemoryWindowStore("windows", Duration.ofMinutes(1), Duration.ofMillis(WINDOW), false))
                        .withKeySerde(Serdes.String())
                        .withValueSerde(new AggSerde())
                        .withCachingEnabled())
                .toStream()
                .map((window, agg) -> KeyValue.pair((byte[]) null, row(window.key(), window.window().end(), agg)))
                .to(output, Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
            default -> throw new IllegalArgumentException(query);
        }
        return builder;
    }

    static byte[] row(String key, long end, Agg agg) {
        String text = TEXT.format(LocalDateTime.ofEpochSecond(end / 1000, 0, ZoneOffset.UTC));
        String row = "{\"k\":" + key + ",\"window_end\":\"" + text + "\",\"n\":" + agg.n + ",\"last\":" + agg.last + "}";
        return row.getBytes(StandardCharsets.ISO_8859_1);
    }

    /** Seconds and CPU seconds from the first message to everything committed. */
    static double[] run(String[] args, String app, String output, long messages, boolean announce) throws Exception {
        Progress progress = new Progress(announce);
        Properties settings = settings(app, args[0], args[4], Integer.parseInt(args[5]), args[7]);
        KafkaStreams streams = new KafkaStreams(topology(args[3], args[1], output, progress).build(settings), settings);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            System.exit(1);
            return null;
        });
        streams.start();
        while (progress.seen.sum() < messages) Thread.sleep(5);
        // Sends what is under way, commits.
        if (!streams.close(Duration.ofMinutes(1))) throw new IllegalStateException("no end within a minute");
        double seconds = (System.nanoTime() - progress.firstNanos) / 1e9, cpu = (cpu() - progress.firstCpu) / 1e9;
        if (progress.seen.sum() != messages) throw new IllegalStateException(progress.seen.sum() + " messages");
        return new double[] {seconds, cpu};
    }

    public static void main(String[] args) throws Exception {
        long messages = Long.parseLong(args[6]);
        if (args.length > 8) run(args, args[2] + "-warm", args[8], messages, false);
        double[] took = run(args, args[2] + "-peer", args[2], messages, true);
        System.out.printf("{\"seconds\":%.3f,\"cpu_seconds\":%.3f}%n", took[0], took[1]);
        System.exit(0);
    }

    private Peer() {}
}
