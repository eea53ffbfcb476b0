"""Pages for developers name what is there, and nothing else."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "facesvc"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TREE, LAYERS = re.findall(r"```text\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)


def drawn() -> set[str]:
    """Return the files and folders of the page's tree, by their paths below facesvc/."""
    found: set[str] = set()
    folders: list[str] = []
    for line in TREE.splitlines()[1:]:
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        folders[depth - 1 :] = [name]
        found.add("".join(folders))
    return found


def test_the_tree_names_every_folder_and_every_file_at_the_top() -> None:
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    folders = {f"{path.relative_to(PACKAGE)}/" for path in PACKAGE.rglob("*/") if path.is_dir()}
    assert drawn() == files | {folder for folder in folders if "__pycache__" not in folder}


def test_the_layers_are_those_of_the_contract() -> None:
    contract = (ROOT / "pyproject.toml").read_text().partition("layers = [")[2].partition("]")[0]
    layers = [line.split("  ")[0] for line in LAYERS.splitlines()]
    assert layers == re.findall(r'"(.+?)"', contract)


def test_every_decision_is_listed_and_says_context_decision_and_consequences() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = sorted(folder.glob("0*.md"))
    assert re.findall(r"\]\((.+?)\)", (folder / "README.md").read_text()) == [page.name for page in pages]
    for page in pages:
        assert re.findall(r"^\*\*(\w+)\.\*\*", page.read_text(), re.MULTILINE) == [
            "Context", "Decision", "Consequences",
        ]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md", "docs/python.md"])
def test_files_that_pages_name_are_there(page: str) -> None:
    named = re.findall(r"`([\w/]+/[\w.]+\.(?:py|md)|[\w/]+/)`", (ROOT / page).read_text())
    assert [name for name in named if not any((root / name).exists() for root in (ROOT, PACKAGE))] == []
