package peers;

import static peers.Further.TEXT;
import static peers.Further.TEXTS;
import static peers.Further.isEven;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.Stores;

/** The topologies of {@link Further} that begin with tables, and those with versioned ones. */
final class FurtherTables {
    private final StreamsBuilder builder;
    private final JsonNode params;
    private final String name;

    FurtherTables(final StreamsBuilder builder, final JsonNode params, final String name) {
        this.builder = builder;
        this.params = params;
        this.name = name;
    }

    /** {@code table:} a table of texts, or of numbers where it is added up. */
    KStream<?, ?> table() {
        if ("table:of-stream-count".equals(name)) {
            return stream("in").toTable().groupBy(Further::byGroup, TEXTS).count().toStream();
        }
        final KTable<String, String> in = builder.table("in");
        return switch (name) {
            case "table:filter" -> in.filter((key, value) -> isEven(value)).toStream();
            case "table:map-values" -> in.mapValues(value -> value + "!").toStream();
            case "table:filter-count" -> in.filter((key, value) -> isEven(value)).groupBy(Further::byGroup, TEXTS).count().toStream();
            case "table:filter-not-reduce" -> in.filterNot((key, value) -> isEven(value)).mapValues(value -> value + "!")
                    .groupBy(Further::byGroup, TEXTS).reduce(Further::joined, (all, one) -> all + "-" + one).toStream();
            case "table:count-count" -> in.groupBy(Further::byGroup, TEXTS).count()
                    .groupBy((key, count) -> KeyValue.pair("c" + count, count), Grouped.with(TEXT, Serdes.Long()))
                    .count().toStream();
            case "table:to-stream-count" -> in.toStream().filter((key, value) -> value != null)
                    .groupBy(Further::group, TEXTS).count().toStream();
            case "table:limited-count" -> in.suppress(Suppressed.untilTimeLimit(ms("size"),
                            BufferConfig.maxRecords(params.get("before").asLong() % 3 + 1).emitEarlyWhenFull()))
                    .groupBy(Further::byGroup, TEXTS).count().toStream();
            case "table:null-group-count" -> in.groupBy(
                            (key, value) -> KeyValue.pair(isEven(value) ? null : Further.group(key, value), value), TEXTS)
                    .count().toStream();
            case "table:aggregate" -> in.groupBy(Further::byGroup, TEXTS)
                    .aggregate(() -> "", (key, value, all) -> all + "+" + value, (key, value, all) -> all + "-" + value)
                    .toStream();
            case "table:limited" -> limitedTexts(in);
            case "table:filter-limited" -> limitedTexts(in.filter((key, value) -> isEven(value)));
            case "table:self-inner" -> in.join(in, Further::both).toStream();
            case "table:self-left" -> in.leftJoin(in, Further::both).toStream();
            case "table:self-outer" -> in.outerJoin(in, Further::both).toStream();
            case "table:to-stream-window-count" -> in.toStream().groupByKey()
                    .windowedBy(TimeWindows.ofSizeAndGrace(ms("size"), ms("grace"))).count().toStream();
            default -> throw unknown();
        };
    }

    private KStream<String, String> limitedTexts(final KTable<String, String> table) {
        return table.suppress(Suppressed.untilTimeLimit(ms("size"), BufferConfig.maxRecords(params.get("before").asLong() % 3 + 1)
                        .emitEarlyWhenFull()))
                .toStream();
    }

    /** {@code tables:} joins of tables, and what comes after and before them. */
    KStream<?, ?> tables() {
        final String kind = name.substring(name.indexOf(':') + 1);
        if (kind.startsWith("filtered-")) {
            return joined(evens(builder, "left"), evens(builder, "right"), kind).toStream();
        } else if (kind.startsWith("counted-")) {
            final KTable<String, Long> right = stream("right").groupByKey().count();
            return joined(stream("left").groupByKey().count().mapValues(count -> "" + count), right.mapValues(count -> "" + count), kind)
                    .toStream();
        }
        if (kind.startsWith("grouped-")) {
            return joined(groups("left"), groups("right"), kind).toStream();
        }
        final KTable<String, String> left = builder.table("left");
        final KTable<String, String> right = builder.table("right");
        final KTable<String, String> both = joined(left, right, kind);
        if (kind.endsWith("-count")) {
            return both.groupBy(Further::byGroup, TEXTS).count().toStream();
        } else if (kind.endsWith("-again")) {
            return joined(both, left, kind).toStream();
        } else if (kind.endsWith("-filter")) {
            return both.filter((key, value) -> isEven(value)).toStream();
        }
        throw unknown();
    }

    private KTable<String, String> groups(final String topic) {
        return builder.<String, String>table(topic).groupBy(Further::byGroup, TEXTS).count().mapValues(count -> "" + count);
    }

    static <K> KTable<K, String> joined(
            final KTable<K, String> left, final KTable<K, String> right, final String kind) {
        if (kind.contains("inner")) {
            return left.join(right, Further::both);
        }
        return kind.contains("left") ? left.leftJoin(right, Further::both) : left.outerJoin(right, Further::both);
    }

    /** {@code foreign:} joins with a foreign key, and what comes after and before them. */
    KStream<?, ?> foreign() {
        if (name.contains(":self-")) {
            final KTable<String, String> in = builder.table("in");
            return (name.endsWith("inner") ? in.join(in, Further::referred, Further::both) : in.leftJoin(in, Further::referred, Further::both))
                    .toStream();
        }
        final KTable<String, String> left = builder.table("left");
        final KTable<String, String> right = name.contains(":counts-")
                ? stream("right").groupByKey().count().mapValues(count -> "" + count)
                : builder.table("right");
        return switch (name) {
            case "foreign:inner-count" -> left.join(right, Further::referred, Further::both).groupBy(Further::byGroup, TEXTS).count().toStream();
            case "foreign:left-count" -> left.leftJoin(right, Further::referred, Further::both).groupBy(Further::byGroup, TEXTS).count().toStream();
            case "foreign:filtered-inner" -> left.join(right.filter((key, value) -> isEven(value)), Further::referred, Further::both).toStream();
            case "foreign:filtered-left" -> left.leftJoin(right.filter((key, value) -> isEven(value)), Further::referred, Further::both).toStream();
            case "foreign:counts-left" -> left.leftJoin(right, Further::referred, Further::both).toStream();
            case "foreign:of-filtered-inner" -> left.filter((key, value) -> isEven(value)).join(right, Further::referred, Further::both).toStream();
            case "foreign:of-filtered-left" -> left.filter((key, value) -> isEven(value)).leftJoin(right, Further::referred, Further::both).toStream();
            case "foreign:then-table" -> left.join(right, Further::referred, Further::both).leftJoin(left, Further::both).toStream();
            default -> throw unknown();
        };
    }

    static KTable<String, String> evens(final StreamsBuilder builder, final String topic) {
        return builder.<String, String>table(topic)
                .filter((key, value) -> isEven(value))
                .mapValues(value -> value + "!");
    }

    /** {@code versioned:} versioned tables, joined as of a time and as tables. */
    KStream<?, ?> versioned() {
        final String kind = name.substring(name.indexOf(':') + 1);
        if (kind.startsWith("as-of-")) {
            return asOf(stream("left"), remembering("right"));
        } else if (kind.startsWith("rows-")) {
            final KTable<String, String> rows = remembering("in");
            return ("rows-filter-count".equals(kind) ? rows.filter((key, value) -> isEven(value)) : rows)
                    .groupBy(Further::byGroup, TEXTS).count().toStream();
        }
        final KTable<String, String> left = remembering("left");
        final KTable<String, String> right = kind.startsWith("beside-") ? builder.table("right") : remembering("right");
        return kind.startsWith("foreign-")
                ? left.leftJoin(right, Further::referred, Further::both).toStream()
                : joined(left, right, kind).toStream();
    }

    private KStream<?, ?> asOf(final KStream<String, String> left, final KTable<String, String> right) {
        return switch (name) {
            case "versioned:as-of-inner" -> left.join(right, Further::both);
            case "versioned:as-of-left" -> left.leftJoin(right, Further::both);
            case "versioned:as-of-grace-inner" -> left.join(right, Further::both, waiting());
            // Without a key it cannot wait there.
            case "versioned:as-of-grace-left" -> left.filter((key, value) -> key != null).leftJoin(right, Further::both, waiting());
            case "versioned:as-of-rekeyed-left" -> left.selectKey(Further::group).leftJoin(right, Further::both, waiting());
            default -> throw unknown();
        };
    }

    private KTable<String, String> remembering(final String topic) {
        return builder.table(topic, Consumed.with(TEXT, TEXT), Materialized.as(
                Stores.persistentVersionedKeyValueStore(topic + "-rows", ms("grace").plus(ms("size")))));
    }

    private Joined<String, String, String> waiting() {
        return Joined.with(TEXT, TEXT, TEXT, "joined", ms("grace"));
    }

    private IllegalArgumentException unknown() {
        return new IllegalArgumentException("no topology is called " + name);
    }

    private KStream<String, String> stream(final String topic) {
        return builder.stream(topic);
    }

    private Duration ms(final String param) {
        return Duration.ofMillis(params.get(param).asLong());
    }
}
