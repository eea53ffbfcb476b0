"""`facesvc audit`: what was asked and decided, and whether the log of it is whole.

`facesvc receipts`: proof of what was erased.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json, answer_table, say
from facesvc.errors import FileUnreadable, RequestError

receipts = typer.Typer(no_args_is_help=True, help="Check receipts of erasures.")


@receipts.command("verify")
def verify_receipt(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A receipt, as `subjects erase` wrote it.")],
    public_key: Annotated[
        str | None,
        typer.Option("--public-key", metavar="BASE64", help="The service's, see `receipts key`. [default: this one's]"),
    ] = None,
) -> None:
    """Check that this service signed a receipt, and that nobody altered it.

    Example: facesvc receipts verify ada-erased.json
    """
    from facesvc.core.audit import canonical
    from facesvc.crypto.envelope import require_signed

    receipt = read_receipt(file)
    key = decoded(public_key) if public_key else own_key(context)
    require_signed(canonical(receipt["statement"]), decoded(receipt["signature"]["value"]), key)
    told = receipt["statement"]
    remaining = sum(told["remaining"].values())
    say(f"signed by this key: subject {told['subject']} of gallery {told['gallery']} was erased at {told['erased_at']}")
    say(f"{len(told['references'])} references, {told['photographs']} photographs; {remaining} things were left")


@receipts.command()
def key(context: typer.Context) -> None:
    """Print the public key that receipts are signed with (Ed25519, base64).

    Example: facesvc receipts key
    """
    answer(base64.b64encode(own_key(context)).decode())


def own_key(context: typer.Context) -> bytes:
    from facesvc.bootstrap import open_audit

    with open_audit(context.obj) as (_, signer):
        return signer.public_key


def read_receipt(path: Path) -> dict[str, Any]:
    """Raises FileUnreadable, ReceiptInvalid for what is no receipt."""
    from facesvc.core.erasure import KIND
    from facesvc.errors import ReceiptInvalid

    try:
        found = json.loads(path.read_bytes())
        if found["statement"]["kind"] == KIND and found["signature"]["value"]:
            return found
    except OSError as error:
        raise FileUnreadable(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ReceiptInvalid(f"{path} is no receipt") from error
    raise ReceiptInvalid(f"{path} is no receipt of a kind that is known here")


def decoded(text: str) -> bytes:
    """Raises ReceiptInvalid for what is not base64."""
    from facesvc.errors import ReceiptInvalid

    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ReceiptInvalid("key or signature is not base64") from error


if TYPE_CHECKING:
    from facesvc.core.audit import Line

app = typer.Typer(no_args_is_help=True, help="Read the audit log, and verify that nobody changed it.")


@app.command()
def verify(
    context: typer.Context,
    noted: Annotated[
        list[str] | None,
        typer.Option("--noted", metavar="LINE:DIGEST", help="An end of the log noted before, see `audit head`."),
    ] = None,
    receipt: Annotated[
        list[Path] | None,
        typer.Option("--receipt", metavar="FILE", help="An erasure receipt, which holds such an end."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Verify that no line of the audit log was altered, taken out, put in or moved.

    That its end was cut off shows in an end that was noted elsewhere: --noted, --receipt.
    Exit code: 0 whole, 1 changed, 2 error.

    Example: facesvc audit verify
    """
    from facesvc.bootstrap import open_audit
    from facesvc.errors import AuditBroken

    ends = dict(as_end(text) for text in noted or []) | dict(end_of(path) for path in receipt or [])
    with open_audit(context.obj) as (log, _):
        try:
            lines = log.verify(ends)
        except AuditBroken as error:
            answer_json({"whole": False, "detail": error.detail}) if as_json else say(f"changed: {error.detail}")
            raise typer.Exit(1) from None
    answer_json({"whole": True, "lines": lines}) if as_json else say(f"{lines} lines, as they were written")


@app.command()
def head(context: typer.Context, as_json: options.AsJson = False) -> None:
    """Show where the audit log ends. Noted elsewhere, it proves later that nothing before it was cut off.

    Example: facesvc audit head
    """
    from facesvc.bootstrap import open_audit

    with open_audit(context.obj) as (log, _):
        end = log.head()
    if as_json:
        return answer_json({"sequence": end.sequence, "digest": end.digest.hex()})
    answer(f"{end.sequence}:{end.digest.hex()}")


@app.command("list")
def list_lines(
    context: typer.Context,
    gallery: Annotated[str | None, typer.Option("--gallery", "-g", metavar="NAME", help="About this gallery.")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="ID", help="About this subject of it, or telling of it.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="ID", help="With this API key.")] = None,
    after: Annotated[int, typer.Option("--after", min=0, metavar="LINE", help="After this line.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most N. [default: all]")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List who asked what, with which API key, and what was decided.

    Example: facesvc audit list --gallery staff --subject ada
    """
    from facesvc.bootstrap import open_audit
    from facesvc.service.audit import gallery_token, subject_token

    if subject is not None and gallery is None:
        raise RequestError("--subject needs --gallery")
    with open_audit(context.obj) as (log, _):
        wanted = [f'"{gallery_token(log.chain, gallery)}"'] if gallery is not None else []
        if gallery is not None and subject is not None:
            wanted.append(f'"{subject_token(log.chain, gallery, subject)}"')
        if key is not None:
            wanted.append(f'"key":"{key}"')
        found = list(islice(matching(log.lines(after), wanted), limit))
    if as_json:
        return answer_json([{"line": line.sequence, **line.told} for line in found])
    answer_table(("Line", "At", "Key", "Action", "Outcome"), (as_cells(line) for line in found))


def matching(lines: "Iterable[Line]", wanted: list[str]) -> "Iterable[Line]":
    return (line for line in lines if all(text.encode() in line.entry for text in wanted))


def as_cells(line: "Line") -> tuple[object, ...]:
    told = line.told
    return line.sequence, told["at"], told["key"], told["action"], summary(told["outcome"])


def summary(outcome: dict[str, Any]) -> str:
    if "faces" in outcome:
        return f"{len(outcome['faces'])} faces: {', '.join(face['decision'] for face in outcome['faces'])}"
    return ", ".join(f"{name} {value}" for name, value in outcome.items() if value not in (None, [], {}))


def as_end(text: str) -> tuple[int, bytes]:
    """Raises RequestError for what `audit head` does not print."""
    line, _, digest = text.partition(":")
    try:
        return int(line), bytes.fromhex(digest)
    except ValueError as error:
        raise RequestError(f"--noted {text}: give what `facesvc audit head` printed") from error


def end_of(path: Path) -> tuple[int, bytes]:
    end = read_receipt(path)["statement"]["audit"]
    return end["sequence"], bytes.fromhex(end["digest"])
