"""`facesvc api-keys`: who may ask a server, and for what."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json, answer_table, duration, say
from facesvc.core.access import Role

if TYPE_CHECKING:
    from facesvc.config import Settings
    from facesvc.core.access import IssuedKey
    from facesvc.schemas.access import ApiKey
    from facesvc.service.api_keys import TenantApiKeys

app = typer.Typer(no_args_is_help=True, help="Create, list, rotate and revoke API keys.")
Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `facesvc api-keys list` shows it.")]
Expires = Annotated[
    timedelta | None,
    typer.Option(
        "--expires", metavar="TIME", parser=duration, help="Valid for so long (12h, 90d). [default: for ever]"
    ),
]


@app.command()
def create(
    context: typer.Context,
    role: Annotated[list[Role], typer.Option("--role", "-r", help="What it is for; may be given more than once.")],
    gallery: Annotated[
        list[str] | None,
        typer.Option("--gallery", "-g", metavar="NAME", help="Galleries that it may use. [default: all]"),
    ] = None,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help="A note of yours on it.")] = "",
    expires: Expires = None,
    identities: Annotated[
        int | None, typer.Option("--identities-per-day", min=1, help="Subjects that it may be told of in a day.")
    ] = None,
    requests: Annotated[
        int | None, typer.Option("--requests-per-minute", min=1, help="Requests that it may make in a minute.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Make an API key of the tenant (FACESVC_TENANT) and print it: this once, it is stored nowhere.

    Example: facesvc api-keys create --role verify --role identify --gallery staff --expires 90d
    """
    from facesvc.core.access import Rights

    rights = Rights(frozenset(role), frozenset(gallery) if gallery else None, label, identities, requests)
    with opened(context.obj) as keys:
        tell(keys.issue(rights, expires), as_json)


@app.command("list")
def list_keys(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the tenant's API keys, without their secrets: oldest first, also those that are not valid any more.

    Example: facesvc api-keys list
    """
    from facesvc.schemas.access import ApiKey

    with opened(context.obj) as keys:
        found = [ApiKey.of(key) for key in keys.list()]
    if as_json:
        return answer_json(found)
    answer_table(("Id", "Roles", "Galleries", "State", "Expires", "Label"), (cells(key) for key in found))


@app.command()
def revoke(context: typer.Context, key: Id) -> None:
    """Revoke an API key, at once, in every process.

    Example: facesvc api-keys revoke 4be07c1a99d2
    """
    with opened(context.obj) as keys:
        keys.revoke(key)
    say(f"API key {key} is revoked")


@app.command()
def rotate(
    context: typer.Context,
    key: Id,
    overlap: Annotated[
        timedelta, typer.Option("--overlap", metavar="TIME", parser=duration, help="For so long both are valid.")
    ] = "24h",  # type: ignore[assignment]  # typer parses defaults, too
    expires: Expires = None,
    as_json: options.AsJson = False,
) -> None:
    """Make an API key with the same rights as another, print it, and let the old one expire.

    Example: facesvc api-keys rotate 4be07c1a99d2 --overlap 12h
    """
    with opened(context.obj) as keys:
        tell(keys.rotate(key, overlap, expires), as_json)


@contextmanager
def opened(settings: "Settings") -> "Iterator[TenantApiKeys]":
    """Open the keys of the tenant that the settings name. Raises TenantNotFound."""
    from facesvc.bootstrap.database import open_database

    with open_database(settings) as database:
        yield database.tenant_api_keys(database.register.find(settings.tenant).id)


def tell(issued: "IssuedKey", as_json: bool) -> None:
    """Print a new key: as JSON, or its text alone on stdout with its id on stderr."""
    from facesvc.schemas.access import IssuedApiKey

    if as_json:
        return answer_json(IssuedApiKey.of(issued))
    answer(issued.text)
    say(f"API key {issued.key.id}: keep it, it is shown this once")


def cells(key: "ApiKey") -> tuple[object, ...]:
    galleries = "all" if key.galleries is None else ", ".join(key.galleries)
    return key.id, ", ".join(key.roles), galleries, state(key), key.expires_at, key.label


def state(key: "ApiKey") -> str:
    if key.revoked_at:
        return "revoked"
    if not key.valid:
        return "expired"
    return f"replaced by {key.replaced_by}" if key.replaced_by else "valid"
