package bench;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.time.Duration;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.kstream.WindowedSerdes;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.WindowStore;

/** The topologies of bench/src/topologies.rs. */
final class Topologies {
    private static final Duration GRACE = Duration.ofSeconds(10);

    record Payment(
            @JsonProperty("event_id") String eventId,
            @JsonProperty("card_id") String cardId,
            @JsonProperty("merchant") String merchant,
            @JsonProperty("amount_cents") long amountCents,
            @JsonProperty("currency") String currency,
            @JsonProperty("country") String country,
            @JsonProperty("ts") long ts) {}

    record Order(
            @JsonProperty("order_id") String orderId,
            @JsonProperty("customer_id") String customerId,
            @JsonProperty("status") String status,
            @JsonProperty("ts") long ts) {}

    record Item(
            @JsonProperty("item_id") String itemId,
            @JsonProperty("order_id") String orderId,
            @JsonProperty("sku") String sku,
            @JsonProperty("qty") long qty,
            @JsonProperty("unit_price_cents") long unitPriceCents,
            @JsonProperty("ts") long ts) {}

    record Total(@JsonProperty("items") long items, @JsonProperty("total_cents") long totalCents) {}

    record OrderTotal(
            @JsonProperty("order_id") String orderId,
            @JsonProperty("customer_id") String customerId,
            @JsonProperty("status") String status,
            @JsonProperty("items") long items,
            @JsonProperty("total_cents") long totalCents) {}

    private Topologies() {}

    static void fraud(final StreamsBuilder builder) {
        final Serde<Payment> payments = new Json<>(Payment.class);
        final Duration minute = Duration.ofSeconds(60);
        builder.stream("payments", Consumed.with(Serdes.String(), payments))
                .filter((card, payment) -> payment.amountCents() >= 100)
                .groupByKey(Grouped.with(Serdes.String(), payments))
                .windowedBy(TimeWindows.ofSizeAndGrace(minute, GRACE))
                .count(counts("payments-per-card"))
                .toStream()
                .filter((card, count) -> count >= 5)
                .to("fraud-out", windowed(minute));
    }

    static void totals(final StreamsBuilder builder) {
        final Serde<Item> items = new Json<>(Item.class);
        final Serde<Order> order = new Json<>(Order.class);
        final KTable<String, Order> orders = builder.table(
                "orders",
                Consumed.with(Serdes.String(), order),
                Materialized.<String, Order, KeyValueStore<Bytes, byte[]>>as("orders")
                        .withKeySerde(Serdes.String())
                        .withValueSerde(order));
        builder.stream("order-items", Consumed.with(Serdes.String(), items))
                .groupByKey(Grouped.with(Serdes.String(), items))
                .aggregate(
                        () -> new Total(0, 0),
                        (id, item, total) -> new Total(
                                total.items() + 1, total.totalCents() + item.qty() * item.unitPriceCents()),
                        Materialized.<String, Total, KeyValueStore<Bytes, byte[]>>as("totals")
                                .withKeySerde(Serdes.String())
                                .withValueSerde(new Json<>(Total.class)))
                .join(orders, (total, of) -> new OrderTotal(
                        of.orderId(), of.customerId(), of.status(), total.items(), total.totalCents()))
                .toStream()
                .to("totals-out", Produced.with(Serdes.String(), new Json<>(OrderTotal.class)));
    }

    static void logins(final StreamsBuilder builder) {
        final Duration minutes = Duration.ofSeconds(300);
        builder.stream("syslog", Consumed.with(Serdes.String(), Serdes.String()))
                .filter((host, line) -> isFailedLogin(line))
                .groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
                .windowedBy(TimeWindows.ofSizeAndGrace(minutes, GRACE))
                .count(counts("failures-per-host"))
                .toStream()
                .to("logins-out", windowed(minutes));
    }

    private static boolean isFailedLogin(final String line) {
        return line.contains(" sshd[")
                && (line.contains("]: Failed password for ") || line.contains("]: Invalid user "));
    }

    private static Materialized<String, Long, WindowStore<Bytes, byte[]>> counts(final String store) {
        return Materialized.<String, Long, WindowStore<Bytes, byte[]>>as(store)
                .withKeySerde(Serdes.String())
                .withValueSerde(Serdes.Long());
    }

    private static Produced<Windowed<String>, Long> windowed(final Duration size) {
        return Produced.with(
                WindowedSerdes.timeWindowedSerdeFrom(String.class, size.toMillis()), Serdes.Long());
    }
}
