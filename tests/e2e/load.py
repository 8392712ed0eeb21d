"""Constant load on an app, in the background: what it was answered, and what failed."""

import collections
import http.client
import json
import threading
import time


class Load:
    """Sends `rate` requests a second over a few keep-alive connections while the context lasts."""

    def __init__(self, url, *, rate=50, path="/", connections=4):
        host = url.split("://", 1)[1].strip("/")
        self.host, self.port = host, int(host.rpartition(":")[2]) if ":" in host else 80
        self.interval = connections / rate
        self.path = path
        self.failures = []
        self.versions = collections.Counter()
        self.last_version_at = {}
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(connections)]

    @property
    def answered(self):
        return sum(self.versions.values())

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def run(self):
        connection = None
        due = time.monotonic()
        while not self.ending.is_set():
            due += self.interval
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
                connection.request("GET", self.path, headers={"Host": self.host})
                response = connection.getresponse()
                body = response.read().decode()
                if response.status != 200:
                    self.fail(f"{response.status} {body[:200]}")
                else:
                    version = json.loads(body)["version"]
                    with self.lock:
                        self.versions[version] += 1
                        self.last_version_at[version] = time.monotonic()
                if response.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.fail(f"{type(error).__name__}: {error}")
                connection = None
            self.ending.wait(max(0, due - time.monotonic()))

    def fail(self, what):
        with self.lock:
            self.failures.append((time.strftime("%H:%M:%S"), what))
