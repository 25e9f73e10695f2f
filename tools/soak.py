#!/usr/bin/env python3
"""Runs the demo for a while and shows that memory stays flat, disk bounded, and a core suffices.

usage: soak.py [--minutes 30] [--rate 20000] [--every 60] [--out FILE] [--seed N]

Prints a row each --every seconds: records processed, processor time since the row before (in cores),
resident memory, size of the data directory, index lag. MILLPOND names the binary. Exits with 1 if
the second half of the run needs more than one core on average, or memory or disk have grown by more
than a fifth from the middle to the end.
"""
import argparse, json, os, pathlib, signal, subprocess, sys, tempfile, time, urllib.request

arguments = argparse.ArgumentParser(usage=__doc__)
arguments.add_argument("--minutes", type=float, default=30)
arguments.add_argument("--rate", type=int, default=20000)
arguments.add_argument("--every", type=float, default=60)
arguments.add_argument("--seed", type=int, default=1)
arguments.add_argument("--out", type=pathlib.Path)
options = arguments.parse_args()
tools = pathlib.Path(__file__).resolve().parent
target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", tools.parent / "target"))
binary = os.environ.get("MILLPOND", target / "debug" / "millpond")
data = pathlib.Path(tempfile.mkdtemp(prefix="millpond-soak-")) / "data"
process = subprocess.Popen(
    [binary, "demo", "--rate", str(options.rate), "--seed", str(options.seed), "--port", "0",
     "--data-dir", data], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
ticks = os.sysconf("SC_CLK_TCK")


def cpu_seconds():
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / ticks


def resident_mb():
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def disk_mb():
    return sum(f.stat().st_blocks * 512 for f in data.rglob("*") if f.is_file()) / 1e6


def processed():
    lock = json.loads((data / "millpond.lock").read_text())
    request = urllib.request.Request(f"http://{lock['address']}/v1/admin/stats",
                                     headers={"Authorization": f"Bearer {lock['admin_key']}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        stats = json.load(answer)
    records = sum(topology["records"] for topology in stats["topologies"])
    return records, sum(view["lag"] for view in stats["views"])


lines = [f"millpond demo --rate {options.rate}, {options.minutes:g} minutes, {os.cpu_count()} cores",
         "", "| minute | records/s processed | cores | resident MB | disk MB | index lag, records |",
         "|--:|--:|--:|--:|--:|--:|"]
print("\n".join(lines), flush=True)
rows, start = [], time.monotonic()
time.sleep(2)
before = (time.monotonic(), cpu_seconds(), processed()[0])
while time.monotonic() - start < options.minutes * 60:
    time.sleep(options.every)
    if process.poll() is not None:
        sys.exit(f"the demo ended with {process.returncode}")
    try:
        now, cpu, (records, lag) = time.monotonic(), cpu_seconds(), processed()
        memory, disk = resident_mb(), disk_mb()
    except FileNotFoundError:
        continue  # a file went between listing and looking
    took = now - before[0]
    row = ((now - start) / 60, (records - before[2]) / took, (cpu - before[1]) / took, memory, disk, lag)
    before = (now, cpu, records)
    rows.append(row)
    lines.append("| {:.1f} | {:,.0f} | {:.2f} | {:.0f} | {:.0f} | {:,} |".format(*row))
    print(lines[-1], flush=True)
process.send_signal(signal.SIGTERM)
ended = process.wait(timeout=60)
half, last = rows[len(rows) // 2:], rows[-1]
middle = rows[len(rows) // 2]
cores = sum(row[2] for row in half) / len(half)
peak = max(row[3] for row in rows)
flat = last[3] <= 1.2 * middle[3] and last[4] <= 1.2 * middle[4]
lines += ["", f"second half: {cores:.2f} cores; peak resident memory {peak:.0f} MB; "
          f"memory {middle[3]:.0f} -> {last[3]:.0f} MB, disk {middle[4]:.0f} -> {last[4]:.0f} MB; exit code {ended}"]
print("\n".join(lines[-2:]))
if options.out:
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("\n".join(lines) + "\n")
sys.exit(0 if cores <= 1 and flat and ended == 0 else 1)
