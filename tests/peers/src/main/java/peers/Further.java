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
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Topologies of several operators, by name. They are those of tests/tests/oracle/further. */
final class Further {
    static final Serde<String> TEXT = Serdes.String();
    static final Grouped<String, String> TEXTS = Grouped.with(TEXT, TEXT);

    private final StreamsBuilder builder;
    private final JsonNode params;
    private final String name;

    Further(final StreamsBuilder builder, final JsonNode params, final String name) {
        this.builder = builder;
        this.params = params;
        this.name = name;
    }

    KStream<?, ?> build() {
        final FurtherTables tables = new FurtherTables(builder, params, name);
        final Map<String, Supplier<KStream<?, ?>>> groups = Map.ofEntries(
                Map.entry("plain", this::plain),
                Map.entry("cogrouped", this::cogrouped),
                Map.entry("grouped", this::grouped),
                Map.entry("windowed", () -> windowed(builder.stream("in"))),
                Map.entry("merged", () -> windowed(stream("left").merge(stream("right")))),
                Map.entry("windowed-tables", this::windowedTables),
                Map.entry("rekeyed", this::rekeyed),
                Map.entry("stream", this::stream),
                Map.entry("streams", this::streams),
                Map.entry("table", tables::table),
                Map.entry("tables", tables::tables),
                Map.entry("versioned", tables::versioned),
                Map.entry("foreign", tables::foreign));
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

    // --- without state, or with a store of one's own --------------------------------------------

    /** {@code plain:} one stream in, one out. */
    private KStream<?, ?> plain() {
        final KStream<String, String> in = stream("in");
        return switch (name) {
            case "plain:filter-map" -> in.filter((key, value) -> isEven(value))
                    .map((key, value) -> KeyValue.pair(group(key, value), key + "/" + value));
            case "plain:filter-not" -> in.filterNot((key, value) -> isEven(value));
            case "plain:flat-map-values" -> in.flatMapValues(value -> value == null ? List.of() : List.of(value, value + "!"));
            case "plain:branches" -> {
                final Map<String, KStream<String, String>> branches = in.split(Named.as("b-"))
                        .branch((key, value) -> isEven(value), Branched.as("even"))
                        .branch((key, value) -> value == null, Branched.as("null"))
                        .defaultBranch(Branched.as("odd"));
                yield branches.get("b-odd").mapValues(value -> value + "o").merge(branches.get("b-even")).merge(branches.get("b-null"));
            }
            case "plain:repartition" -> in.selectKey(Further::group).repartition();
            case "plain:repartition-nulls" -> in.selectKey((key, value) -> isEven(value) ? key : null).repartition();
            case "plain:changes" -> {
                builder.addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("last"), TEXT, TEXT));
                yield in.process(Changes::new, "last");
            }
            default -> throw unknown();
        };
    }

    /** Says how often the value of a key has changed. */
    private static final class Changes extends ContextualProcessor<String, String, String, String> {
        @Override
        public void process(final Record<String, String> record) {
            if (record.key() == null) {
                return;
            }
            final KeyValueStore<String, String> last = context().getStateStore("last");
            final String row = last.get(record.key());
            if (record.value() == null) {
                last.delete(record.key());
                context().forward(record);
                return;
            }
            final String before = row == null ? null : row.substring(row.indexOf('#') + 1);
            if (record.value().equals(before)) {
                return;
            }
            final int times = row == null ? 1 : Integer.parseInt(row.substring(0, row.indexOf('#'))) + 1;
            last.put(record.key(), times + "#" + record.value());
            context().forward(record.withValue(record.value() + "#" + times));
        }
    }

    /** {@code cogrouped:} two streams, one aggregate. */
    private KStream<?, ?> cogrouped() {
        final boolean rekeyed = name.endsWith(":rekeyed");
        final KStream<String, String> left = stream("left");
        final KStream<String, String> right = stream("right");
        return (rekeyed ? left.groupBy(Further::group, Grouped.as("left-by-value")) : left.groupByKey())
                .<String>cogroup((key, value, all) -> all + "+" + value)
                .cogroup(rekeyed ? right.groupBy(Further::group, Grouped.as("right-by-value")) : right.groupByKey(),
                        (key, value, all) -> all + "-" + value)
                .aggregate(() -> "", Materialized.with(TEXT, TEXT))
                .toStream();
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
            case "grouped:fold" -> in.groupByKey()
                    .aggregate(() -> "0", (key, value, all) -> all + "+" + value, Materialized.with(TEXT, TEXT))
                    .toStream();
            case "grouped:count-and-reduce" -> {
                final KTable<String, Long> counts = in.groupByKey().count();
                yield in.groupByKey().reduce((before, latest) -> latest).join(counts, Further::counted).toStream();
            }
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
        if (name.endsWith("-again")) {
            return windows(in.filter((key, value) -> value != null).groupByKey(TEXTS));
        }
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
        if (name.endsWith("-fold")) {
            return folded(grouped, kind).toStream();
        }
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

    /** All values, one after the other. */
    private KTable<Windowed<String>, String> folded(final KGroupedStream<String, String> grouped, final String kind) {
        final TimeWindows windows = TimeWindows.ofSizeAndGrace(ms("size"), ms("grace"));
        return switch (kind) {
            case "session" -> grouped.windowedBy(SessionWindows.ofInactivityGapAndGrace(ms("gap"), ms("grace")))
                    .aggregate(() -> "0", (key, value, all) -> all + "+" + value,
                            (key, one, two) -> "(" + one + "|" + two + ")", Materialized.with(TEXT, TEXT));
            case "sliding" -> grouped.windowedBy(SlidingWindows.ofTimeDifferenceAndGrace(ms("size"), ms("grace")))
                    .aggregate(() -> "0", (key, value, all) -> all + "+" + value, Materialized.with(TEXT, TEXT));
            case "tumbling", "hopping" -> grouped
                    .windowedBy("hopping".equals(kind) ? windows.advanceBy(ms("advance")) : windows)
                    .aggregate(() -> "0", (key, value, all) -> all + "+" + value, Materialized.with(TEXT, TEXT));
            default -> throw unknown();
        };
    }

    /** {@code windowed-tables:} the counts of two streams, joined. */
    private KStream<?, ?> windowedTables() {
        final KTable<Windowed<String>, String> left = windowedCounts("left");
        final KTable<Windowed<String>, String> right = windowedCounts("right");
        return FurtherTables.joined(left, right, name.substring(name.indexOf(':') + 1)).toStream();
    }

    private KTable<Windowed<String>, String> windowedCounts(final String topic) {
        final Duration grace = ms("grace").plusDays(name.contains(":closed-") ? 0 : 30);
        return stream(topic).filter((key, value) -> value != null).groupByKey()
                .windowedBy(TimeWindows.ofSizeAndGrace(ms("size"), grace))
                .count()
                .mapValues(count -> "" + count);
    }

    @SuppressWarnings("unchecked")
    private KStream<?, ?> shown(final KTable<Windowed<String>, ?> table) {
        if (name.endsWith("-again")) {
            final KTable<Windowed<String>, ?> counted = name.endsWith("-suppress-again")
                    ? table.suppress(Suppressed.untilWindowCloses(BufferConfig.unbounded()))
                    : table;
            return counted.toStream()
                    .filter((key, count) -> count != null)
                    .map((key, count) -> KeyValue.pair(key.key(), "" + count))
                    .groupByKey(TEXTS)
                    .count()
                    .toStream();
        } else if (name.endsWith("-suppress") || name.endsWith("-closed")) {
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
        if (name.startsWith("stream:own-")) {
            final KStream<String, String> in = stream("in");
            return name.endsWith("-count-inner") ? in.join(in.groupByKey().count(), Further::counted) : in.leftJoin(in.toTable(), Further::both);
        }
        final KStream<String, String> left = stream("left");
        return switch (name) {
            case "stream:table-rekeyed-inner" -> left.selectKey(Further::group).join(builder.<String, String>table("right"), Further::both);
            case "stream:table-rekeyed-left" -> left.selectKey(Further::group).leftJoin(builder.<String, String>table("right"), Further::both);
            case "stream:table-filtered-inner" -> left.join(FurtherTables.evens(builder, "right"), Further::both);
            case "stream:table-filtered-left" -> left.leftJoin(FurtherTables.evens(builder, "right"), Further::both);
            case "stream:counts-inner" -> left.join(stream("right").groupByKey().count(), Further::counted);
            case "stream:counts-left" -> left.leftJoin(stream("right").groupByKey().count(), Further::counted);
            case "stream:to-table-inner" -> left.join(present("right").toTable(), Further::both);
            case "stream:to-table-left" -> left.leftJoin(present("right").toTable(), Further::both);
            case "stream:joined-tables-left" -> left.leftJoin(
                    builder.<String, String>table("right").outerJoin(left.toTable(), Further::both), Further::both);
            case "stream:global-inner" -> left.join(global(), (key, value) -> referred(value), Further::both);
            case "stream:global-left" -> left.leftJoin(global(), (key, value) -> referred(value), Further::both);
            default -> throw unknown();
        };
    }

    private GlobalKTable<String, String> global() {
        return builder.globalTable("right", Consumed.with(TEXT, TEXT));
    }

    private KStream<String, String> present(final String topic) {
        return stream(topic).filter((key, value) -> value != null);
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
            case "streams:self-halves-inner" -> half(true).join(half(false), Further::both, windows);
            case "streams:self-halves-left" -> half(true).leftJoin(half(false), Further::both, windows);
            case "streams:self-halves-outer" -> half(true).outerJoin(half(false), Further::both, windows);
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

    private KStream<String, String> half(final boolean even) {
        return stream("in").filter((key, value) -> isEven(value) == even);
    }

    private KStream<String, String> rekeyed(final String topic) {
        return stream(topic).filter((key, value) -> value != null).selectKey(Further::group);
    }

    // --- what they have in common ---------------------------------------------------------------

    static String group(final String key, final String value) {
        return "k" + (value == null ? "" : value.substring(value.length() - 1));
    }

    static KeyValue<String, String> byGroup(final String key, final String value) {
        return KeyValue.pair(group(key, value), value);
    }

    static boolean isEven(final String value) {
        return value != null && "02468".indexOf(value.charAt(value.length() - 1)) >= 0;
    }

    static String joined(final String one, final String two) {
        return one + ";" + two;
    }

    static String both(final String left, final String right) {
        return left + "," + right;
    }

    static String counted(final String left, final Long count) {
        return left + "," + count;
    }

    static String referred(final String left) {
        final int bar = left == null ? -1 : left.indexOf('|');
        return bar < 0 ? null : left.substring(0, bar);
    }

    private Duration ms(final String param) {
        return Duration.ofMillis(params.get(param).asLong());
    }
}
