"""What a process used, as the system tells it."""
import json, os, pathlib, signal, subprocess, time

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """Processor seconds of a process that runs."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def written_bytes(pid):
    """What a process has caused to be written to disks."""
    lines = pathlib.Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def folder_bytes(folder):
    return sum(file.stat().st_size for file in pathlib.Path(folder).rglob("*") if file.is_file())


def prefer(nice):
    """For the children's side of a fork: goes before other work of the machine, if it may."""
    def set_nice():
        try:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        except PermissionError:
            pass
    return set_nice


class Process:
    """A program under measurement."""

    def __init__(self, command, said, nice):
        self.said = said
        with open(said, "wb") as output:
            self.started = time.monotonic()
            self.child = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                                          preexec_fn=prefer(nice))

    def end(self):
        """Ends it in order; answers its processor seconds and its peak memory in MB."""
        self.child.send_signal(signal.SIGTERM)
        return self.reap()

    def reap(self):
        _, status, usage = os.wait4(self.child.pid, 0)
        self.child.returncode = os.waitstatus_to_exitcode(status)
        return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def check(self):
        if self.child.poll() is not None:
            raise SystemExit(f"it has ended: {self.said.read_text()[-3000:]}")


class Harness:
    """`bench harness`: the tools that speak to the broker."""

    def __init__(self, program, bootstrap):
        self.prefix = [program, "harness", "--bootstrap", bootstrap]

    def start(self, *arguments):
        return subprocess.Popen([*self.prefix, *arguments], stdout=subprocess.PIPE, text=True)

    def run(self, *arguments):
        done = subprocess.run([*self.prefix, *arguments], stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)
