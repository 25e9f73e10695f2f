package bench;

import java.io.IOException;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;

/** Runs one topology until it is told to end: {@code Main TOPOLOGY BOOTSTRAP STATE_DIRECTORY PROPERTIES}. */
final class Main {
    private Main() {}

    public static void main(final String[] arguments) throws IOException, InterruptedException {
        final Properties properties = new Properties();
        try (Reader reader = Files.newBufferedReader(Path.of(arguments[3]), StandardCharsets.UTF_8)) {
            properties.load(reader);
        }
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, "streams-" + arguments[0]);
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[1]);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, arguments[2]);
        final StreamsBuilder builder = new StreamsBuilder();
        switch (arguments[0]) {
            case "fraud" -> Topologies.fraud(builder);
            case "totals" -> Topologies.totals(builder);
            case "logins" -> Topologies.logins(builder);
            default -> throw new IllegalArgumentException("no topology is called " + arguments[0]);
        }
        final KafkaStreams streams = new KafkaStreams(builder.build(properties), properties);
        final CountDownLatch ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            ended.countDown();
        }));
        streams.start();
        ended.await();
    }
}
