package peers;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Stream;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers;

/** One topology on one list of records. */
final class Run {
    private final ArrayNode results;
    private int line;

    private Run(final ArrayNode results) {
        this.results = results;
    }

    static ArrayNode run(final ObjectMapper json, final JsonNode request) throws IOException {
        final Run run = new Run(json.createArrayNode());
        final Topologies topologies = new Topologies(request.get("params"));
        final StreamsBuilder builder = new StreamsBuilder();
        final KStream<?, ?> results = topologies.build(builder, request.get("topology").asText());
        results.process(run::collector);
        final boolean memory = "memory".equals(request.path("stores").asText());
        final Path directory = Files.createTempDirectory("peers");
        final Properties properties = properties(directory, memory);
        if (!request.path("cache").asBoolean(true)) {
            properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        }
        try (TopologyTestDriver driver = new TopologyTestDriver(builder.build(properties), properties)) {
            run.pipe(driver, topologies.inputs(), request.get("records"));
        } finally {
            delete(directory);
        }
        return run.results;
    }

    private static Properties properties(final Path directory, final boolean memory) {
        final Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, "peer");
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "nowhere:1");
        properties.put(StreamsConfig.STATE_DIR_CONFIG, directory.toString());
        properties.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        properties.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
                // Unmatched results wait for wall-clock time otherwise, and that stands still here.
        properties.put("__emit.interval.ms.kstreams.outer.join.spurious.results.fix__", 0L);
        // The same for results that are emitted when their window closes.
        properties.put("__emit.interval.ms.kstreams.windowed.aggregation__", 0L);
        if (memory) {
            properties.put(
                    StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG,
                    BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers.class);
        }
        return properties;
    }

    private void pipe(final TopologyTestDriver driver, final List<String> topics, final JsonNode records) {
        final Map<String, TestInputTopic<String, String>> inputs = new HashMap<>();
        for (final String topic : topics) {
            inputs.put(topic, driver.createInputTopic(topic, new StringSerializer(), new StringSerializer()));
        }
        for (final JsonNode record : records) {
            line++;
            inputs.get(record.get(0).asText())
                    .pipeInput(text(record.get(1)), text(record.get(2)), record.get(3).asLong());
        }
    }

    private static String text(final JsonNode node) {
        return node.isNull() ? null : node.asText();
    }

    private <K, V> ContextualProcessor<K, V, Void, Void> collector() {
        return new ContextualProcessor<>() {
            @Override
            public void process(final Record<K, V> record) {
                collect(record.key(), record.value(), record.timestamp());
            }
        };
    }

    private void collect(final Object key, final Object value, final long timestamp) {
        final ArrayNode result = results.addArray();
        if (key instanceof Windowed<?> windowed) {
            result.add((String) windowed.key());
        } else {
            result.add((String) key);
        }
        if (value instanceof Long number) {
            result.add(number);
        } else {
            result.add((String) value);
        }
        result.add(timestamp);
        if (key instanceof Windowed<?> windowed) {
            result.add(windowed.window().start()).add(windowed.window().end());
        } else {
            result.addNull().addNull();
        }
        result.add(line);
    }

    private static void delete(final Path directory) throws IOException {
        try (Stream<Path> paths = Files.walk(directory)) {
            for (final Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(path);
            }
        }
    }
}
