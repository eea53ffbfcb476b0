"""What a head is trained with: a TOML file, all of whose fields are kept in the training record."""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facesvc.errors import RequestError
from training.losses import Rule

SHIPPED = Path(__file__).parents[1] / "recipes" / "head.toml"


class HeadRecipe(BaseModel):
    """networks: packs of one network, in the order of the fusion pack; share: what the others' vectors weigh beside the
    first's; leash: weight of the squared distance from the start, per output; centre: share of the mean taken away
    while training, before placing finds it anew; the others as in ``training.losses`` and
    ``training.data.sampling``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    networks: tuple[str, ...] = ("sface", "dlib")
    share: float = Field(default=0.5, gt=0)
    leash: float = Field(default=10.0, ge=0)
    centre: float = Field(default=0.6, ge=0, le=1)
    margin: float = Field(default=0.2, gt=0, lt=4)
    rule: Rule = "semi-hard"
    identities: int = Field(default=60, ge=2)
    photographs: int = Field(default=6, ge=2)
    steps: int = Field(default=300, ge=0)
    rate: float = Field(default=1e-3, gt=0)
    seed: int = 0
    folds: int = Field(default=2, ge=2)
    """Parts that the people are cut into for placing and calibrating: each is judged by a head that never saw it."""
    target_fmr: float = Field(default=1e-3, gt=0, lt=1)
    """Upper end of the FMR's 95 % interval at the threshold, over people the head never saw."""


def read_recipe(path: Path) -> HeadRecipe:
    """Raises RequestError where the file can't be read or isn't a recipe."""
    try:
        return HeadRecipe.model_validate(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"{path} can't be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise RequestError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
