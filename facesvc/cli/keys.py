"""`facesvc keys`: the keys that the database is sealed with."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json, progress, say
from facesvc.errors import RequestError

if TYPE_CHECKING:
    from facesvc.config import Settings
    from facesvc.crypto.master import MasterKey
    from facesvc.service.encryption import Encryption

app = typer.Typer(no_args_is_help=True, help="Show and rotate what the database is encrypted with.")


@app.command()
def status(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Show the master key's id and where it comes from, and the tenant's data keys with the rows that each seals.

    Example: facesvc keys status --json
    """
    from facesvc.bootstrap.database import source

    with opened(context.obj) as (encryption, master):
        sealed = encryption.data_keys()
    found = {"master_key": master, "from": source(context.obj), "data_keys": sealed}
    if as_json:
        return answer_json(found)
    answer(f"master key: {master}, from {found['from']}")
    for version, rows in sealed.items():
        answer(f"data key {version}: {rows} rows")


@app.command("rotate-data")
def rotate_data(context: typer.Context) -> None:
    """Make a new data key, bring all that the old one sealed under it, and delete the old one.

    Servers may be running: they seal with the new one at once. Run again to continue where it was interrupted.

    Example: facesvc keys rotate-data
    """
    with opened(context.obj) as (encryption, _):
        rows = counted("rotate", encryption.rotate_data_key())
        newest = max(encryption.data_keys())
    say(f"{rows} rows are under data key {newest} now, older ones are deleted")


@app.command("rotate-master")
def rotate_master(
    context: typer.Context,
    new_file: Annotated[
        Path | None,
        typer.Option("--new-file", metavar="FILE", help="File of the new master key; made if it is not there."),
    ] = None,
    new_command: Annotated[
        str | None, typer.Option("--new-command", metavar="JSON", help='Command that prints it: ["vault", "read"].')
    ] = None,
) -> None:
    """Wrap the keys of all tenants with a new master key, all at once or not at all.

    Running servers go on with what they have opened. Start them again with the new key before you run rotate-data,
    make tenants, or start others. Keep the old key for as long as you keep backups from before.

    Example: facesvc keys rotate-master --new-file /run/keys/master-2.key
    """
    from facesvc.bootstrap.database import open_database

    new = new_master(new_file, new_command)
    with open_database(context.obj) as database:
        old = database.keyring.master.id
        if new.id == old:
            raise RequestError("the new master key is the one that is in use")
        database.rotate_master(new)
    say(f"master key {new.id} is in force, {old} opens nothing any more")
    said = f"FACESVC_MASTER_KEY_FILE={new_file}" if new_file else "FACESVC_MASTER_KEY_COMMAND to what prints it"
    say(f"set {said}, and start the servers again")


@app.command("reissue-templates")
def reissue_templates(
    context: typer.Context,
    gallery: Annotated[str | None, typer.Argument(metavar="GALLERY", help="One gallery. [default: all]")] = None,
) -> None:
    """Turn the templates in indexes, snapshots and vector engines anew, without photographs.

    What was copied from them before links with nothing any more. Servers follow by themselves; each builds its
    indexes anew.

    Example: facesvc keys reissue-templates staff
    """
    with opened(context.obj) as (encryption, _):
        names = encryption.reissue(gallery)
    say(f"templates issued anew: {', '.join(names) or 'there is no gallery'}")


@contextmanager
def opened(settings: "Settings") -> "Iterator[tuple[Encryption, str]]":
    """Open what brings the tenant's rows under other keys; with the master key's id."""
    from facesvc.bootstrap.database import open_database

    with open_database(settings) as database:
        yield database.encryption(database.register.find(settings.tenant).id), database.keyring.master.id


def counted(label: str, steps: Iterable[int]) -> int:
    """Rows of all steps, shown as they go."""
    total = 0
    with progress(label, unit="rows") as advance:
        for rows in steps:
            total += rows
            for _ in range(rows):
                advance()
    return total


def new_master(file: Path | None, command: str | None) -> "MasterKey":
    """Raises MasterKeyUnavailable, RequestError unless just one of them is given."""
    import json

    from facesvc.crypto.master import from_command, from_file, make_file

    if (file is None) == (command is None):
        raise RequestError("say where the new master key is: --new-file or --new-command")
    if file is not None:
        return from_file(file) if file.exists() else make_file(file)
    try:
        words: Any = json.loads(command or "")
    except ValueError:
        words = None
    if not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
        raise RequestError(
            '--new-command wants a list of words as JSON: ["vault", "read", "-field=key", "secret/face"]'
        )
    return from_command(words)
