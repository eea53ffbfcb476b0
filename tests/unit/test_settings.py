"""What comes from the environment, and what is put into it."""

import os
from pathlib import Path

import pytest

from facesvc.config import Settings, environment
from facesvc.pipeline.ray import variables


def test_the_address_of_a_ray_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ours goes before Ray's own, both before the file; an argument before all."""
    monkeypatch.chdir(tmp_path)
    for name in ("FACESVC_RAY_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    assert Settings().ray_address is None
    (tmp_path / "facesvc.toml").write_text('ray_address = "file:1"')
    assert Settings().ray_address == "file:1"
    monkeypatch.setenv("RAY_ADDRESS", "rays:1")
    assert Settings().ray_address == "rays:1"
    monkeypatch.setenv("FACESVC_RAY_ADDRESS", "ours:1")
    assert Settings().ray_address == "ours:1"
    assert Settings.model_validate({"ray_address": "argument:1"}).ray_address == "argument:1"


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESVC_TEST_A", "before")
    monkeypatch.delenv("FACESVC_TEST_B", raising=False)
    with environment({"FACESVC_TEST_A": "1", "FACESVC_TEST_B": "2"}):
        assert (os.environ["FACESVC_TEST_A"], os.environ["FACESVC_TEST_B"]) == ("1", "2")
    assert (os.environ["FACESVC_TEST_A"], "FACESVC_TEST_B" in os.environ) == ("before", False)


def test_a_cluster_of_our_own_has_a_secret_and_reports_nothing() -> None:
    own = variables(None)
    assert (own["RAY_USAGE_STATS_ENABLED"], own["RAY_AUTH_MODE"], len(own["RAY_AUTH_TOKEN"])) == ("0", "token", 64)
    assert own == variables("local")


def test_a_running_clusters_secret_is_its_own() -> None:
    assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} & set(variables("10.0.0.1:6379"))
    assert variables("10.0.0.1:6379")["RAY_USAGE_STATS_ENABLED"] == "0"
