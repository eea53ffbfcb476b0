"""Settings: the only reader of the environment. Priority: argument (flag) > FACESVC_* > facesvc.toml > default."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_data_path
from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from facesvc.core.access import DEFAULT_TENANT
from facesvc.errors import RequestError

IndexKind = Literal["auto", "exact", "flat", "compressed", "large", "milvus", "pgvector"]


class Settings(BaseSettings):
    """Frozen once made; every field can be set as FACESVC_<NAME> or in ./facesvc.toml."""

    model_config = SettingsConfigDict(
        env_prefix="FACESVC_", frozen=True, toml_file="facesvc.toml", extra="forbid", env_ignore_empty=True
    )

    data: Path = Field(default_factory=lambda: user_data_path("facesvc"))
    """Folder of everything the service keeps: packs, samples, the embedded database."""
    database_url: str | None = None
    """SQLAlchemy URL; default: SQLite in the data folder. PostgreSQL: postgresql+psycopg://..."""
    pack: str | None = None
    """Name of the model pack; default: the one chosen with `facesvc models use`, else "fusion"."""
    detector: Literal["yunet", "mtcnn", "yunet-onet", "haar"] | None = None
    """Overrides the pack's detector; that makes another template version."""
    runtime: Literal["auto", "onnxruntime", "openvino"] = "auto"
    """What runs the networks; auto takes OpenVINO where it is installed, else ONNX Runtime."""
    index: IndexKind = "auto"
    """How galleries are searched: auto goes by their size, flat, compressed, then large; exact is slow NumPy; milvus
    and pgvector keep the vectors in these engines, for all processes together."""
    gallery_index: dict[str, IndexKind] = Field(default_factory=dict)
    """The same for single galleries, by name; in the environment as JSON: {"staff": "milvus"}."""
    milvus_uri: str | None = None
    """Address of the Milvus server or cluster: https://host:19530."""
    milvus_token: SecretStr | None = None
    """Of a user of it: name:password, or an API key."""
    milvus_index: Literal["FLAT", "HNSW"] = "FLAT"
    """How Milvus searches a collection that is made from now on: FLAT is exact, HNSW a sooner, approximate graph."""
    threshold: float | None = Field(default=None, gt=0)
    """Squared L2 below which two templates match; default: the pack's (1.1)."""
    master_key_file: Path | None = None
    """File of the master key, 32 bytes as base64 or hex; default: master.key in the data folder, made at the first
    start. Keep it where a thief of the database does not get at it."""
    master_key: SecretStr | None = None
    """The master key itself."""
    master_key_command: list[str] | None = None
    """A command that prints it: ["vault", "read", ...]; in the environment as JSON."""
    tenant: str = DEFAULT_TENANT
    """Whose galleries commands on this machine are about; requests to a server are their API key's tenant's."""
    dev: bool = False
    """Development mode: nobody needs an API key, everybody may do everything. On loopback addresses alone."""
    api_key: SecretStr | None = None
    """What commands bring to a server that they are to ask (--server)."""
    api_key_file: Path | None = None
    """File that holds it."""
    metrics_token: SecretStr | None = None
    """What comes in place of an API key with requests for /metrics, which tells of all tenants together."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    statement_seconds: float = Field(default=120.0, gt=0)
    """How long PostgreSQL works at one statement of a server, and lets its transactions wait for the next one. Commands
    on this machine take as long as they need."""
    workers: int = Field(default=2, ge=1, le=64)
    """Photographs in work at once, one thread each."""
    queue: int = Field(default=64, ge=1)
    """Photographs that may wait; further ones are answered `overloaded`."""
    queue_seconds: float = Field(default=5.0, gt=0)
    """Longest wait for its turn that a photograph may expect; where it would be more, the request is answered
    `overloaded` at once. One of n photographs that is accepted is answered within n times this and its own work."""
    max_image_bytes: int = Field(default=20 * 2**20, ge=1024)
    max_image_pixels: int = Field(default=50_000_000, ge=10_000)
    max_request_bytes: int = Field(default=64 * 2**20, ge=1024)
    """Its body and the photographs that are fetched for it."""
    max_images: int = Field(default=32, ge=1)
    """Photographs in one enrolment request."""
    max_references: int = Field(default=1000, ge=1)
    """Of one subject, however many imports bring. Searches have a bound by it: whoever is nearest, so many references
    lie before the next subject at most. (Amazon Rekognition allows 100 faces of a user, Azure Face 248 of a person.)"""
    max_faces: int = Field(default=100, ge=1)
    """Faces in one photograph."""
    image_urls: bool = False
    """Fetches photographs from public addresses that callers name ({"url": ...} in JSON)."""
    image_urls_http: bool = False
    """From http:// ones too; https:// alone otherwise."""
    image_url_seconds: float = Field(default=10.0, gt=0)
    """For all photographs of one request to be fetched, and their names to be looked up."""
    requests_per_minute: int = Field(default=3000, ge=1)
    """Of one API key that has no limit of its own, at each process; none in development mode."""
    requests_per_minute_per_address: int = Field(default=300, ge=1)
    """Of one address that brings no API key, or none that is valid, at each process: failed attempts, and the page's
    files; none in development mode. Addresses of IPv6 count by their network of 64 bits."""
    trusted_proxies: list[str] = Field(default_factory=list)
    """Addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; in the environment
    as JSON. Default: nobody's, and all that comes through a proxy comes from its address."""
    identities_per_day: int | None = Field(default=None, ge=1)
    """Different subjects that one API key may be told of within a day (UTC), by identification, listing or reading; a
    key's own limit goes before. Default: no limit."""
    default_gallery: str = "default"
    follow_seconds: float = Field(default=2.0, gt=0)
    """Between two looks of a server at what other processes wrote. Answers never wait for it: it is how long what
    another process deleted may stay in this one's memory, and in its snapshots."""
    ray_address: str | None = Field(default=None, validation_alias=AliasChoices("facesvc_ray_address", "ray_address"))
    """Head node of the Ray cluster that batches with `--engine ray` run on, also Ray's own RAY_ADDRESS; default: one
    of the run's own on this machine."""

    @property
    def url(self) -> str:
        """The database's URL, defaults resolved."""
        return self.database_url or f"sqlite:///{self.data / 'facesvc.db'}"

    @property
    def packs(self) -> Path:
        return self.data / "packs"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def read_settings(given: Mapping[str, Any]) -> Settings:
    """Return the settings, ``given`` before all other sources. Raises RequestError for values that are not valid."""
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}" for fault in error.errors())
        raise RequestError(f"setting {'; '.join(faults)}") from error
    except ValueError as error:  # facesvc.toml is no TOML
        raise RequestError(f"facesvc.toml: {error}") from error


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """The environment with ``variables`` until the context ends: for libraries that can be told in no other way."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
