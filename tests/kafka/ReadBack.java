// Reads a topic to its end with Apache's own client, one JSON object a message: java -cp 'libs/*' ReadBack.java HOST:PORT TOPIC

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.utils.Utils;

public class ReadBack {
    static String text(byte[] bytes) {
        if (bytes == null) return "null";
        StringBuilder out = new StringBuilder("\"");
        for (char c : new String(bytes, StandardCharsets.UTF_8).toCharArray()) {
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < 0x20) out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return out.append('"').toString();
    }

    public static void main(String[] args) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("isolation.level", "read_committed");
        settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
            List<TopicPartition> parts = consumer.partitionsFor(args[1]).stream()
                .map(p -> new TopicPartition(p.topic(), p.partition())).collect(Collectors.toList());
            consumer.assign(parts);
            consumer.seekToBeginning(parts);
            Map<TopicPartition, Long> ends = consumer.endOffsets(parts);
            while (parts.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                    StringBuilder headers = new StringBuilder();
                    for (Header h : r.headers()) {
                        headers.append(headers.length() > 0 ? "," : "")
                            .append(text(h.key().getBytes(StandardCharsets.UTF_8))).append(':').append(text(h.value()));
                    }
                    long home = r.key() == null ? -1 : Utils.toPositive(Utils.murmur2(r.key())) % parts.size();
                    System.out.println("{\"partition\":" + r.partition() + ",\"offset\":" + r.offset() + ",\"partition_of_key\":" + home
                        + ",\"timestamp\":" + r.timestamp() + ",\"key\":" + text(r.key()) + ",\"value\":" + text(r.value())
                        + ",\"headers\":{" + headers + "}}");
                }
            }
        }
    }
}
