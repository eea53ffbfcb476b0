"""`facesvc receipts`: proof of what was erased."""

import base64
import binascii
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from facesvc.cli.console import answer, say
from facesvc.errors import FileUnreadable

app = typer.Typer(no_args_is_help=True, help="Check receipts of erasures.")


@app.command("verify")
def verify(
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


@app.command()
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
