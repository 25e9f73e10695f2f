#!/usr/bin/env python3
"""Compares Millpond with its peers on one broker, in one run, in turns.

usage: run.py [--runs 3] [--records N] [--seed 1] [--threads 2] [--topologies fraud,totals,logins]
              [--latency SECONDS] [--rate 5000] [--nice -5] [--out FOLDER]

Starts Apache Kafka, loads the seeded data, and lets Millpond, the shipped topology where its input is the
same, and Kafka Streams work it off in turns, exactly-once with commits every 100 ms. A run lasts from the
start of the process until the offsets of all records are committed; then the process is told to end, and its
processor time and peak memory are those of its whole life. The last value of each key must be the same for
all. A plain read by librdkafka is the floor. `--latency` adds the time from payment to committed result.

Prints tables in Markdown; `--out` keeps them, and everything measured as JSON. `./dev bench` builds first.
"""
import argparse, json, os, pathlib, subprocess, sys, tempfile, time

import tables
from broker import Broker
from engines import INPUTS, KafkaStreams, Millpond, Shipped
from measure import Harness, Process, cpu_seconds, folder_bytes, written_bytes

HERE = pathlib.Path(__file__).resolve().parent
RECORDS = {"fraud": 2_000_000, "totals": 1_800_000, "logins": 2_000_000}
SHIPPED = {"fraud"}
WARM_UP = 20


class Bench:
    def __init__(self, options):
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target"))
        binaries, built = target / "debug", target / "tmp"
        built.mkdir(exist_ok=True)
        self.options = options
        self.streams = KafkaStreams(built)
        self.millpond, self.shipped = Millpond(binaries, options.threads), Shipped(binaries, options.threads)
        self.broker = Broker(built)
        os.setpriority(os.PRIO_PROCESS, self.broker.pid, options.nice)
        self.harness = Harness(binaries / "bench", self.broker.bootstrap)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="millpond-bench-runs-"))

    def engines(self, topology):
        more = [self.shipped] if topology in SHIPPED else []
        return [self.millpond, self.streams, *more]

    def start(self, engine, topology):
        """The engine, on a broker that has the inputs and nothing else."""
        keep = INPUTS[topology]
        self.harness.run("reset", "--keep", ",".join(keep), "--make", f"{topology}-out")
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        command = engine.command(topology, self.broker.bootstrap, folder)
        return folder, Process(command, folder / "said.txt", self.options.nice)

    def work_off(self, engine, topology, records):
        """One run."""
        brokers = cpu_seconds(self.broker.pid)
        folder, process = self.start(engine, topology)
        with process:
            run = self.until_committed(engine, topology, records, process)
        run["broker_cpu_us"] = (cpu_seconds(self.broker.pid) - brokers) / records * 1e6
        run["state_mb"] = folder_bytes(engine.state(folder)) / 1e6
        run["log_bytes"] = self.broker.topic_bytes(set(INPUTS[topology])) / records
        told = engine.digest(topology)
        if told is not None:
            run["results"] = self.harness.run("digest", "--topic", f"{topology}-out", *told)
        return run

    def until_committed(self, engine, topology, records, process):
        """Lets it run until it has committed everything, then ends it."""
        waiting = self.harness.start("wait", "--group", engine.group(topology),
                                     "--topics", ",".join(INPUTS[topology]))
        while waiting.poll() is None:
            process.check()
            time.sleep(0.02)
        took = time.monotonic() - process.started
        if waiting.returncode:
            raise SystemExit(f"it did not end: {process.said.read_text()[-3000:]}")
        written = written_bytes(process.child.pid)
        cpu, memory = process.end()
        return {"cpu_us": cpu / records * 1e6, "memory_mb": memory, "records_s": records / took,
                "disk_bytes": written / records}

    def floor(self, topology, records):
        """A plain read of the inputs."""
        command = [*self.harness.prefix, "read", "--topics", ",".join(INPUTS[topology])]
        process = Process(command, self.folder / "read.txt", self.options.nice)
        cpu, memory = process.reap()
        took = time.monotonic() - process.started
        return {"cpu_us": cpu / records * 1e6, "memory_mb": memory, "records_s": records / took}

    def compare(self, topology):
        """All runs of a topology, by engine."""
        records = self.options.records or RECORDS[topology]
        self.harness.run("reset")
        loaded = self.harness.run("load", topology, "--records", str(records), "--seed", str(self.options.seed))
        runs = {}
        for number in range(self.options.runs):
            runs.setdefault(tables.FLOOR, []).append(self.floor(topology, records))
            for engine in self.engines(topology):
                run = self.work_off(engine, topology, records)
                runs.setdefault(engine.name, []).append(run)
                print(f"{topology} {number + 1} {engine.name}: {json.dumps(run)}", file=sys.stderr, flush=True)
        results = [run["results"] for of in runs.values() for run in of if "results" in run]
        digests = {result["digest"] for result in results}
        if len(digests) != 1:
            raise SystemExit(f"{topology}: the results differ: {results}")
        return {"records": records, "value_bytes": loaded["value_bytes"] / records, "runs": runs,
                "results": {name: results[0][name] for name in ("keys", "sum", "digest")}}

    def latency(self):
        """Payments at a rate, until their results are committed, by engine."""
        options, times = self.options, {}
        for _ in range(options.runs):
            for engine in (self.millpond, self.streams):
                self.harness.run("reset", "--make", "payments")
                _, process = self.start(engine, "fraud")
                with process:
                    run = self.at_a_rate(process)
                times.setdefault(engine.name, []).append(run)
                print(f"latency {engine.name}: {json.dumps(run)}", file=sys.stderr, flush=True)
        return {"rate": options.rate, "seconds": options.latency, "runs": times}

    def at_a_rate(self, process):
        """Latency, and what the process uses meanwhile."""
        options = self.options
        client = self.harness.start("latency", "--rate", str(options.rate), "--seconds",
                                    str(options.latency), "--warm-up", str(WARM_UP))
        time.sleep(WARM_UP)
        process.check()
        before, began = cpu_seconds(process.child.pid), time.monotonic()
        time.sleep(options.latency)
        used = (cpu_seconds(process.child.pid) - before) / (time.monotonic() - began)
        told, _ = client.communicate()
        _, memory = process.end()
        if client.returncode:
            raise SystemExit(f"no latency: {process.said.read_text()[-3000:]}")
        return {**json.loads(told), "cores": used, "memory_mb": memory}


def options():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--records", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--topologies", type=lambda text: [name for name in text.split(",") if name],
                        default=list(INPUTS))
    parser.add_argument("--latency", type=int, default=0)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--nice", type=int, default=-5)
    parser.add_argument("--out", type=pathlib.Path)
    return parser.parse_args()


def main():
    chosen = options()
    measured = {"at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "cores": os.cpu_count(),
                "load_before": os.getloadavg(), "seed": chosen.seed, "threads": chosen.threads}
    commit = subprocess.run(["git", "-C", HERE, "describe", "--always", "--dirty"], capture_output=True, text=True)
    measured["commit"] = commit.stdout.strip()
    bench = Bench(chosen)
    try:
        measured["topologies"] = {topology: bench.compare(topology) for topology in chosen.topologies}
        if chosen.latency:
            measured["latency"] = bench.latency()
    finally:
        bench.broker.stop()
    measured["load_after"] = os.getloadavg()
    text = tables.all_of(measured)
    print(text)
    if chosen.out:
        chosen.out.mkdir(parents=True, exist_ok=True)
        (chosen.out / "bench.json").write_text(json.dumps(measured, indent=1) + "\n")
        (chosen.out / "tables.md").write_text(text + "\n")


main()
