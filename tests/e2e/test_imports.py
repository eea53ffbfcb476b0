"""What is imported, and what is not: a process loads what it uses, and no server loads PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

NETWORKS = {"torch", "torchvision", "openvino", "onnxruntime", "onnx"}
REPORT = "import json, sys; print(json.dumps(sorted(name for name, module in sys.modules.items() if module)))"

SERVE = """
from functools import partial
from pathlib import Path

from facesvc.bootstrap import open_tenants
from facesvc.config import Settings
from facesvc.web.app import create_app
from starlette.testclient import TestClient

probe, reference = (Path(path).read_bytes() for path in {photographs!r})
settings = Settings(data={data!r}, dev=True, default_gallery="staff")
app = create_app(settings, partial(open_tenants, settings, serving=True))
with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 50000)) as client:
    answers = [
        client.post("/v1/verify", files={{"probe": probe, "reference": reference}}),
        client.post("/v1/galleries/staff/subjects/obama/references", files={{"images": reference}}),
        client.post("/v1/identify", files={{"image": probe}}, data={{"gallery": "staff"}}),
    ]
assert [answer.status_code for answer in answers] == [200, 201, 200], [answer.text for answer in answers]
"""


COMMAND = """
from facesvc.cli import main

try:
    main({arguments!r})
except SystemExit as end:
    assert end.code == 0, end.code
"""


def loaded(program: str) -> set[str]:
    """Return the top-level modules that a new process has loaded after ``program``."""
    done = subprocess.run([sys.executable, "-c", f"{program}\n{REPORT}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_the_package_loads_nothing_but_the_standard_library() -> None:
    others = loaded("import facesvc") - loaded("") - set(sys.stdlib_module_names)
    assert others == {"facesvc"}


@pytest.mark.slow
def test_a_server_never_loads_pytorch_even_to_build_its_packs(samples: Path, tmp_path: Path) -> None:
    photographs = [str(samples / "people" / "obama" / name) for name in ("obama.jpg", "obama2.jpg")]
    modules = loaded(SERVE.format(photographs=photographs, data=str(tmp_path)))
    assert modules >= {"onnx", "cv2", "fastapi"}  # packs were built, photographs decoded, requests answered
    assert modules & {"torch", "torchvision", "facenet_pytorch"} == set()


@pytest.mark.parametrize(
    "arguments", [("galleries", "list"), ("api-keys", "list"), ("subjects", "list", "-g", "default")]
)
def test_a_command_without_photographs_loads_no_networks(
    arguments: tuple[str, ...], default_packs: Path, tmp_path: Path
) -> None:
    (tmp_path / "packs").symlink_to(default_packs)
    modules = loaded(COMMAND.format(arguments=["--data", str(tmp_path), *arguments]))
    assert "sqlalchemy" in modules
    assert modules & NETWORKS == set()
