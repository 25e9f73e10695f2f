#!/usr/bin/env python3
"""Loads a syslog file into Millpond and compares the view `failed-logins` with count-logins.py.

usage: verify-logins.py [--kills N] [--shuffle SECONDS] [--seed N] [--seconds S] FILE YEAR [ZONE]

The file is followed as a source while its lines are appended to it over S seconds (default 0: all
at once). With --kills the process is killed (kill -9) N times at random moments of that and started
again. With --shuffle each line is moved by up to that many seconds of its own time, and the grace
is that long. Prints one line; exits with 1 if a count differs. MILLPOND names the binary.
"""
import argparse, collections, datetime, json, os, pathlib, random, re, signal, subprocess, sys, tempfile
import threading, time, urllib.request

arguments = argparse.ArgumentParser(usage=__doc__)
arguments.add_argument("--kills", type=int, default=0)
arguments.add_argument("--shuffle", type=float, default=0)
arguments.add_argument("--seed", type=int, default=1)
arguments.add_argument("--seconds", type=float, default=0)
arguments.add_argument("file")
arguments.add_argument("year")
arguments.add_argument("zone", nargs="?", default="UTC")
options = arguments.parse_args()
chance = random.Random(options.seed)
tools = pathlib.Path(__file__).resolve().parent
target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", tools.parent / "target"))
binary = os.environ.get("MILLPOND", target / "debug" / "millpond")

lines = pathlib.Path(options.file).read_bytes().splitlines(keepends=True)
if options.shuffle:
    def moment(line):
        found = re.search(rb"(\w{3} +\d+ \d\d:\d\d:\d\d) ", line[:40])
        text = f"{options.year} {found[1].decode()}"
        return datetime.datetime.strptime(text, "%Y %b %d %H:%M:%S").timestamp()
    lines.sort(key=lambda line: moment(line) + chance.uniform(0, options.shuffle))
lines[-1] = lines[-1].rstrip(b"\n") + b"\n"

work = pathlib.Path(tempfile.mkdtemp(prefix="millpond-verify-"))
source, config = work / "source.log", work / "millpond.toml"
source.touch()
config.write_text(f"""
data_dir = "{work}/data"
[http]
listen = "127.0.0.1:0"
[topologies.fraud]
enabled = false
[topologies.orders]
enabled = false
[topologies.logins]
grace_ms = {int(options.shuffle * 1000) + 10_000}
[[sources.file]]
path = "{source}"
topic = "syslog"
format = "syslog"
year = {options.year}
zone = "{options.zone}"
""")


def start():
    process = subprocess.Popen([binary, "run", "--config", config], stderr=open(work / "stderr", "ab"))
    return process


def address():
    return json.loads((work / "data" / "millpond.lock").read_text())["address"]


def get(path):
    with urllib.request.urlopen(f"http://{address()}{path}", timeout=10) as answer:
        return json.load(answer)


def append():
    for line in lines:
        with open(source, "ab") as out:
            out.write(line)
        if options.seconds:
            time.sleep(options.seconds / len(lines))


process = start()
writer = threading.Thread(target=append)
writer.start()
kills = 0
while kills < options.kills:
    time.sleep(chance.uniform(0.05, 2 * max(options.seconds, 4) / options.kills))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process, kills = start(), kills + 1
writer.join()


def documents():
    found, offset = {}, 0
    while True:
        page = get(f"/v1/views/failed-logins/search?q=*&limit=1000&offset={offset}&sort=_key")
        for hit in page["hits"]:
            row = hit["document"]
            start = re.sub(r"\.\d+Z$", "Z", row["window_start"])
            found[row["host"], row["source"], start] = row["attempts"]
        offset += len(page["hits"])
        if not page["hits"] or offset >= page["total"]:
            return found


oracle = subprocess.run([tools / "count-logins.py", options.file, options.year, options.zone],
                        capture_output=True, text=True, check=True).stdout
expected = {tuple(row.split()[:3]): int(row.split()[3]) for row in oracle.splitlines()}
deadline = time.monotonic() + 60
seen = None
while seen != expected and time.monotonic() < deadline:
    time.sleep(0.3)
    try:
        seen = documents()
    except (OSError, ValueError, KeyError):
        if process.poll() is not None:
            sys.exit(f"millpond ended with {process.returncode}: {(work / 'stderr').read_text()[-2000:]}")
process.send_signal(signal.SIGTERM)
ended = process.wait(timeout=60)
same = seen == expected
print(f"{len(lines)} lines, {kills} kills, shuffled by {options.shuffle:g} s: "
      f"{sum((seen or {}).values())} attempts in {len(seen or {})} windows, "
      f"{sum(expected.values())} in {len(expected)} by the script: {'equal' if same else 'DIFFERENT'}")
if not same:
    for key in sorted(set(expected) | set(seen or {})):
        if expected.get(key) != (seen or {}).get(key):
            print(*key, "script:", expected.get(key), "view:", (seen or {}).get(key))
sys.exit(0 if same and ended == 0 else 1)
