"""Backbones by value: sizes known from their publications, and the packs' networks against ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from facesvc.core.types import Pixels
from facesvc.errors import PackInvalid, RequestError
from facesvc.models import manifest as manifests
from facesvc.models.manifest import Network
from facesvc.models.network import OnnxRuntimeNetwork
from facesvc.models.packs import MANIFESTS, Pack, Packs, network_file
from tests.support.portraits import portrait_chips
from training.backbones import REGISTRY, build_backbone, names, pretrained
from training.backbones.onnx_graph import OnnxGraph
from training.backbones.openface import L2Pool
from training.backbones.pretrained import Cut, Normalisation
from training.data.crop import landmarks

PARAMETERS = {
    "lenet": 456 + 2_416 + 48_120 + 10_164 + 84 * 128 + 128,
    "alexnet": 61_100_840 - 58_631_144 + 1024 * 128 + 2 * 128,
    "vgg11": 132_868_840 - 123_642_856 + 2048 * 128 + 2 * 128,
    "googlenet": 6_624_904 - 1024 * 1000 - 1000 + 1024 * 128 + 128,
    "resnet18": 11_689_512 - 512 * 1000 - 1000 + 512 * 128 + 128,
    "inception-resnet-v1": 23_482_624 - 1792 * 512 - 2 * 512 + 1792 * 128 + 2 * 128,
    "nn4-small2": 3_733_968,
}
"""As published, less the classifier, plus the 128-d layer; OpenFace's figure is of its 128-d network."""


@pytest.fixture
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def load(locked_build: Callable[[str], Path]) -> Callable[[str], Pack]:
    return lambda name: Packs(locked_build(name)).load(name)


def images(chips: NDArray[np.uint8]) -> Tensor:
    """(n s s 3) uint8 -> (n 3 s s), (value - 127.5) / 128."""
    return (torch.from_numpy(chips).permute(0, 3, 1, 2).float() - 127.5) / 128


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_names_are_the_fields_history_in_order() -> None:
    assert names() == [*PARAMETERS, "sface", "dlib"]


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_has_its_published_size_and_all_of_it_learns(name: str, pixels: dict[str, Pixels]) -> None:
    """At the smallest side it takes: unit vectors that tell portraits apart, and a gradient at every parameter."""
    side = REGISTRY[name].smallest
    assert side
    network = build_backbone(name, seed=3, size=side).train()
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    vectors = network(images(portrait_chips(pixels, landmarks(side, 0.0), side)))
    assert vectors.shape == (5, 128)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))
    assert torch.cdist(vectors, vectors)[np.triu_indices(5, 1)].min() > 1e-3
    (vectors * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    for parameter, tensor in network.named_parameters():
        assert tensor.grad is not None, parameter
        assert tensor.grad.isfinite().all(), parameter


def test_the_seed_alone_decides_the_weights() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, second, third = (build_backbone("lenet", seed=seed).state_dict() for seed in (5, 5, 6))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["body.0.weight"], third["body.0.weight"])
    torch.manual_seed(5)
    assert torch.equal(build_backbone("lenet").state_dict()["body.0.weight"], first["body.0.weight"])


@pytest.mark.parametrize(
    ("name", "size", "fault"),
    [
        ("resnet19", None, "no backbone 'resnet19'; known: lenet, alexnet"),
        ("nn4-small2", 64, "at least 72 px, not 64"),
        ("sface", 96, "takes chips of 112 px, not 96"),
    ],
)
def test_what_can_not_be_built_is_refused(name: str, size: int | None, fault: str) -> None:
    with pytest.raises(RequestError, match=fault):
        build_backbone(name, size=size)


def test_weights_come_back_from_a_runs_file(tmp_path: Path) -> None:
    trained = build_backbone("lenet", seed=1)
    save_file(trained.state_dict(), tmp_path / "best.safetensors")
    again = build_backbone("lenet", pretrained=tmp_path / "best.safetensors", seed=2)
    chips = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(chips), trained(chips))


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    save_file(build_backbone("lenet").state_dict(), tmp_path / "lenet.safetensors")
    (tmp_path / "text.safetensors").write_text("weights")
    for file, fault in (("lenet", "another network"), ("text", "can't be read"), ("none", "can't be read")):
        with pytest.raises(RequestError, match=fault):
            build_backbone("resnet18", pretrained=tmp_path / f"{file}.safetensors")


def test_l2_pooling_is_the_root_of_the_sum_of_squares_and_has_a_gradient_at_zero() -> None:
    maps = torch.zeros(1, 1, 3, 6, requires_grad=True)
    with torch.no_grad():
        maps[0, 0, 0, :2] = torch.tensor([3.0, 4.0])
    pooled = L2Pool(3, 3)(maps)
    torch.testing.assert_close(pooled.detach(), torch.tensor([[[[5.0, 0.0]]]]), atol=2e-6, rtol=0)
    pooled.sum().backward()
    assert maps.grad is not None
    torch.testing.assert_close(maps.grad[0, 0, 0], torch.tensor([0.6, 0.8, 0, 0, 0, 0]))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["sface", "dlib"])
def test_a_packs_network_in_torch_gives_what_onnx_runtime_gives(
    name: str, load: Callable[[str], Pack], pixels: dict[str, Pixels]
) -> None:
    """On the pack's own chips of real portraits, normalised as its manifest says."""
    pack = load(name)
    (described,) = pack.manifest.networks
    chips = portrait_chips(pixels, described.crop.landmarks, described.crop.size)
    file = pack.path(network_file(0))
    values = chips.transpose(0, 3, 1, 2).astype(np.float32)
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (described.mean, described.std))
    wanted = OnnxRuntimeNetwork(file)((values - mean) / std)[0]
    network = nn.Sequential(Normalisation(described), OnnxGraph(onnx.load(file))).eval()
    with torch.inference_mode():
        found = network(images(chips)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_allclose(unit(found), unit(wanted), atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("name", "build"), [("sface", pretrained.sface), ("dlib", pretrained.dlib)])
def test_a_pretrained_backbone_starts_near_its_pack_and_all_of_it_learns(
    name: str, build: Callable[[Packs], nn.Module], load: Callable[[str], Pack], pixels: dict[str, Pixels]
) -> None:
    """dlib's chips are cut from ArcFace's, so its vectors are near those of its own crop, not the same."""
    pack = load(name)
    (described,) = pack.manifest.networks
    side = REGISTRY[name].input_size
    own = portrait_chips(pixels, described.crop.landmarks, described.crop.size).transpose(0, 3, 1, 2)
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (described.mean, described.std))
    wanted = unit(OnnxRuntimeNetwork(pack.path(network_file(0)))((own.astype(np.float32) - mean) / std)[0])
    network = build(Packs(pack.folder.parent)).eval()
    found = network(images(portrait_chips(pixels, landmarks(side, 0.0), side)))
    distances = np.square(unit(found.detach().numpy()) - wanted).sum(1)
    assert distances.max() < {"sface": 1e-6, "dlib": 0.06}[name]
    found.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_the_cut_takes_dlibs_chip_by_whole_pixels_and_black_where_there_is_none() -> None:
    cut = Cut(network_of("dlib"))
    assert (cut.side, cut.left, cut.top, cut.right, cut.bottom) == (167, 10, 33, 7, -16)
    chip = np.random.default_rng(0).integers(0, 256, (1, 167, 167, 3), np.uint8)
    wanted = np.zeros((1, 150, 150, 3), np.uint8)
    wanted[:, :134] = chip[:, 33:, 10:160]
    torch.testing.assert_close(cut(images(chip)), images(wanted))
    whole = torch.rand(1, 3, 112, 112)
    assert Cut(network_of("sface"))(whole) is whole


def test_normalisation_turns_the_trainers_range_into_the_networks() -> None:
    described = manifests.parse(
        (MANIFESTS / "dlib.json").read_text().replace('"RGB"', '"BGR"').replace("122.782, 117.001, 104.298", "1, 2, 3")
    ).networks[0]
    chip = np.array([10, 20, 30], np.uint8).reshape(1, 1, 1, 3)
    found = Normalisation(described)(images(chip))
    torch.testing.assert_close(found.flatten(), torch.tensor([(30 - 1) / 256, (20 - 2) / 256, (10 - 3) / 256]))


def network_of(name: str) -> Network:
    return manifests.read(MANIFESTS / f"{name}.json").networks[0]


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        (onnx.helper.make_node("Sigmoid", ["x"], ["y"]), "needs Sigmoid"),
        (onnx.helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), "ceil_mode"),
        (onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[0, 0, 1, 1]), "padding that differs"),
        (onnx.helper.make_node("Gemm", ["x", "w"], ["y"], alpha=2.0), "scaled or transposed"),
        (onnx.helper.make_node("MatMul", ["w", "x"], ["y"]), "two computed values"),
    ],
)
def test_operators_that_the_packs_do_not_use_are_refused_by_name(node: onnx.NodeProto, fault: str) -> None:
    shape = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", "y")]
    weight = onnx.numpy_helper.from_array(np.ones((1, 3, 2, 2), np.float32), "w")
    graph = onnx.helper.make_graph([node], "g", shape[:1], shape[1:], [weight])
    with pytest.raises(PackInvalid, match=fault):
        OnnxGraph(onnx.helper.make_model(graph))
