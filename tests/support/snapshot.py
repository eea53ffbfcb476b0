"""The committed OpenAPI document. `python -m tests.support.snapshot` writes it anew: read the difference before you
commit it, callers depend on it."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from facesvc.config import Settings
from facesvc.web.app import create_app

SNAPSHOT = Path(__file__).parents[1] / "api" / "openapi.json"


def document() -> dict[str, Any]:
    """The application's document; nothing of the service need run for it."""
    return create_app(Settings(), nullcontext).openapi()  # type: ignore[arg-type]  # never opened


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(document(), indent=1, ensure_ascii=False) + "\n")
