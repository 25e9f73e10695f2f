package peers;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.function.BinaryOperator;
import java.util.function.Supplier;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Branched;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.GlobalKTable;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.JoinWindows;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Named;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.SlidingWindows;
import org.apache.kafka.streams.kstream.Suppressed;
import org.apache.kafka.streams.kstream.Suppressed.BufferConfig;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.Stores;

/** Topologies of several operators, by name. They are those of tests/tests/oracle/further. */
final class Further {
    private static final Serde<String> TEXT = Serdes.String();
    private static final Grouped<String, String> TEXTS = Grouped.with(TEXT, TEXT);

    private final StreamsBuilder builder;
    private final JsonNode params;
    private final String name;

    Further(final StreamsBuilder builder, final JsonNode params, final String name) {
        this.builder = builder;
        this.params = params;
        this.name = name;
    }

    KStream<?, ?> build() {
        final Map<String, Supplier<KStream<?, ?>>> groups = Map.of(
                "grouped", this::grouped,
                "windowed", () -> windowed(builder.stream("in")),
                "merged", () -> windowed(stream("left").merge(stream("right"))),
                "rekeyed", this::rekeyed,
                "stream", this::stream,
                "streams", this::streams,
                "table", this::table,
                "tables", this::tables,
                "foreign", this::foreign);
        final Supplier<KStream<?, ?>> group = groups.get(name.substring(0, name.indexOf(':')));
        if (group == null) {
            throw unknown();
        }
        return group.get();
    }

    private IllegalArgumentException unknown() {
        return new IllegalArgumentException("no topology is called " + name);
    }

    private KStream<String, String> stream(final String topic) {
        return builder.stream(topic);
    }

    // --- aggregates -----------------------------------------------------------------------------

    /** {@code grouped:} aggregates without windows. */
    private KStream<?, ?> grouped() {
        final KStream<String, String> in = stream("in");
        return switch (name) {
            case "grouped:count" -> in.groupByKey().count().toStream();
            case "grouped:count-limited" -> limited(in.groupByKey().count());
            case "grouped:by-value-count" -> in.groupBy(Further::group).count().toStream();
            case "grouped:by-value-reduce" -> in.groupBy(Further::group).reduce(Further::joined).toStream();
            case "grouped:flat-map-count" -> in.flatMap((key, value) ->
                            List.of(KeyValue.pair(key, value), KeyValue.pair(group(key, value), value)))
                    .groupByKey()
                    .count()
                    .toStream();
            case "grouped:branches-reduce" -> branches(in).groupByKey().reduce(Further::joined).toStream();
            case "grouped:counts-of-counts" -> in.groupByKey()
                    .count()
                    .toStream()
                    .groupBy((key, count) -> "c" + count, Grouped.with(TEXT, Serdes.Long()))
                    .count()
                    .toStream();
            default -> throw unknown();
        };
    }

    private static KStream<String, String> branches(final KStream<String, String> in) {
        final Map<String, KStream<String, String>> branches = in.split(Named.as("b-"))
                .branch((key, value) -> isEven(value), Branched.as("even"))
                .defaultBranch(Branched.as("odd"));
        return branches.get("b-even").mapValues(value -> value + "e").merge(branches.get("b-odd"));
    }

    private <K> KStream<K, Long> limited(final KTable<K, Long> table) {
        return table.suppress(Suppressed.untilTimeLimit(ms("size"), BufferConfig.maxRecords(params.get("before").asLong() % 3 + 1)
                        .emitEarlyWhenFull()))
                .toStream();
    }

    /** {@code windowed:} or {@code merged:KIND-AGGREGATE[-final|-suppress|...]}. Windows of time and
     * sessions hand nulls to a reducer, which cannot take them. */
    private KStream<?, ?> windowed(final KStream<String, String> in) {
        return windows((name.contains("-count") ? in : texts(in)).groupByKey(TEXTS));
    }

    /** {@code rekeyed:...}: the same behind a repartition by value. Nulls are texts before it. */
    private KStream<?, ?> rekeyed() {
        return windows(texts(stream("in")).groupBy(Further::group, TEXTS));
    }

    /** With nulls as texts: an operator may drop a null and still look at its time. */
    private static KStream<String, String> texts(final KStream<String, String> in) {
        return in.mapValues(value -> String.valueOf(value));
    }

    private KStream<?, ?> windows(final KGroupedStream<String, String> grouped) {
        final String kind = name.substring(name.indexOf(':') + 1, name.indexOf('-'));
        final EmitStrategy emit = name.endsWith("-final") ? EmitStrategy.onWindowClose() : EmitStrategy.onWindowUpdate();
        final boolean counts = name.contains("-count");
        final KTable<Windowed<String>, ?> table =
                switch (kind) {
                    case "tumbling", "hopping" -> {
                        final TimeWindows windows = TimeWindows.ofSizeAndGrace(ms("size"), ms("grace"));
                        final var group = grouped.windowedBy("hopping".equals(kind) ? windows.advanceBy(ms("advance")) : windows)
                                .emitStrategy(emit);
                        yield counts ? group.count() : group.reduce(this::reduced);
                    }
                    case "session" -> {
                        final var group = grouped.windowedBy(SessionWindows.ofInactivityGapAndGrace(ms("gap"), ms("grace")))
                                .emitStrategy(emit);
                        yield counts ? group.count() : group.reduce(this::reduced);
                    }
                    case "sliding" -> {
                        final var group = grouped.windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(ms("size"), ms("grace")))
                                .emitStrategy(emit);
                        yield counts ? group.count() : group.reduce(this::reduced);
                    }
                    default -> throw unknown();
                };
        return shown(table);
    }

    @SuppressWarnings("unchecked")
    private KStream<?, ?> shown(final KTable<Windowed<String>, ?> table) {
        if (name.endsWith("-suppress") || name.endsWith("-closed")) {
            return table.suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded())).toStream();
        } else if (name.endsWith("-limited")) {
            return limited((KTable<Windowed<String>, Long>) table);
        } else if (name.endsWith("-filtered")) {
            return ((KTable<Windowed<String>, Long>) table).filter((key, count) -> count % 2 == 0).toStream();
        } else if (name.endsWith("-regrouped")) {
            return ((KTable<Windowed<String>, Long>) table)
                    .groupBy((key, count) -> KeyValue.pair(key.key(), count), Grouped.with(TEXT, Serdes.Long()))
                    .reduce(Long::sum, (sum, count) -> sum - count)
                    .toStream();
        }
        return table.toStream();
    }

    /** Final results of windows that are put together from parts must not depend on their order. */
    private String reduced(final String one, final String two) {
        return name.endsWith("-max-final") ? (one.compareTo(two) < 0 ? two : one) : joined(one, two);
    }

    // --- streams --------------------------------------------------------------------------------

    /** {@code stream:} a stream with a table, or a global one, or a versioned one. */
    private KStream<?, ?> stream() {
        final KStream<String, String> left = stream("left");
        return switch (name) {
            case "stream:table-rekeyed-inner" -> left.selectKey(Further::group).join(builder.<String, String>table("right"), Further::both);
            case "stream:table-rekeyed-left" -> left.selectKey(Further::group).leftJoin(builder.<String, String>table("right"), Further::both);
            case "stream:table-filtered-inner" -> left.join(evens("right"), Further::both);
            case "stream:table-filtered-left" -> left.leftJoin(evens("right"), Further::both);
            case "stream:counts-inner" -> left.join(stream("right").groupByKey().count(), Further::counted);
            case "stream:counts-left" -> left.leftJoin(stream("right").groupByKey().count(), Further::counted);
            case "stream:joined-tables-left" -> left.leftJoin(
                    builder.<String, String>table("right").outerJoin(left.toTable(), Further::both), Further::both);
            case "stream:global-inner" -> left.join(global(), (key, value) -> referred(value), Further::both);
            case "stream:global-left" -> left.leftJoin(global(), (key, value) -> referred(value), Further::both);
            case "stream:versioned-inner" -> left.join(versioned(), Further::both);
            case "stream:versioned-left" -> left.leftJoin(versioned(), Further::both);
            case "stream:versioned-grace-inner" -> texts(left).join(versioned(), Further::both, waiting());
            case "stream:versioned-grace-left" -> texts(left).leftJoin(versioned(), Further::both, waiting());
            default -> throw unknown();
        };
    }

    private KTable<String, String> evens(final String topic) {
        return builder.<String, String>table(topic)
                .filter((key, value) -> isEven(value))
                .mapValues(value -> value + "!");
    }

    private GlobalKTable<String, String> global() {
        return builder.globalTable("right", Consumed.with(TEXT, TEXT));
    }

    private KTable<String, String> versioned() {
        return builder.table("right", Consumed.with(TEXT, TEXT), Materialized.as(
                Stores.persistentVersionedKeyValueStore("right-rows", ms("grace").plus(ms("size")))));
    }

    private Joined<String, String, String> waiting() {
        return Joined.with(TEXT, TEXT, TEXT, "joined", ms("grace"));
    }

    /** {@code streams:} windowed joins of a stream with itself, behind a repartition, and aggregated. */
    private KStream<?, ?> streams() {
        final JoinWindows windows =
                JoinWindows.ofTimeDifferenceAndGrace(ms("before"), ms("grace")).after(ms("after"));
        final JoinWindows days = JoinWindows.ofTimeDifferenceAndGrace(ms("before"), Duration.ofDays(1)).after(ms("after"));
        return switch (name) {
            case "streams:self-inner" -> self((one, two) -> one.join(two, Further::both, windows));
            case "streams:self-left" -> self((one, two) -> one.leftJoin(two, Further::both, windows));
            case "streams:self-outer" -> self((one, two) -> one.outerJoin(two, Further::both, windows));
            case "streams:rekeyed-inner" -> rekeyed("left").join(rekeyed("right"), Further::both, days);
            case "streams:rekeyed-left" -> rekeyed("left").leftJoin(rekeyed("right"), Further::both, days);
            case "streams:rekeyed-outer" -> rekeyed("left").outerJoin(rekeyed("right"), Further::both, days);
            case "streams:joined-twice" -> {
                final KStream<String, String> left = stream("left");
                yield left.join(stream("right"), Further::both, windows).join(left, Further::both, windows);
            }
            case "streams:joined-count" -> stream("left")
                    .join(stream("right"), Further::both, windows)
                    .groupByKey()
                    .windowedBy(TimeWindows.ofSizeAndGrace(ms("size"), ms("grace")))
                    .count()
                    .toStream();
            default -> throw unknown();
        };
    }

    private KStream<String, String> self(final BinaryOperator<KStream<String, String>> join) {
        final KStream<String, String> in = stream("in");
        return join.apply(in, in);
    }

    private KStream<String, String> rekeyed(final String topic) {
        return stream(topic).filter((key, value) -> value != null).selectKey(Further::group);
    }

    // --- tables ---------------------------------------------------------------------------------

    /** {@code table:} a table of texts, or of numbers where it is added up. */
    private KStream<?, ?> table() {
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
            case "table:null-group-count" -> in.groupBy(
                            (key, value) -> KeyValue.pair(isEven(value) ? null : group(key, value), value), TEXTS)
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
    private KStream<?, ?> tables() {
        final String kind = name.substring(name.indexOf(':') + 1);
        if (kind.startsWith("filtered-")) {
            return joined(evens("left"), evens("right"), kind).toStream();
        } else if (kind.startsWith("counted-")) {
            final KTable<String, Long> right = stream("right").groupByKey().count();
            return joined(stream("left").groupByKey().count().mapValues(count -> "" + count), right.mapValues(count -> "" + count), kind)
                    .toStream();
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

    private static KTable<String, String> joined(
            final KTable<String, String> left, final KTable<String, String> right, final String kind) {
        if (kind.contains("inner")) {
            return left.join(right, Further::both);
        }
        return kind.contains("left") ? left.leftJoin(right, Further::both) : left.outerJoin(right, Further::both);
    }

    /** {@code foreign:} joins with a foreign key, and what comes after and before them. */
    private KStream<?, ?> foreign() {
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
            case "foreign:then-table" -> left.join(right, Further::referred, Further::both).leftJoin(left, Further::both).toStream();
            default -> throw unknown();
        };
    }

    // --- what they have in common ---------------------------------------------------------------

    private static String group(final String key, final String value) {
        return "k" + (value == null ? "" : value.substring(value.length() - 1));
    }

    private static KeyValue<String, String> byGroup(final String key, final String value) {
        return KeyValue.pair(group(key, value), value);
    }

    private static boolean isEven(final String value) {
        return value != null && "02468".indexOf(value.charAt(value.length() - 1)) >= 0;
    }

    private static String joined(final String one, final String two) {
        return one + ";" + two;
    }

    private static String both(final String left, final String right) {
        return left + "," + right;
    }

    private static String counted(final String left, final Long count) {
        return left + "," + count;
    }

    private static String referred(final String left) {
        final int bar = left == null ? -1 : left.indexOf('|');
        return bar < 0 ? null : left.substring(0, bar);
    }

    private Duration ms(final String param) {
        return Duration.ofMillis(params.get(param).asLong());
    }
}
