"""What tests of exports and imports share."""

import io
import os
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from facesvc.bootstrap import open_service
from facesvc.cli import main
from facesvc.config import Settings
from tests.support.commandline import CommandLine
from tests.support.galleryfiles import values


class Here(CommandLine):
    """Runs commands in this process: a process each would spend most of its time on imports."""

    def run(
        self, *arguments: object, stdin: bytes = b"", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        stdout, stderr = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
            for name in [name for name in os.environ if name.startswith("FACESVC_")]:
                patch.delenv(name)
            try:
                main(self.command(*arguments)[3:])
                code: Any = 0
            except SystemExit as end:
                code = end.code or 0
        return subprocess.CompletedProcess([], code, stdout.getvalue().encode(), stderr.getvalue().encode())


def stored(cli: CommandLine, url: str, gallery: str = "staff") -> list[dict[str, Any]]:
    """All there is in a gallery, photographs too, as the master key of the data folder opens it."""
    with open_service(Settings(data=cli.data, database_url=url)) as service:
        found = values(service.resources.exchange.entries(gallery, photographs=True))
    return sorted(found, key=lambda row: row["subject"])


def local(cli: CommandLine) -> str:
    return f"sqlite:///{cli.data / 'facesvc.db'}"


def answers(cli: CommandLine, *options: object, photographs: Path, gallery: str = "staff") -> list[Any]:
    return cli.lines(*options, "identify", photographs, "--gallery", gallery, "--json")
