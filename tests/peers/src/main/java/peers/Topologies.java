package peers;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.List;
import java.util.regex.Pattern;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;

/** The topologies that are compared, by name. */
final class Topologies {
    private static final Serde<String> TEXT = Serdes.String();
    private static final Serde<Long> NUMBER = Serdes.Long();
    private static final Pattern ONE_INPUT = Pattern.compile("(plain|grouped|windowed|rekeyed|table):|(streams|foreign):self-|stream:own-|versioned:rows-");

    private final JsonNode params;
    private boolean twoInputs;

    Topologies(final JsonNode params) {
        this.params = params;
    }

    /** The topics that the topology built last reads. */
    List<String> inputs() {
        return twoInputs ? List.of("left", "right") : List.of("in");
    }

    KStream<?, ?> build(final StreamsBuilder builder, final String name) {
        if (name.contains(":")) {
            twoInputs = !ONE_INPUT.matcher(name).lookingAt();
            return new Further(builder, params, name).build();
        }
        final boolean isJoin = name.startsWith("stream-") || name.contains("table-table-");
        twoInputs = isJoin;
        return isJoin ? join(builder, name) : single(builder, name);
    }

    private KStream<?, ?> single(final StreamsBuilder builder, final String name) {
        if ("table-groupby-sum".equals(name)) {
            return builder.<String, String>table("in")
                    .groupBy(
                            (key, value) -> KeyValue.pair("g" + Math.floorMod(Long.parseLong(value), 3L), value),
                            Grouped.with(TEXT, TEXT))
                    .aggregate(
                            () -> 0L,
                            (key, value, sum) -> sum + Long.parseLong(value),
                            (key, value, sum) -> sum - Long.parseLong(value),
                            Materialized.with(TEXT, NUMBER))
                    .toStream();
        }
        final KStream<String, String> in = builder.stream("in");
        if ("to-table".equals(name)) {
            return in.toTable().toStream();
        }
        final KGroupedStream<String, String> grouped = in.groupByKey(Grouped.with(TEXT, TEXT));
        return switch (name) {
            case "aggregate-sum" -> grouped.aggregate(
                            () -> 0L,
                            (key, value, sum) -> sum + Long.parseLong(value),
                            Materialized.with(TEXT, NUMBER))
                    .toStream();
            case "reduce-latest" -> grouped.reduce((before, latest) -> latest).toStream();
            default -> count(grouped, name);
        };
    }

    /** {@code X-count}, {@code X-count-suppress} and {@code X-count-final}. */
    private KStream<?, ?> count(final KGroupedStream<String, String> grouped, final String name) {
        final boolean isFinal = name.endsWith("-final");
        final EmitStrategy emit = isFinal ? EmitStrategy.onWindowClose() : EmitStrategy.onWindowUpdate();
        final KTable<? extends Windowed<String>, Long> counts =
                switch (name.replace("-suppress", "").replace("-final", "")) {
                    case "tumbling-count" -> grouped.windowedBy(TimeWindows.ofSizeAndGrace(ms("size"), ms("grace")))
                            .emitStrategy(emit)
                            .count();
                    case "hopping-count" -> grouped.windowedBy(
                                    TimeWindows.ofSizeAndGrace(ms("size"), ms("grace")).advanceBy(ms("advance")))
                            .emitStrategy(emit)
                            .count();
                    case "session-count" -> grouped.windowedBy(
                                    SessionWindows.ofInactivityGapAndGrace(ms("gap"), ms("grace")))
                            .emitStrategy(emit)
                            .count();
                    case "sliding-window-count" -> grouped.windowedBy(
                                    SlidingWindows.ofTimeDifferenceAndGrace(ms("size"), ms("grace")))
                            .emitStrategy(emit)
                            .count();
                    default -> throw new IllegalArgumentException("no topology is called " + name);
                };
        return name.endsWith("-suppress") ? whenClosed(counts) : counts.toStream();
    }

    @SuppressWarnings("unchecked")
    private static KStream<?, ?> whenClosed(final KTable<? extends Windowed<String>, Long> counts) {
        return ((KTable<Windowed<String>, Long>) counts)
                .suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))
                .toStream();
    }

    private KStream<?, ?> join(final StreamsBuilder builder, final String name) {
        if (name.startsWith("stream-")) {
            final KStream<String, String> left = builder.stream("left");
            if (name.startsWith("stream-stream-")) {
                return streams(left, builder.stream("right"), name);
            }
            final KTable<String, String> right = builder.table("right");
            return switch (name) {
                case "stream-table-inner" -> left.join(right, Topologies::both);
                case "stream-table-left" -> left.leftJoin(right, Topologies::both);
                default -> throw new IllegalArgumentException("no topology is called " + name);
            };
        }
        final KTable<String, String> left = builder.table("left");
        final KTable<String, String> right = builder.table("right");
        return switch (name) {
            case "table-table-inner" -> left.join(right, Topologies::both).toStream();
            case "table-table-left" -> left.leftJoin(right, Topologies::both).toStream();
            case "table-table-outer" -> left.outerJoin(right, Topologies::both).toStream();
            case "fk-table-table-inner" -> left.join(right, Topologies::foreign, Topologies::both).toStream();
            case "fk-table-table-left" -> left.leftJoin(right, Topologies::foreign, Topologies::both).toStream();
            default -> throw new IllegalArgumentException("no topology is called " + name);
        };
    }

    private KStream<?, ?> streams(
            final KStream<String, String> left, final KStream<String, String> right, final String name) {
        final JoinWindows windows =
                JoinWindows.ofTimeDifferenceAndGrace(ms("before"), ms("grace")).after(ms("after"));
        return switch (name) {
            case "stream-stream-inner" -> left.join(right, Topologies::both, windows);
            case "stream-stream-left" -> left.leftJoin(right, Topologies::both, windows);
            case "stream-stream-outer" -> left.outerJoin(right, Topologies::both, windows);
            default -> throw new IllegalArgumentException("no topology is called " + name);
        };
    }

    private static String both(final String left, final String right) {
        return left + "," + right;
    }

    private static String foreign(final String left) {
        final int bar = left.indexOf('|');
        return bar < 0 ? null : left.substring(0, bar);
    }

    private Duration ms(final String name) {
        return Duration.ofMillis(params.get(name).asLong());
    }
}
