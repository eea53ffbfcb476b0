"""A server's first start, its keys, and commands that bring one."""

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import IO, Any

import httpx
import pytest

from tests.support.commandline import CommandLine

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cli-access")]  # one worker: the servers start once
FIRST = re.compile(
    r"the administrator's API key, shown this once and valid for a day: (facesvc_[0-9a-f]{12}_[A-Za-z0-9_-]{43})\n"
)


@pytest.fixture(scope="module")
def started(cli: CommandLine) -> Iterator[tuple[str, str]]:
    """URL and first key of a server on a new data folder; then a second server on the same folder says no key."""
    with serving(cli) as (url, said):
        yield url, FIRST.findall(said)[0]
    with serving(cli) as (_, said):
        assert "API key, shown" not in said


class serving:  # noqa: N801
    """A server without development mode: its URL, and what it said until it was ready."""

    def __init__(self, cli: CommandLine) -> None:
        self.command = cli.command("serve", "--port", 0)

    def __enter__(self) -> tuple[str, str]:
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = ""
        for line in self.process.stderr:
            said += line
            if ready := re.search(r"ready at (\S+)", line):
                self.drain = Thread(target=drained, args=(self.process.stderr,))
                self.drain.start()
                return ready[1], said
        raise AssertionError(said)

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=60)
        self.drain.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


def drained(stream: IO[str]) -> None:
    while stream.readline():
        continue


@pytest.fixture
def key_file(started: tuple[str, str], tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(started[1] + "\n")
    return path


def noted(cli: CommandLine, tenant: str = "default") -> list[dict[str, Any]]:
    return cli.json("audit", "list", tenant=tenant)


def test_the_first_start_prints_a_key_that_works(cli: CommandLine, started: tuple[str, str]) -> None:
    url, key = started
    assert httpx.get(f"{url}/v1/galleries").status_code == 401
    first = next(line for line in noted(cli) if line["action"] == "create_api_key")
    assert first["outcome"] == {"api_key": key.split("_")[1], "roles": ["administer"]}
    caller = httpx.get(f"{url}/v1/caller", headers={"Authorization": f"Bearer {key}"}).json()
    assert (caller["roles"], caller["tenant"], caller["development"]) == (["administer"], "default", False)
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok", "development": False}


def test_commands_bring_a_key(cli: CommandLine, started: tuple[str, str], key_file: Path) -> None:
    server = "--server", started[0]
    assert cli.refusal("galleries", "list", *server).endswith("[unauthenticated]")
    assert [found["name"] for found in cli.json("--api-key-file", key_file, "galleries", "list", *server)] == [
        "default"
    ]
    assert cli.refusal("--api-key-file", key_file.parent / "none", "galleries", "list", *server).endswith(
        "No such file or directory [invalid_request]"
    )


def test_a_key_is_made_listed_replaced_and_revoked(cli: CommandLine, started: tuple[str, str], tmp_path: Path) -> None:
    made = cli.json("api-keys", "create", "-r", "verify", "-g", "staff", "--label", "gate", "--expires", "90d")
    assert (made["roles"], made["galleries"], made["label"]) == (["verify"], ["staff"], "gate")
    (tmp_path / "key").write_text(made["key"])
    asking = "--api-key-file", tmp_path / "key", "galleries", "list", "--server", started[0]
    assert cli.refusal(*asking).endswith("[forbidden]")  # the running server knows it already
    new = cli.json("api-keys", "rotate", made["id"], "--overlap", "1h")
    listed = {key["id"]: key for key in cli.json("api-keys", "list")}
    assert listed[made["id"]]["replaced_by"] == new["id"]
    assert listed[new["id"]]["galleries"] == ["staff"]
    assert cli.run("api-keys", "revoke", made["id"]).returncode == 0
    assert cli.refusal(*asking).endswith("[unauthenticated]")


def test_tenants(cli: CommandLine, started: tuple[str, str]) -> None:
    made = cli.json("tenants", "create", "acme")
    assert made["roles"] == ["administer"]
    names = {tenant["name"]: tenant["id"] for tenant in cli.json("tenants", "list")}
    assert set(names) == {"default", "acme"}
    bearer = {"Authorization": f"Bearer {made['key']}"}
    assert httpx.get(f"{started[0]}/v1/caller", headers=bearer).json()["tenant"] == names["acme"]
    (line,) = [line for line in noted(cli, "acme") if line["outcome"].get("api_key")]
    assert (line["action"], line["outcome"]) == ("create_api_key", {"api_key": made["id"], "roles": ["administer"]})
    assert cli.refusal("tenants", "create", "acme").endswith("[tenant_exists]")
    assert cli.run("tenants", "delete", "acme", "--yes").returncode == 0
    assert httpx.get(f"{started[0]}/v1/caller", headers=bearer).status_code == 401
    assert cli.refusal("tenants", "delete", "default", "--yes").endswith("[invalid_request]")
    told = [(line["action"], line["outcome"]) for line in noted(cli) if line["outcome"].get("tenant")]
    assert told[:2] == [(action, {"tenant": names["acme"]}) for action in ("create_tenant", "delete_tenant")]


def test_development_mode_stays_on_this_machine(cli: CommandLine) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        said = cli.refusal("serve", "--dev", "--host", host, "--port", 0)
        assert said == (
            f"facesvc: development mode needs no API key: it listens on loopback only, not on {host} [invalid_request]"
        )
