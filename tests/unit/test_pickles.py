"""Nothing that is loaded may run code: no pickle, by whichever door (CWE-502)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for folder in ("facesvc", "training", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
"""Modules whose loaders run what they read."""
RESTRICTED = "facesvc/models/checkpoint.py"
"""The one that unpickles: its unpickler allows three names (Python's documentation, "Restricting Globals"), and
tests/unit/test_converters.py sends it programs."""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call by its dotted name: "np.load"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> object:
    return next((ast.literal_eval(k.value) for k in call.keywords if k.arg == name), None)


def faults(source: str) -> list[str]:
    """What of a module could load a pickle."""
    tree = ast.parse(source)
    found = [
        f"imports {name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
        if name.split(".")[0] in UNSAFE and not is_harmless(node)
    ]
    for name, call in calls(tree):
        if name in {"torch.load", "torch.jit.load"} and keyword(call, "weights_only") is not True:
            found.append(f"{name} without weights_only=True")
        if keyword(call, "allow_pickle") is True or name in {"pandas.read_pickle", "pd.read_pickle"}:
            found.append(f"{name} of pickles")
        if name.split(".")[-1] in {"eval", "exec"} and "." not in name:
            found.append(name)
    return found


def is_harmless(node: ast.AST) -> bool:
    """An import of what others' refusals are called."""
    return isinstance(node, ast.ImportFrom) and [alias.name for alias in node.names] == ["UnpicklingError"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_pickle_is_loaded(file: Path) -> None:
    expected = ["imports pickle"] if str(file.relative_to(ROOT)) == RESTRICTED else []
    assert faults(file.read_text()) == expected


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "exec(text)",
    ],
)
def test_a_pickle_would_be_found(source: str) -> None:
    assert len(faults(source)) == 1
