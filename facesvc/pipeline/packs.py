"""The pipelines of several packs side by side, each opened when a gallery first needs it."""

import weakref
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, ExitStack
from threading import Lock

from facesvc.core.ports import Extractor
from facesvc.errors import PackNotFound, TemplateVersionMismatch

OpenVersion = Callable[[str], AbstractContextManager[Extractor]]
"""Opens the pipeline that makes templates of this version. Raises TemplateVersionMismatch where no pack here does."""


def no_other_pack(template_version: str) -> AbstractContextManager[Extractor]:
    raise TemplateVersionMismatch(f"no model pack here makes template version {template_version}")


def no_other_name(pack: str) -> str:
    raise PackNotFound(f"there is no pack {pack!r}")


class OpenedPacks:
    """core.ports.VersionedExtractors. Thread-safe.

    version_of: template version of the pack of a name, which it builds if need be; living: versions that galleries
    hold. When another pipeline is opened, those of other versions are let go; each is closed when the last call that
    still uses it has ended.
    """

    def __init__(
        self,
        open_version: OpenVersion = no_other_pack,
        version_of: Callable[[str], str] = no_other_name,
        living: Callable[[], Collection[str]] = set,
    ) -> None:
        self._open_version, self._version_of, self._living = open_version, version_of, living
        self._opened: dict[str, Extractor] = {}
        self._closing: list[weakref.finalize] = []
        self._lock = Lock()

    def of(self, template_version: str) -> Extractor:
        """See ``core.ports.VersionedExtractors.of``."""
        found = self._opened.get(template_version)
        if found is not None:
            return found
        with self._lock:
            found = self._opened.get(template_version)
            return found or self._open(template_version)

    def version_of(self, pack: str) -> str:
        """See ``core.ports.VersionedExtractors.version_of``."""
        return self._version_of(pack)

    def close(self) -> None:
        """Closes all that was opened here."""
        with self._lock:
            self._opened.clear()
            for finalizer in self._closing:
                finalizer()

    def _open(self, template_version: str) -> Extractor:
        living = set(self._living())
        self._opened = {version: opened for version, opened in self._opened.items() if version in living}
        with ExitStack() as opening:
            extractor = opening.enter_context(self._open_version(template_version))
            finalizer = weakref.finalize(extractor, opening.pop_all().close)
        self._closing = [known for known in self._closing if known.alive] + [finalizer]
        self._opened[template_version] = extractor
        return extractor


class LoadedPacks(OpenedPacks):
    """core.ports.Extractors: beside the one in use, ``default``, which is its opener's to close."""

    def __init__(
        self,
        default: Extractor,
        open_version: OpenVersion = no_other_pack,
        version_of: Callable[[str], str] = no_other_name,
        living: Callable[[], Collection[str]] = set,
    ) -> None:
        super().__init__(open_version, version_of, living)
        self.default = default

    def of(self, template_version: str) -> Extractor:
        return self.default if template_version == self.default.template_version else super().of(template_version)

    @property
    def default_version(self) -> str:
        return self.default.template_version

    def version_of(self, pack: str) -> str:
        return self.default.template_version if pack == self.default.pack else super().version_of(pack)


class LazyPacks(OpenedPacks):
    """core.ports.Extractors for commands that need no photograph: the pack in use, too, is opened when it is first
    needed. in_use: its template version, which builds it if need be."""

    def __init__(
        self,
        in_use: Callable[[], str],
        open_version: OpenVersion = no_other_pack,
        version_of: Callable[[str], str] = no_other_name,
        living: Callable[[], Collection[str]] = set,
    ) -> None:
        super().__init__(open_version, version_of, living)
        self._in_use = in_use

    @property
    def default(self) -> Extractor:
        return self.of(self.default_version)

    @property
    def default_version(self) -> str:
        return self._in_use()
