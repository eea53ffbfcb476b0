"""`facesvc tenants`: who shares this service without knowing of each other."""

from typing import TYPE_CHECKING, Annotated

import typer

from facesvc.cli import options
from facesvc.cli.api_keys import tell
from facesvc.cli.console import answer_json, answer_table, confirm, say

if TYPE_CHECKING:
    from facesvc.bootstrap.database import Database
    from facesvc.core.access import Tenant

app = typer.Typer(no_args_is_help=True, help="Create, list and delete tenants.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the tenant.")]


@app.command()
def create(context: typer.Context, name: Name, as_json: options.AsJson = False) -> None:
    """Make a tenant, and print the API key of its administrator: this once, it is stored nowhere.

    Example: facesvc tenants create acme
    """
    from facesvc.bootstrap.database import open_database
    from facesvc.core.access import Rights, Role

    with open_database(context.obj) as database:
        made = database.register.create(name)
        rights = Rights(frozenset({Role.ADMINISTER}), label="first administrator")
        issued = database.tenant_api_keys(made.id).issue(rights, None)
    say(f"tenant {name} has the id {made.id}")
    tell(issued, as_json)


@app.command("list")
def list_tenants(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List tenants, with the ids that stand for them in the database, in logs and in folders.

    Example: facesvc tenants list
    """
    from facesvc.bootstrap.database import open_database
    from facesvc.schemas.access import Tenant

    with open_database(context.obj) as database:
        found = [Tenant.of(tenant) for tenant in database.register.tenants()]
    if as_json:
        return answer_json(found)
    answer_table(("Id", "Tenant", "Created"), ((tenant.id, tenant.name, tenant.created_at) for tenant in found))


@app.command()
def delete(context: typer.Context, name: Name, yes: options.Yes = False) -> None:
    """Delete a tenant with its galleries, subjects, photographs, API keys and audit log, for good.

    Example: facesvc tenants delete acme --yes
    """
    from facesvc.bootstrap.database import open_database

    with open_database(context.obj) as database:
        tenant = database.register.find(name)
        confirm(f"Delete tenant {tenant.name} and everything that is its?", yes)
        drop(context, database, tenant)
    say(f"tenant {tenant.name} deleted")


def drop(context: typer.Context, database: "Database", tenant: "Tenant") -> None:
    """Delete its rows, its indexes and their snapshots."""
    from shutil import rmtree

    from facesvc.bootstrap.indexes import in_memory, open_home, snapshots_of

    store = database.store(tenant.id)
    in_memory_of = in_memory(context.obj, store, database.snapshots(tenant.id))
    with open_home(context.obj, store, in_memory_of) as home:
        database.register.delete(tenant, lambda: home.sweep(lambda: ()))
    rmtree(snapshots_of(context.obj, tenant.id).parent, ignore_errors=True)
