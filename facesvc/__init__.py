"""facesvc: self-hosted face verification. Photographs in; a decision with its error rate out.

``facesvc.verify("a.jpg", "b.jpg")`` compares two photographs; ``facesvc.open()`` opens the service that the command
line and the HTTP API use. See docs/python.md.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO


def _keep_dependencies_silent() -> None:
    """Turn off the telemetry of ONNX Runtime, OpenVINO and Ray, which look up their makers' hosts at every start.

    Runs before anything imports them, since each decides at its import; Ray's nodes inherit the environment.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO then takes its own stub


_keep_dependencies_silent()

from facesvc import errors  # noqa: E402  after the telemetry
from facesvc.errors import FaceServiceError, FileUnreadable  # noqa: E402

if TYPE_CHECKING:
    __version__: str

    from facesvc.core.answers import Enrolment, Identification, Verification
    from facesvc.core.decide import DecisionRule
    from facesvc.core.types import FaceChoice
    from facesvc.service import FaceService
    from facesvc.service.enrolment import EnrolmentRequest

Photograph = str | os.PathLike[str] | bytes | BinaryIO
"""A photograph's path, its bytes, or a file opened in binary mode."""

__all__ = [
    "DecisionRule",
    "Enrolment",
    "EnrolmentRequest",
    "FaceChoice",
    "FaceService",
    "FaceServiceError",
    "Identification",
    "Photograph",
    "Verification",
    "__version__",
    "errors",
    "open",
    "read_photograph",
    "verify",
]

_LAZY = {
    "DecisionRule": "facesvc.core.decide",
    "Enrolment": "facesvc.core.answers",
    "EnrolmentRequest": "facesvc.service.enrolment",
    "FaceChoice": "facesvc.core.types",
    "FaceService": "facesvc.service",
    "Identification": "facesvc.core.answers",
    "Verification": "facesvc.core.answers",
}
"""Where public names come from that need NumPy: loaded when they are first used."""


@contextmanager
def open(**settings: Any) -> Iterator["FaceService"]:
    """Open the service; close it when the context ends.

    settings: fields of ``facesvc.config.Settings``, such as ``data``, ``database_url`` or ``pack``. What is not given
    comes from FACESVC_* in the environment, else from ./facesvc.toml, else from the defaults. Raises RequestError for
    settings that are not valid, ModelError, StoreError.
    """
    from facesvc.bootstrap import bootstrap
    from facesvc.config import read_settings

    with bootstrap(read_settings(settings)) as service:
        yield service


def verify(
    probe: Photograph,
    reference: Photograph,
    *,
    face: str = "prominent",
    threshold: float | None = None,
    target_fmr: float | None = None,
    **settings: Any,
) -> "Verification":
    """Return whether two photographs show one person. Loads the model each time: use ``open`` for many photographs.

    face: "prominent" compares one face of each photograph, by size and place; "only" refuses a photograph of several.
    threshold: squared L2 distance below which they match, or target_fmr: the false match rate to choose it by; by
    default the model's own. settings: see ``open``. Raises ImageError, SampleError, DecisionError, FileUnreadable, and
    what ``open`` raises; all are FaceServiceError.
    """
    from facesvc.core.decide import DecisionRule
    from facesvc.core.types import FaceChoice

    photographs = read_photograph(probe), read_photograph(reference)
    with open(**settings) as service:
        return service.decisions.verify(*photographs, FaceChoice(face), DecisionRule(threshold, target_fmr))


def read_photograph(photograph: Photograph) -> bytes:
    """Return the bytes of a photograph. Raises FileUnreadable."""
    if isinstance(photograph, bytes):
        return photograph
    try:
        return Path(photograph).read_bytes() if isinstance(photograph, str | os.PathLike) else photograph.read()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise FileUnreadable(f"{photograph}: {getattr(error, 'strerror', None) or error}") from error


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # here: it loads a parser of e-mail

        return version("facesvc")
    if name not in _LAZY:
        raise AttributeError(f"module 'facesvc' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, "__version__"})
