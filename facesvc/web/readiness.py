"""Whether the service can answer: one look at a time, whose result is everybody's for a moment, since anybody may ask
as often as they like."""

import asyncio
from collections.abc import Callable

from fastapi.concurrency import run_in_threadpool

from facesvc.errors import FaceServiceError, StoreUnavailable

KEPT_SECONDS = 1.0
"""How long a look's result is told to others."""
PATIENCE_SECONDS = 5.0
"""A look that takes longer says as much as one that failed."""


class Readiness:
    """For one event loop. However many ask, they take one thread and one of the database's connections."""

    def __init__(self, kept: float = KEPT_SECONDS, patience: float = PATIENCE_SECONDS) -> None:
        self._kept, self._patience = kept, patience
        self._looking: asyncio.Task[str | None] | None = None
        self._since = 0.0

    async def require(self, look: Callable[[], None]) -> None:
        """Raises StoreUnavailable where ``look`` raises anything of ours, or does not come back."""
        now = asyncio.get_running_loop().time()
        if self._looking is None or (self._looking.done() and now - self._since >= self._kept):
            self._since, self._looking = now, asyncio.create_task(_trouble(look))
        try:
            async with asyncio.timeout_at(self._since + self._patience):
                trouble = await asyncio.shield(self._looking)
        except TimeoutError:
            raise StoreUnavailable(f"the database has not answered for {self._patience:g} s") from None
        if trouble is not None:
            raise StoreUnavailable(trouble)


async def _trouble(look: Callable[[], None]) -> str | None:
    """Why it is not ready; None where it is."""
    try:
        await run_in_threadpool(look)
    except FaceServiceError as error:
        return error.detail
    return None
