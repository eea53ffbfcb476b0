"""A training run becomes a pack that the service loads: the same vectors on real portraits all the way."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file

from facesvc.bootstrap import open_extractor
from facesvc.config import Settings
from facesvc.core.types import FaceChoice, Pixels
from facesvc.errors import PackInvalid, RequestError
from facesvc.index.exact import ExactIndex
from facesvc.index.galleries import GalleryIndexes
from facesvc.index.homes import MemoryHome
from facesvc.models import manifest as manifests
from facesvc.models.network import OnnxRuntimeNetwork
from facesvc.models.packs import Packs
from facesvc.pipeline.align import align
from facesvc.pipeline.packs import LoadedPacks
from facesvc.storage.engine import open_engine
from tests.support.databases import migrated_sqlite, open_store
from tests.support.portraits import portrait_chips
from tests.support.services import make_service
from training.backbones import build_backbone
from training.backbones.backbone import Backbone
from training.config import TrainConfig
from training.data import augment
from training.data.crop import landmarks
from training.errors import ExportDiffers
from training.export import check_parity, export, main, noise, write_onnx

SIDE = 72
Run = tuple[Path, Backbone]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pixels: dict[str, Pixels]) -> Run:
    """As training leaves it: a small network whose statistics are those of faces, though it learnt nothing."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    network = build_backbone("nn4-small2", seed=4, size=SIDE).train()
    transform = augment.plain(SIDE)
    for _ in range(20):
        network(transform(torch.from_numpy(portrait_chips(pixels, landmarks(SIDE, 0.0), SIDE)).permute(0, 3, 1, 2)))
    save_file(network.state_dict(), folder / "best.safetensors")
    (folder / "config.json").write_text(TrainConfig(backbone="nn4-small2", size=SIDE).model_dump_json())
    return folder, network.eval()


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    assert main([str(run[0]), "--output", str(folder), "--name", "mine", "--licence", "MIT"]) == 0
    return folder


@pytest.mark.slow
def test_the_export_gives_the_networks_vectors_in_any_batch(
    run: Run, exported: Path, pixels: dict[str, Pixels]
) -> None:
    """Real crops, plain and mirrored, in batches of 1, 2 and 7."""
    chips = torch.from_numpy(portrait_chips(pixels, landmarks(SIDE, 0.0), SIDE)).permute(0, 3, 1, 2)
    images = augment.plain(SIDE)(torch.cat([chips, chips.flip(3)]))[:7]
    with torch.inference_mode():
        wanted = run[1](images).numpy()
    assert np.square(wanted[:, None] - wanted[None]).sum(2)[np.triu_indices(7, 1)].min() > 1e-3
    network = OnnxRuntimeNetwork(exported / "network.onnx")
    for size in (1, 2, 7):
        found = [network(images[start : start + size].numpy())[0] for start in range(0, 7, size)]
        assert np.abs(np.concatenate(found) - wanted).max() <= 1e-4
    assert check_parity(run[1], exported / "network.onnx", images.numpy()) <= 1e-4


@pytest.mark.slow
def test_the_manifest_tells_how_the_network_was_trained(exported: Path) -> None:
    manifest = manifests.read(exported / "manifest.json")
    (network,) = manifest.networks
    assert (manifest.name, manifest.licence, manifest.detector, manifest.norm) == ("mine", "MIT", "yunet-onet", 1.0)
    assert (network.colour, network.mean, network.std) == ("RGB", (127.5,) * 3, (128.0,) * 3)
    assert network.crop.size == SIDE
    np.testing.assert_allclose(network.crop.landmarks, landmarks(SIDE, 0.0), atol=1e-4)
    assert manifest.provenance == "Backbone nn4-small2, trained by training.train with triplet loss (semi-hard)."
    model = onnx.load(exported / "network.onnx")
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == ["n", 3, SIDE, SIDE]


@pytest.mark.slow
def test_the_service_verifies_with_the_exported_pack(
    run: Run,
    exported: Path,
    photographs: dict[str, bytes],
    pixels: dict[str, Pixels],
    tmp_path: Path,
) -> None:
    """Its distance is that of the torch network's vectors of the chips that the service saw."""
    packs = Packs(tmp_path / "packs")
    pack = packs.build("mine", weights=[exported / "network.onnx"], manifest=exported / "manifest.json")
    settings = Settings(data=tmp_path, pack="mine", workers=1)
    with open_extractor(settings, pack) as extractor:
        engine = open_engine(migrated_sqlite(tmp_path))
        store = open_store(engine)
        service = make_service(LoadedPacks(extractor), store, GalleryIndexes(store, MemoryHome(ExactIndex)))
        verified = service.decisions.verify(photographs["obama"], photographs["biden"])
        faces = [extractor.extract(photographs[name], FaceChoice.PROMINENT).samples[0] for name in ("obama", "biden")]
    chips = np.stack(
        [
            align(pixels[name], face.face.landmarks, landmarks(SIDE, 0.0), SIDE)
            for name, face in zip(("obama", "biden"), faces, strict=True)
        ]
    )
    with torch.inference_mode():
        vectors = run[1](augment.plain(SIDE)(torch.from_numpy(chips).permute(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose([face.template.vector for face in faces], vectors, atol=1e-3)
    assert verified.distance == pytest.approx(float(np.square(vectors[0] - vectors[1]).sum()), rel=1e-2)
    assert verified.threshold.value == 1.1
    assert verified.threshold.fmr is None  # never calibrated: not guessed


@pytest.mark.slow
def test_an_export_of_other_weights_is_noticed(run: Run, exported: Path) -> None:
    other = build_backbone("nn4-small2", seed=5, size=SIDE).eval()
    with pytest.raises(ExportDiffers, match="differ by up to"):
        check_parity(other, exported / "network.onnx", noise(SIDE))


@pytest.mark.slow
def test_a_network_that_is_not_a_number_is_noticed(tmp_path: Path) -> None:
    network = build_backbone("lenet", seed=1).eval()
    write_onnx(network, tmp_path / "network.onnx")
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(ExportDiffers, match="nan"):
        check_parity(network, tmp_path / "network.onnx", noise(32))


def test_what_is_no_run_and_what_is_no_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PackInvalid, match="can't name a pack"):
        export(tmp_path, tmp_path / "out", "My Pack")
    with pytest.raises(RequestError, match="no training run"):
        export(tmp_path, tmp_path / "out", "mine")
    (tmp_path / "config.json").write_text(TrainConfig(backbone="lenet").model_dump_json())
    assert main([str(tmp_path), "--output", str(tmp_path / "out"), "--name", "mine"]) == 2
    assert "best.safetensors can't be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
