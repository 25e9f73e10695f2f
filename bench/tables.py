"""What was measured, as tables."""
from statistics import median

FLOOR = "plain librdkafka read"
COLUMNS = [
    ("cpu_us", "CPU s per million", "{:.2f}"),
    ("memory_mb", "peak memory MB", "{:.0f}"),
    ("records_s", "records/s", "{:,.0f}"),
    ("state_mb", "state MB", "{:.1f}"),
    ("log_bytes", "bytes to the log per record", "{:.0f}"),
    ("disk_bytes", "bytes to disk per record", "{:.0f}"),
    ("broker_cpu_us", "broker's CPU s per million", "{:.2f}"),
]
LATENCY = [
    ("p50_ms", "p50 ms", "{:.1f}"),
    ("p99_ms", "p99 ms", "{:.1f}"),
    ("p999_ms", "p99.9 ms", "{:.1f}"),
    ("max_ms", "worst ms", "{:.0f}"),
    ("cores", "cores", "{:.2f}"),
    ("memory_mb", "peak memory MB", "{:.0f}"),
    ("samples", "samples", "{:,.0f}"),
    ("sent_late_max_ms", "sent late at most ms", "{:.1f}"),
]


def cell(runs, name, form):
    """The median, and the range if it is one."""
    values = [run[name] for run in runs if name in run]
    if not values:
        return "–"
    low, middle, high = (form.format(value) for value in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def table(runs, columns):
    lines = ["| | " + " | ".join(title for _, title, _ in columns) + " |", "|---|" + "--:|" * len(columns)]
    for engine, of in runs.items():
        lines.append(f"| {engine} | " + " | ".join(cell(of, name, form) for name, _, form in columns) + " |")
    return "\n".join(lines)


def ratios(runs, ours="Millpond", theirs="Kafka Streams 4.3.1"):
    """Medians against medians."""
    if ours not in runs or theirs not in runs:
        return ""
    def of(engine, name):
        return median(run[name] for run in runs[engine])
    return (f"Kafka Streams / Millpond: CPU {of(theirs, 'cpu_us') / of(ours, 'cpu_us'):.1f}, "
            f"memory {of(theirs, 'memory_mb') / of(ours, 'memory_mb'):.1f}; "
            f"Millpond / Kafka Streams: records/s {of(ours, 'records_s') / of(theirs, 'records_s'):.1f}; "
            f"Millpond / plain read: CPU {of(ours, 'cpu_us') / of(FLOOR, 'cpu_us'):.1f}.")


def all_of(measured):
    before, after = measured["load_before"][0], measured["load_after"][0]
    parts = [f"Measured {measured['at']}, commit {measured['commit']}, {measured['cores']} cores, "
             f"{measured['threads']} threads, seed {measured['seed']}; load of the machine {before:.1f} before, "
             f"{after:.1f} after. Median (range)."]
    for topology, of in measured["topologies"].items():
        results = of["results"]
        count = max(len(runs) for runs in of["runs"].values())
        parts.append(f"## {topology}: {of['records']:,} records of {of['value_bytes']:.0f} bytes, {count} runs each")
        parts.append(table(of["runs"], COLUMNS))
        parts.append(ratios(of["runs"]))
        parts.append(f"Equal results in all runs: {results['keys']:,} keys, sum {results['sum']:,.0f}, "
                     f"digest `{results['digest']}`.")
    if "latency" in measured:
        of = measured["latency"]
        parts.append(f"## Latency: fraud, {of['rate']:,} payments/s for {of['seconds']} s")
        parts.append(table(of["runs"], LATENCY))
    return "\n\n".join(part for part in parts if part)
