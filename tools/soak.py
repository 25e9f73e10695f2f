#!/usr/bin/env python3
"""Runs the demo for a while and judges it: memory flat, disk bounded, less than one core.

usage: soak.py [--minutes 30] [--rate 20000] [--every 60] [--out FILE] [--seed N]

Prints a row each --every seconds: records brought by the generator and handled by the topologies per
second (some are handled twice, before and behind a repartition), cores used (processor seconds of the
process / wall seconds), resident memory and what of it is the process's own
(the rest are pages of index files and of the program, which the system takes back when it needs them),
size of the data directory, index lag, and the load of the machine, so that a run beside other work
can be told from one alone. Then where the processor time went by thread, and a verdict for each
criterion. Exits with 1 if one fails.

  one core    every minute after the first uses less than 1.00 core on average over the run, at the
              rate that was asked for (2 % less is let pass), with the topologies keeping up
  memory      the mean of the last quarter is at most 10 % above that of the second quarter
  disk        the peak of the last quarter is at most 20 % above that of the second quarter

MILLPOND names the binary.
"""
import argparse, collections, json, os, pathlib, platform, signal, subprocess, sys, tempfile, time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")
COLUMNS = ["minute", "records/s", "handled/s", "cores", "resident MB", "own MB", "disk MB", "index lag", "load"]
ROW = "| {:.1f} | {:,.0f} | {:,.0f} | {:.2f} | {:.0f} | {:.0f} | {:.0f} | {:,} | {:.1f} |"


def cpu_seconds(stat):
    fields = pathlib.Path(stat).read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Demo:
    def __init__(self, options):
        tools = pathlib.Path(__file__).resolve().parent
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", tools.parent / "target"))
        self.binary = os.environ.get("MILLPOND", target / "debug" / "millpond")
        self.data = pathlib.Path(tempfile.mkdtemp(prefix="millpond-soak-")) / "data"
        arguments = ["--rate", str(options.rate), "--seed", str(options.seed), "--port", "0",
                     "--data-dir", self.data]
        self.process = subprocess.Popen([self.binary, "demo", *arguments],
                                        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.proc = pathlib.Path(f"/proc/{self.process.pid}")

    def cpu(self):
        return cpu_seconds(self.proc / "stat")

    def threads(self):
        """Processor seconds by thread name; threads of one kind are one."""
        spent = collections.Counter()
        for thread in (self.proc / "task").iterdir():
            try:
                name = (thread / "comm").read_text().strip().rstrip("0123456789")
                spent[name] += cpu_seconds(thread / "stat")
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended
        return spent

    def resident_mb(self):
        """All of it, and without pages of files."""
        status = (self.proc / "status").read_text()
        return [int(status.split(name)[1].split()[0]) / 1024 for name in ("VmRSS:", "RssAnon:")]

    def disk_mb(self):
        total = 0
        for folder, _, files in os.walk(self.data):
            for name in files:
                try:
                    total += os.stat(os.path.join(folder, name)).st_blocks * 512
                except FileNotFoundError:
                    pass  # it went between listing and looking
        return total / 1e6

    def records(self):
        """Records brought, those handled by all topologies, and those that the indexes lack."""
        lock = json.loads((self.data / "millpond.lock").read_text())
        request = urllib.request.Request(f"http://{lock['address']}/v1/admin/stats",
                                         headers={"Authorization": f"Bearer {lock['admin_key']}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            stats = json.load(answer)
        return (stats["records_in"], sum(topology["records"] for topology in stats["topologies"]),
                sum(view["lag"] for view in stats["views"]))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def watch(demo, options, say):
    """The rows, and where the processor time went."""
    start = time.monotonic()
    time.sleep(2)
    before, rows = (time.monotonic(), demo.cpu(), *demo.records()[:2]), []
    while time.monotonic() - start < options.minutes * 60:
        time.sleep(options.every)
        if demo.process.poll() is not None:
            sys.exit(f"the demo ended with {demo.process.returncode}")
        now, cpu, (brought, handled, lag) = time.monotonic(), demo.cpu(), demo.records()
        took = now - before[0]
        rows.append(((now - start) / 60, (brought - before[2]) / took, (handled - before[3]) / took,
                     (cpu - before[1]) / took, *demo.resident_mb(), demo.disk_mb(), lag,
                     os.getloadavg()[0]))
        before = (now, cpu, brought, handled)
        say(ROW.format(*rows[-1]))
    return rows, demo.threads(), time.monotonic() - start


def mean(values):
    return sum(values) / len(values)


def verdicts(rows, rate):
    """For each criterion: whether it holds, and the figures."""
    later = rows[1:] or rows
    quarter = max(1, len(rows) // 4)
    second, last = rows[quarter:2 * quarter] or rows, rows[-quarter:]
    brought, handled, cores = (mean([row[column] for row in later]) for column in (1, 2, 3))
    memory = mean([row[4] for row in second]), mean([row[4] for row in last])
    disk = max(row[6] for row in second), max(row[6] for row in last)
    return [
        ("less than one core", cores < 1 and brought >= 0.98 * rate and handled >= 0.98 * brought,
         f"{cores:.2f} cores on average, {max(row[3] for row in later):.2f} in the worst row, at "
         f"{brought:,.0f} records/s: {cores / brought * 1e6:.1f} processor seconds per million"),
        ("memory flat", memory[1] <= 1.1 * memory[0],
         f"{memory[0]:.0f} MB in the second quarter, {memory[1]:.0f} MB in the last, "
         f"{max(row[4] for row in rows):.0f} MB at most"),
        ("disk bounded", disk[1] <= 1.2 * disk[0],
         f"{disk[0]:.0f} MB at most in the second quarter, {disk[1]:.0f} MB in the last"),
    ]


def main():
    arguments = argparse.ArgumentParser(usage=__doc__)
    arguments.add_argument("--minutes", type=float, default=30)
    arguments.add_argument("--rate", type=int, default=20000)
    arguments.add_argument("--every", type=float, default=60)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--out", type=pathlib.Path)
    options = arguments.parse_args()
    lines = []

    def say(line):
        lines.append(line)
        print(line, flush=True)

    say(f"# `millpond demo --rate {options.rate}` for {options.minutes:g} minutes")
    say(f"\n{time.strftime('%Y-%m-%d %H:%M')} UTC, {os.cpu_count()} cores, {platform.machine()}, "
        f"load {os.getloadavg()[0]:.1f} before the start. By `tools/soak.py`.\n")
    say("| " + " | ".join(COLUMNS) + " |")
    say("|" + "--:|" * len(COLUMNS))
    demo = Demo(options)
    try:
        rows, threads, took = watch(demo, options, say)
    except BaseException:
        demo.process.kill()
        raise
    ended = demo.stop()
    say("\n## Where the processor time went\n\n| threads | cores |\n|---|--:|")
    for name, seconds in threads.most_common():
        if seconds / took >= 0.005:
            say(f"| {name} | {seconds / took:.3f} |")
    say("\n## Verdict\n")
    judged = verdicts(rows, options.rate)
    judged.append(("ends well on SIGTERM", ended == 0, f"exit code {ended}"))
    for name, holds, figures in judged:
        say(f"- {name}: {'**holds**' if holds else '**FAILS**'} ({figures})")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(lines) + "\n")
    sys.exit(0 if all(holds for _, holds, _ in judged) else 1)


main()
