"""One Apache Kafka broker, from its jars: the one of the tests (tests/kafka), with an ordinary JVM."""
import os, pathlib, shutil, socket, subprocess, tempfile, time

TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "kafka"
OPTIONS = "-XX:+UseG1GC -XX:MaxGCPauseMillis=20"
HEAP = "1g"
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{control}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log}
num.network.threads=2
num.io.threads=4
auto.create.topics.enable=false
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.retention.ms=-1
log.segment.bytes=536870912
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def jars(built):
    """The folder with Kafka's jars, fetched with Maven if they are not there."""
    folder = built / "kafka-4.3.1"
    if not folder.exists():
        part = pathlib.Path(tempfile.mkdtemp(dir=built))
        subprocess.run(["mvn", "-B", "-ntp", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime",
                        "-f", TESTS / "pom.xml", f"-DoutputDirectory={part}"], check=True)
        part.rename(folder)
    return folder


class Broker:
    """It ends with this process, however that ends, and its folder with it."""

    def __init__(self, built):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="millpond-bench-"))
        self.log = self.folder / "log"
        port = free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        properties = self.folder / "server.properties"
        properties.write_text(PROPERTIES.format(port=port, control=free_port(), log=self.log))
        classpath, java = f"{TESTS}:{jars(built)}/*", self.java()
        subprocess.run([java, "-Xmx128m", "-cp", classpath, "kafka.tools.StorageTool", "format", "-t",
                        "4L6g3nShT-eMCtK--X86sw", "-c", properties], check=True, capture_output=True)
        self.guard = subprocess.Popen(["sh", TESTS / "node.sh", self.folder, java, classpath, HEAP],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                      env={**os.environ, "NODE_JAVA_OPTIONS": OPTIONS})
        self.pid = int(self.guard.stdout.readline())
        self.wait(port)

    @staticmethod
    def java():
        home = os.environ.get("JAVA_HOME")
        return pathlib.Path(home, "bin", "java") if home else shutil.which("java")

    def wait(self, port):
        for _ in range(1800):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.1)
        raise SystemExit(f"the broker does not start: see {self.folder / 'server.out'}")

    def topic_bytes(self, leave_out):
        """Bytes in all topics but these and the broker's own."""
        total = 0
        for partition in self.log.iterdir():
            topic = partition.name.rpartition("-")[0]
            if partition.is_dir() and not topic.startswith("__") and topic not in leave_out \
                    and not partition.name.endswith("-delete"):
                total += sum(file.stat().st_size for file in partition.glob("*.log"))
        return total

    def stop(self):
        self.guard.stdin.close()
        self.guard.wait()
