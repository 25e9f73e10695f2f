"""Who is compared: how each is started, and where its results are."""
import pathlib, subprocess

HERE = pathlib.Path(__file__).resolve().parent
INPUTS = {"fraud": ["payments"], "totals": ["orders", "order-items"], "logins": ["syslog"]}
WINDOWED = {"fraud", "logins"}
MILLPOND = """\
data_dir = "{data}"
threads = {threads}
[log]
kind = "kafka"
instance = "bench"
[kafka]
bootstrap.servers = "{bootstrap}"
consumer.session.timeout.ms = 6000
[http]
listen = "127.0.0.1:0"
[worker]
commit_interval_ms = 100
timestamp_ahead_ms_max = "unbounded"
"""


class Millpond:
    """`bench worker`: Millpond as a binary with the topologies of bench/src/topologies.rs."""
    name, others, binary = "Millpond", INPUTS, "bench"

    def __init__(self, binaries, threads):
        self.program, self.threads = binaries / self.binary, threads

    def command(self, topology, bootstrap, folder):
        config = folder / "millpond.toml"
        text = MILLPOND.format(data=folder / "data", threads=self.threads, bootstrap=bootstrap)
        for other in self.others:
            if other != topology:
                text += f"[topologies.{other}]\nenabled = false\n"
        config.write_text(text)
        return [self.program, "worker", "--config", config]

    def group(self, topology):
        return f"{topology}-g1"

    def state(self, folder):
        return folder / "data"

    def digest(self, topology):
        """What a digest of the results is told."""
        return ["--key-tail", "8"] if topology in WINDOWED else []


class Shipped(Millpond):
    """`millpond worker`: the shipped topologies, which do more: repeats, sums, views, alerts."""
    name, others, binary = "Millpond, shipped topology", ["fraud", "orders", "logins"], "millpond"

    def digest(self, topology):
        return None


class KafkaStreams:
    """The application in bench/peers/kafka-streams."""
    name = "Kafka Streams 4.3.1"

    def __init__(self, built):
        self.home = built / "bench-kafka-streams"
        self.project = HERE / "peers" / "kafka-streams"
        subprocess.run(["mvn", "-B", "-ntp", "-q", "package", "-f", self.project / "pom.xml",
                        f"-Doutput={self.home}"], check=True)

    def command(self, topology, bootstrap, folder):
        return ["java", "-Xmx1g", "-cp", f"{self.home}/bench-kafka-streams.jar:{self.home}/lib/*",
                "bench.Main", topology, bootstrap, folder / "state", self.project / "streams.properties"]

    def group(self, topology):
        return f"streams-{topology}"

    def state(self, folder):
        return folder / "state"

    def digest(self, topology):
        return []
