#!/usr/bin/env python3
"""Counts failed sshd logins per host, source and five-minute window: the oracle for the view.

usage: count-logins.py FILE YEAR [ZONE]     (RFC 3164 lines say neither; the zone defaults to UTC)
It shares nothing with the Rust parser; docs/logins-forms.md lists the forms that count.
"""
import collections, datetime, re, sys, zoneinfo

LINE = re.compile(r"(?P<time>\w{3} +\d+ \d\d:\d\d:\d\d) (?P<host>\S+) (?P<app>[^\s\[:]+)(?:\[\d+\])?: +(?P<msg>.*)")
REPEATED = re.compile(r"message repeated (\d+) times: \[ ?(.*)\]\s*$")
MODERN = re.compile(r"Failed [\w/-]+ for .*\bfrom (\S+) port \d+(?: ssh2)?(?: \[preauth\]|: .*)?\s*$")
OLD = re.compile(r"authentication failure;.*? rhost=(\S*)")
FORMS = {"sshd": MODERN, "sshd-session": MODERN, "sshd-auth": MODERN, "sshd(pam_unix)": OLD}

path, year = sys.argv[1], sys.argv[2]
zone = zoneinfo.ZoneInfo(sys.argv[3] if len(sys.argv) > 3 else "UTC")
counts = collections.Counter()
for text in open(path, encoding="utf-8", errors="replace"):
    line = LINE.match(text)
    if not line or line["app"] not in FORMS:
        continue
    repeated = REPEATED.match(line["msg"])
    times, message = repeated.groups() if repeated else (1, line["msg"])
    failed = FORMS[line["app"]].match(message)
    if failed:
        time = datetime.datetime.strptime(f"{year} {line['time']}", "%Y %b %d %H:%M:%S").replace(tzinfo=zone)
        start = datetime.datetime.fromtimestamp(time.timestamp() // 300 * 300, datetime.UTC)
        counts[line["host"], failed[1] or "-", start.strftime("%Y-%m-%dT%H:%M:%SZ")] += int(times)
for key, count in sorted(counts.items()):
    print(*key, count)
