"""Settings of a training run: files, overrides, and errors that name what is wrong."""

from pathlib import Path

import pytest

from facesvc.errors import RequestError
from training.config import TrainConfig, load_config, recipes
from training.train import main


def test_overrides_reach_into_the_parts_in_the_spelling_of_toml(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('backbone = "lenet"\n[batch]\nsteps = 7\n')
    overrides = (
        "batch.photographs=3", "loss.rule=hard", "optimiser.clip=none", "optimiser.rate=1e-4",
        "schedule.milestones=[0.5]", 'device="cpu"', "augmentation.flip=0", "distillation.templates=t.npy",
    )  # fmt: skip
    config = load_config(str(tmp_path / "c.toml"), overrides)
    assert (config.backbone, config.batch.steps, config.batch.photographs) == ("lenet", 7, 3)
    assert (config.loss.rule, config.optimiser.clip, config.optimiser.rate) == ("hard", None, 1e-4)
    assert (config.schedule.milestones, config.device, config.augmentation.flip) == ((0.5,), "cpu", 0.0)
    assert config.distillation is not None
    assert config.distillation.templates == Path("t.npy")


@pytest.mark.parametrize("recipe", recipes())
def test_shipped_recipes_are_valid_and_survive_a_round_trip(recipe: str) -> None:
    config = load_config(recipe)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("batch.size=3", r"batch\.size: Extra inputs"),
        ("loss.margin=-1", r"loss\.margin: .*greater than 0"),
        ("loss.rule=soft", r"loss\.rule: .*'semi-hard', 'hard' or 'all'"),
        ("augmentation.flip=2", r"augmentation\.flip: .*less than or equal to 1"),
        ("epochs", "settings are given as key=value"),
        ("backbone.name=x", "backbone has no parts"),
    ],
)
def test_wrong_settings_are_named(override: str, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        load_config("scratch-small", [override])


def test_what_is_neither_file_nor_recipe(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nothing is neither a file nor a recipe; recipes: .*scratch-small"):
        load_config("nothing")
    (tmp_path / "broken.toml").write_text("backbone = ")
    with pytest.raises(RequestError, match="can't be read as TOML"):
        load_config(str(tmp_path / "broken.toml"))


def test_where_a_run_computes_is_no_part_of_what_it_is() -> None:
    here, there = (TrainConfig(backbone="lenet", device=device, workers=n) for device, n in (("cpu", 0), ("cuda", 4)))
    assert here.identity() == there.identity()
    assert here.identity() != TrainConfig(backbone="lenet", seed=1).identity()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing", "--data", "."], "invalid_request: nothing is neither a file nor a recipe"),
        (["scratch-small", "--set", "epochs=0", "--data", "."], "invalid_request: scratch-small: epochs:"),
        (["scratch-small", "--data", "."], "invalid_request: "),
    ],
    ids=["config", "setting", "data"],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--output", "run"]) == 2
    assert capsys.readouterr().err.startswith(told)
    assert not (tmp_path / "run").exists()
