"""One engine under test, and what of it can be seen on the host."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import boto3
import botocore.config

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("PILEUS_BIN", ROOT / "target" / "debug" / "pileus"))
VENV_BIN = pathlib.Path(sys.executable).parent
REGION = "us-east-1"

SERVER = """\
const http = require("node:http");
const version = "v1";
const started = Date.now();
let healthy = true;
const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://app");
  if (url.pathname === "/health") {
    response.writeHead(healthy ? 200 : 503).end("health");
  } else if (url.pathname === "/slow") {
    setTimeout(() => response.end(version), Number(url.searchParams.get("ms")));
  } else if (url.pathname === "/echo") {
    request.pipe(response);
  } else if (url.pathname === "/headers") {
    response.end(JSON.stringify({ headers: request.headers, peer: request.socket.remoteAddress }));
  } else if (url.pathname === "/sick") {
    healthy = false;
    response.end("sick");
  } else if (url.pathname === "/die") {
    process.exit(3);
  } else {
    response.end(JSON.stringify({ version, host: require("node:os").hostname(), uptime: Date.now() - started }));
  }
});
server.keepAliveTimeout = 65000;
server.listen(Number(process.env.PORT), () => console.log(JSON.stringify({ msg: "listening", version })));
process.on("SIGTERM", () => {
  console.log(JSON.stringify({ msg: "stopping", version }));
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
"""


def node_app(directory, *, server=SERVER, manifest=""):
    """Writes a small Node app without dependencies; its name is the directory's."""
    directory.mkdir(parents=True)
    package = {"name": directory.name, "version": "1.0.0", "private": True, "scripts": {"start": "node server.js"}}
    (directory / "package.json").write_text(json.dumps(package))
    lock = {"name": directory.name, "version": "1.0.0", "lockfileVersion": 3, "requires": True,
            "packages": {"": {"name": directory.name, "version": "1.0.0"}}}
    (directory / "package-lock.json").write_text(json.dumps(lock))
    (directory / "server.js").write_text(server)
    (directory / "pileus.toml").write_text(manifest)
    return directory


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Engine:
    """An engine with a home of its own. Leaving the context takes it down and looks for what it left behind."""

    def __init__(self, home):
        if os.geteuid() != 0:
            raise RuntimeError("the end-to-end tests make namespaces and cgroups: run them as root")
        if not BINARY.exists():
            raise RuntimeError(f"{BINARY} is not there: build it first, with `cargo build -p pileus`")
        self.home = pathlib.Path(home)
        self.port = free_port()
        cache = ROOT / "target" / "e2e-build-cache"
        self.environment = os.environ | {
            "PILEUS_HOME": str(self.home),
            "PILEUS_PORT": str(self.port),
            "PILEUS_EDGE_PORT": "0",
            "PILEUS_BUILD_CACHE": str(cache),
            "NO_COLOR": "1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": f"http://localhost:{self.port}",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self.show_log()
        instance = self.instance
        self.cli("down", "--all", "--yes", check=False)
        left = traces(instance) if instance else []
        if kind is None:
            assert not left, f"the engine left things behind: {left}"

    def show_log(self):
        log = self.home / "engine.log"
        if log.exists():
            print(f"--- {log}\n{log.read_text()[-8000:]}")

    # Commands

    def cli(self, *arguments, check=True, timeout=300, **options):
        """Runs a pileus command; returns its completed process."""
        command = [str(BINARY), *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=timeout, **options)
        if check and done.returncode != 0:
            self.show_log()
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def up(self, directory, **options):
        return self.cli("up", directory, timeout=600, **options)

    def status(self, app):
        """The app's status; the command ends with 1 while the app is not steady."""
        done = self.cli("status", app, "--output", "json", check=False)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    def aws(self, *arguments, check=True):
        """Runs an aws CLI command; returns its JSON output."""
        command = [str(VENV_BIN / "aws"), *map(str, arguments), "--output", "json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=120)
        if not check:
            return done
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def client(self, service, **options):
        """A boto3 client."""
        settings = {"region_name": REGION, "aws_access_key_id": "test", "aws_secret_access_key": "test",
                    "endpoint_url": f"http://localhost:{self.port}"}
        config = botocore.config.Config(retries={"total_max_attempts": 1})
        return boto3.client(service, **settings | {"config": config} | options)

    # Processes

    @property
    def instance(self):
        path = self.home / "instance"
        return path.read_text().strip() if path.exists() else None

    @property
    def run(self):
        return pathlib.Path("/run/pileus") / self.instance

    @property
    def pid(self):
        return json.loads((self.run / "engine.json").read_text())["pid"]

    def kill(self):
        """kill -9 of the engine alone."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid), "the killed engine to be gone")

    def processes(self, subcommand):
        """The pids of this engine's processes of a kind: `shim`, `balancer`."""
        found = []
        for pid, words in processes():
            if len(words) > 1 and words[1] == subcommand and any(self.instance in word for word in words):
                found.append(pid)
        return found

    # The app

    def status_of_shared(self):
        """The status of the app that the fixture `deployed` made."""
        return json.loads(self.cli("status", "--app", "shared", "--output", "json").stdout)

    def url(self, app):
        return self.status(app)["url"]

    def get(self, url, path="/", **options):
        return http_get(url.rstrip("/") + path, **options)

    def tasks(self, app):
        return [task for task in self.status(app)["tasks"] if task["state"] == "RUNNING"]

    def wait_steady(self, app, count=2, timeout=120):
        """Waits until the app has `count` running tasks that are all healthy targets."""
        def steady():
            status = self.status(app)
            running = [task for task in status["tasks"] if task["state"] == "RUNNING"]
            healthy = [target for target in status["targets"] if target["health"] == "healthy"]
            return len(running) == count and len(healthy) == count and len(status["targets"]) == count
        wait_for(steady, f"{count} healthy tasks", timeout)


def http_get(url, *, timeout=30, headers=None):
    """GET with the name in the URL resolved to loopback, as browsers do with `*.localhost`; (status, body)."""
    scheme, rest = url.split("://", 1)
    host, _, path = rest.partition("/")
    port = host.rpartition(":")[2] if ":" in host else "80"
    request = urllib.request.Request(f"{scheme}://127.0.0.1:{port}/{path}", headers={"Host": host} | (headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_for(condition, what, timeout=60):
    """Waits until the condition holds. A wait that is too long fails; how long it took is not asserted."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        with contextlib.suppress(OSError, KeyError, ValueError):
            if result := condition():
                return result
        time.sleep(0.1)
    raise AssertionError(f"waited {timeout} s in vain for {what}")


def alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return False
    return state != "Z"


def processes():
    """Every process with its command line."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(entry.name), words


def traces(instance):
    """All that the host still knows of an instance."""
    def lines(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.splitlines()

    found = []
    found += [f"process {pid}: {' '.join(words)}" for pid, words in processes() if any(instance in word for word in words)]
    found += [f"mount {line}" for line in pathlib.Path("/proc/self/mounts").read_text().splitlines() if instance in line]
    found += [f"link {line}" for line in lines("ip", "-o", "link") if instance in line]
    found += [f"route {line}" for line in lines("ip", "route", "show", "table", "all") if instance in line]
    found += [f"table {line}" for line in lines("nft", "list", "tables") if instance in line]
    found += [f"cgroup {path}" for path in pathlib.Path("/sys/fs/cgroup").glob(f"**/pileus-{instance}")]
    run = pathlib.Path("/run/pileus") / instance
    found += [f"directory {run}"] if run.exists() else []
    return found
