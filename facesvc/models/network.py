"""Proof that a converted network runs and is what its manifest says.

Runs ONNX networks on the CPU: OpenVINO where it is installed (about 1.7x faster), else ONNX Runtime.

One thread per call by default: the service runs photographs side by side, and two multi-threaded networks
on one core slow each other down many times over.
"""

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from facesvc.errors import PackInvalid
from facesvc.models import manifest as manifests

Floats = NDArray[np.float32]


class Network(Protocol):
    """One network; thread-safe."""

    def __call__(self, batch: Floats) -> list[Floats]:
        """Input (n c h w) float32 -> the outputs, in the graph's order, float32."""
        ...


def resolve_runtime(runtime: str) -> str:
    """The fastest installed runtime for "auto"; anything else is returned as it is."""
    if runtime != "auto":
        return runtime
    return "openvino" if find_spec("openvino") else "onnxruntime"


def open_network(path: Path, runtime: str = "auto", threads: int = 1, streams: int = 1) -> Network:
    """Loads the ONNX file (one input) into the runtime, float32 arithmetic throughout.

    threads: of one call; streams: calls that run side by side, where the runtime must know beforehand.
    """
    if resolve_runtime(runtime) == "openvino":
        return OpenVinoNetwork(path, threads, streams)
    return OnnxRuntimeNetwork(path, threads)


class OnnxRuntimeNetwork:
    def __init__(self, path: Path, threads: int = 1) -> None:
        import onnxruntime  # kept out of import time: a command that needs no network stays fast

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, batch: Floats) -> list[Floats]:
        return self.session.run(None, {self.input: batch})  # type: ignore[return-value]


class OpenVinoNetwork:
    """A compiled model is shared; every call takes its own request, since a request holds one call's tensors."""

    def __init__(self, path: Path, threads: int = 1, streams: int = 1) -> None:
        properties: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads * streams,
            "NUM_STREAMS": streams,  # with one, two callers would take turns
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # the default is bfloat16 on new processors: other vectors
        }
        # OpenVINO gives the thread that compiles a signal stack of its own, and unmaps it with the model, which leaves
        # the main thread with one that is gone: the next signal kills the process. So: in a thread that ends.
        with ThreadPoolExecutor(1) as elsewhere:
            self.model = elsewhere.submit(_compile, path, properties).result()
        self.idle: list[Any] = []

    def __call__(self, batch: Floats) -> list[Floats]:
        try:
            request = self.idle.pop()
        except IndexError:
            request = self.model.create_infer_request()
        results = request.infer([batch])
        outputs = [np.array(results[port]) for port in self.model.outputs]
        self.idle.append(request)  # list.pop and append are atomic
        return outputs


def _compile(path: Path, properties: dict[str, Any]) -> Any:
    import openvino

    model = openvino.Core().compile_model(str(path), "CPU", properties)
    # OpenVINO's binding looks NumPy up at the first array it meets, under a lock that it takes while it holds the
    # interpreter's: two threads meeting their first arrays at once wait for each other forever. So: here, alone.
    _ = openvino.Tensor(np.zeros(1, np.float32)).data
    return model


TOLERANCE = 1e-3
"""Of unit vectors between one chip alone and the same chip in a batch; a batch axis mixed up gives about 1."""


def check(path: Path, described: manifests.Network, runtime: str = "onnxruntime") -> None:
    """Runs noise through the network, chip by chip and as a batch. Raises PackInvalid."""
    size, features = described.crop.size, described.features
    chips = np.random.default_rng(0).uniform(-1, 1, (2, 3, size, size)).astype(np.float32)
    try:
        network = open_network(path, runtime)
        batch = _run(network, chips)
        singles = np.concatenate([_run(network, chip[None]) for chip in chips])
    except Exception as error:  # runtimes raise what they like on a graph they can't run
        raise PackInvalid(f"the network doesn't run on (n 3 {size} {size}): {error}") from error
    if batch.shape != (2, features) or singles.shape != (2, features):
        raise PackInvalid(f"the network gives {batch.shape} for two chips, not (2, {features})")
    if not (np.isfinite(batch).all() and (np.linalg.norm(batch, axis=1) > 0).all()):
        raise PackInvalid("the network gives vectors that are zero or not finite")
    if np.abs(_unit(batch) - _unit(singles)).max() > TOLERANCE:
        raise PackInvalid("the network gives a chip another vector in a batch than alone")


def _run(network: Network, chips: Floats) -> Floats:
    return network(chips)[0]


def _unit(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
