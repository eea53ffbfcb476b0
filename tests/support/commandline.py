"""Runs `facesvc` as its users do: a process of its own, over a data folder of the test's."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

TIMEOUT = 240


@dataclass(frozen=True)
class CommandLine:
    """data: the data folder; packs are built in ``packs`` once for all."""

    data: Path

    @classmethod
    def over(cls, data: Path, packs: Path) -> "CommandLine":
        data.mkdir(parents=True)
        (data / "packs").symlink_to(packs)
        return cls(data)

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "facesvc", "--data", str(self.data), *map(str, arguments)]

    def run(
        self, *arguments: object, stdin: bytes = b"", cwd: Path | None = None, **settings: str
    ) -> subprocess.CompletedProcess[bytes]:
        """settings: as FACESVC_<NAME>; no others are inherited."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FACESVC_")}
        environment |= {f"FACESVC_{name.upper()}": value for name, value in settings.items()}
        return subprocess.run(
            self.command(*arguments), input=stdin, capture_output=True, timeout=TIMEOUT, cwd=cwd, env=environment
        )

    def json(self, *arguments: object, code: int = 0, **settings: str) -> Any:
        """The JSON that a command prints; it must end with ``code``."""
        done = self.run(*arguments, "--json", **settings)
        assert done.returncode == code, done.stderr.decode()
        return json.loads(done.stdout)

    def lines(self, *arguments: object, code: int = 0, stdin: bytes = b"", cwd: Path | None = None) -> list[Any]:
        """The JSON lines that a command prints; it must end with ``code``."""
        done = self.run(*arguments, stdin=stdin, cwd=cwd)
        assert done.returncode == code, done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]

    def refusal(self, *arguments: object, stdin: bytes = b"") -> str:
        """The last line on stderr of a command that must end with 2, without a traceback or a result."""
        done = self.run(*arguments, stdin=stdin)
        assert (done.returncode, done.stdout) == (2, b""), done
        assert b"Traceback" not in done.stderr
        return done.stderr.decode().strip().splitlines()[-1]

    @contextmanager
    def serving(self, *options: object, dev: bool = True) -> Iterator[str]:
        """A server of its own process on a free port; yields its URL. options: of facesvc itself; dev: in development
        mode."""
        serve = ("serve", "--port", 0, *(["--dev"] if dev else []))
        process = subprocess.Popen(self.command(*options, *serve), stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        drain = Thread(target=process.stderr.read, daemon=True)  # once it is up: a full pipe would stop the server
        try:
            said = (re.search(r"ready at (\S+)", line) for line in process.stderr)
            ready = next(found for found in said if found)
            drain.start()
            yield ready[1]
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
            if drain.ident:
                drain.join()
            process.stderr.close()
