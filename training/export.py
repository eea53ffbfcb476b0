"""From a training run to a model pack: its best weights as ONNX with a free batch axis, and the manifest to build it.

python -m training.export runs/one --output packs/mine --name mine
facesvc models build mine --manifest packs/mine/manifest.json --weights packs/mine/network.onnx
"""

import argparse
import hashlib
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from facesvc.core.decide import DEFAULT_THRESHOLD
from facesvc.errors import FaceServiceError, RequestError
from facesvc.models import manifest as manifests
from facesvc.models.manifest import Crop, DetectorName, Manifest, Network, Source
from facesvc.models.network import OnnxRuntimeNetwork
from training.backbones import build_backbone
from training.backbones.backbone import Backbone
from training.config import TrainConfig
from training.data.augment import MEAN, SCALE
from training.data.crop import landmarks
from training.errors import ExportDiffers

NETWORK, MANIFEST = "network.onnx", "manifest.json"
BATCHES = (1, 2, 7)
"""Batch sizes that an export is tried at: a batch axis mixed up or fixed shows in one of them."""
TOLERANCE = 1e-4
"""Largest difference of a unit vector's component between torch and ONNX Runtime; float32 sums in another order differ
by about 1e-6."""


def export(
    run: Path, output: Path, name: str, *, detector: DetectorName = "yunet-onet", licence: str = "not stated"
) -> Manifest:
    """Writes the run's best weights to output/network.onnx, and output/manifest.json of a pack ``name``.

    detector: the one that the run's aligned set was made with. licence: of the weights, as the manifest will say.
    Raises RequestError where the run can't be read, PackInvalid for a name that can't be, ExportDiffers.
    """
    manifests.check_name(name)
    config = read_config(run)
    network = build_backbone(config.backbone, pretrained=run / "best.safetensors", size=config.size).eval()
    output.mkdir(parents=True, exist_ok=True)
    write_onnx(network, output / NETWORK)
    check_parity(network, output / NETWORK, noise(network.input_size))
    manifest = describe(name, network.input_size, output / NETWORK, detector, licence, provenance(run, config))
    (output / MANIFEST).write_text(manifest.to_json(), "utf-8")
    return manifest


def read_config(run: Path) -> TrainConfig:
    """Raises RequestError where the folder holds no run."""
    try:
        return TrainConfig.model_validate_json((run / "config.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise RequestError(f"{run} is no training run: {error}") from error


def write_onnx(network: Backbone, file: Path) -> None:
    """(n 3 s s) float32, (value - 127.5) / 128, RGB -> (n 128) float32 of unit length; n is free, s the backbone's."""
    chips = torch.zeros(2, 3, network.input_size, network.input_size)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own dependencies' deprecations
        torch.onnx.export(
            network,
            (chips,),
            str(file),
            input_names=["image"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def check_parity(network: Backbone, file: Path, images: NDArray[np.float32]) -> float:
    """The largest difference of a component over images (n 3 s s), taken in each of BATCHES.

    Raises ExportDiffers where it is above TOLERANCE.
    """
    with torch.inference_mode():
        wanted = network(torch.from_numpy(images)).numpy()
    exported = OnnxRuntimeNetwork(file)
    parts = [(size, start) for size in BATCHES for start in range(0, len(images), size)]
    worst = max(
        float(np.abs(exported(images[start : start + size])[0] - wanted[start : start + size]).max())
        for size, start in parts
    )
    if not worst <= TOLERANCE:
        raise ExportDiffers(f"{file}: vectors differ by up to {worst:.2g} from the network's own")
    return worst


def noise(size: int) -> NDArray[np.float32]:
    """(7 3 size size) in -1..1."""
    return np.random.default_rng(0).uniform(-1, 1, (max(BATCHES), 3, size, size)).astype(np.float32)


def provenance(run: Path, config: TrainConfig) -> str:
    """What the run was, in a sentence or two."""
    told = f"Backbone {config.backbone}, trained by training.train with triplet loss ({config.loss.rule})"
    try:
        summary: dict[str, Any] = json.loads((run / "summary.json").read_bytes())
        tar = summary["best_tar"]
        told += f" on {summary['photographs']} photographs of {summary['people']} people, {summary['best_step']} steps"
    except (OSError, ValueError, KeyError):
        return f"{told}."  # a run that was stopped has no summary yet
    return f"{told}. TAR {tar:.4f} at FMR {summary['fmr']:g} on people held out." if tar is not None else f"{told}."


def describe(name: str, size: int, file: Path, detector: DetectorName, licence: str, provenance: str) -> Manifest:
    points = [(float(x), float(y)) for x, y in landmarks(size, 0.0).round(4)]
    network = Network(
        converter="onnx",
        crop=Crop(size=size, landmarks=(points[0], points[1], points[2], points[3], points[4])),
        colour="RGB",
        mean=(MEAN, MEAN, MEAN),
        std=(SCALE, SCALE, SCALE),
        source=Source(file=file.name, licence=licence, sha256=hashlib.sha256(file.read_bytes()).hexdigest()),
    )
    return Manifest(
        name=name,
        title=f"{name}, {size} px",
        detector=detector,
        networks=(network,),
        threshold=DEFAULT_THRESHOLD,
        provenance=provenance,
        licence=licence,
        notes="Not calibrated: python -m training.calibrate tells what the threshold costs.",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    try:
        export(asked.run, asked.output, asked.name, detector=asked.detector, licence=asked.licence)
    except FaceServiceError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        return 2
    print(f"facesvc models build {asked.name} --manifest {asked.output / MANIFEST} --weights {asked.output / NETWORK}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder that python -m training.train wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder for network.onnx and manifest.json")
    parser.add_argument("--name", required=True, help="of the pack")
    parser.add_argument("--detector", choices=get_args(DetectorName), default="yunet-onet")
    parser.add_argument("--licence", default="not stated", help="of the weights, for the manifest")
    return parser


if __name__ == "__main__":
    sys.exit(main())
