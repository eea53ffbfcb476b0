"""A Ray cluster for the length of one run: one of the run's own on this machine, or one that is running already."""

import logging
import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

from facesvc.errors import ClusterUnavailable, RequestError

ANSWERS = 5.0
"""Seconds in which a cluster's address must answer at all; Ray itself would try for ten minutes."""
LOCAL = "local"
"""Ray's word for a cluster of one's own."""
SHORT = "/tmp"  # noqa: S108  a socket's path has at most 107 bytes, and Ray's part of it takes 70
QUIET: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray reports to its makers by default
    "RAY_DEDUP_LOGS": "1",  # with the next line: Ray prints what befalls a worker on stdout, which is for results
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # leaves CUDA_VISIBLE_DEVICES alone; without it Ray warns of a change
}


def is_own(address: str | None) -> bool:
    """Whether this address asks for a cluster of the run's own."""
    return address in (None, LOCAL)


def variables(address: str | None) -> Mapping[str, str]:
    """What Ray must find in the environment before it starts: it can be told so in no other way.

    A cluster of our own listens on the machine's network, as every Ray cluster does, and runs what it is sent: it
    takes orders only with this run's secret. Its workers have the priority of this process, not Ray's lower one.
    """
    if not is_own(address):
        return QUIET
    return {**QUIET, "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}


@cache  # Ray reads it once in a process
def _token() -> str:
    return secrets.token_hex(32)


@contextmanager
def connect(address: str | None, workers: int | None = None) -> Iterator[int]:
    """Yields how many workers there are to be: ``workers``, or one for each CPU of the cluster.

    address: of a running cluster's head node, such as 10.0.0.1:6379; it is left as it is when the context ends, ours
    is stopped. Raises RequestError where Ray is not installed, ClusterUnavailable where there is no such cluster.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise RequestError("Ray is not installed: pip install 'facesvc[ray]'") from error

    with ExitStack() as stack:
        options: dict[str, Any] = stack.enter_context(_own(workers)) if is_own(address) else {"address": address}
        try:
            _knock(address)
            ray.init(**options, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises what it likes: ConnectionError, RuntimeError, ValueError, its own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ClusterUnavailable(f"Ray cluster {address or LOCAL}: {reason}") from error
        stack.callback(ray.shutdown)
        yield workers or max(1, int(ray.cluster_resources().get("CPU", 0)))


def _knock(address: str | None) -> None:
    """Raises OSError where ``address`` is of a host and port at which nobody listens."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.rpartition("/")[2].strip("[]"), int(port)), ANSWERS).close()


@contextmanager
def _own(workers: int | None) -> Iterator[dict[str, Any]]:
    """How a cluster of our own is started. Its sockets and logs are in a folder that nobody else can enter."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir=SHORT, ignore_cleanup_errors=True) as folder:
        yield {"address": LOCAL, "num_cpus": workers, "include_dashboard": False, "_temp_dir": folder}
