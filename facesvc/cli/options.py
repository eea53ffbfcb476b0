"""Options that several commands share: one spelling, one help text."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from facesvc.cli.backend import Cluster
from facesvc.errors import RequestError

if TYPE_CHECKING:
    from facesvc.config import Settings
    from facesvc.core.decide import DecisionRule

OneFace = Literal["prominent", "largest", "only"]
AnyFace = Literal["all", "prominent", "largest", "only"]

Gallery = Annotated[str, typer.Option("--gallery", "-g", metavar="NAME", help="Gallery to work in.")]
Server = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="Ask this facesvc server instead of the local store.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")]
Face = Annotated[
    OneFace,
    typer.Option("--face", help="Face to use: prominent by size and place, largest, or only (several are an error)."),
]
Faces = Annotated[
    AnyFace,
    typer.Option("--face", help="Faces to use; prominent: one, by size and place; only: several are an error."),
]
TopK = Annotated[int, typer.Option("--top-k", min=1, max=100, help="Nearest subjects listed for a face.")]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", metavar="DISTANCE", help="Match below this squared L2. [default: the pack's]"),
]
TargetFmr = Annotated[
    float | None,
    typer.Option("--target-fmr", metavar="RATE", help="Threshold with at most this false match rate, such as 1e-4."),
]
AllowLowQuality = Annotated[
    bool, typer.Option("--allow-low-quality", help="Enrol faces too that are blurred, turned, dark or small.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, max=64, help="Photographs in work at once. [default: FACESVC_WORKERS, or 2]"),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="Process photographs here, or on the CPUs of a Ray cluster: all, or --workers."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="HOST:PORT",
        help="Running cluster for --engine ray (RAY_ADDRESS). [default: one of this run's own on this machine]",
    ),
]


def rule(threshold: float | None, target_fmr: float | None) -> "DecisionRule":
    """The decision rule that --threshold and --target-fmr ask for."""
    from facesvc.core.decide import DecisionRule

    return DecisionRule(threshold, target_fmr)


def cluster(
    engine: str, address: str | None, workers: int | None, server: str | None, settings: "Settings"
) -> Cluster | None:
    """The cluster that --engine and --ray-address ask for. Raises RequestError where they don't go together, or not
    with --server."""
    if engine == "local":
        if address:
            raise RequestError("--ray-address needs --engine ray")
        return None
    if server:
        raise RequestError("--engine ray works on the local store: a server has workers of its own")
    return Cluster(address or settings.ray_address, workers)
