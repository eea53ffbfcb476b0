"""`facesvc enrol` and `facesvc enrol-folder`: photographs become references of subjects."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from facesvc.cli import options
from facesvc.cli.console import answer, answer_json, progress, say
from facesvc.cli.folders import (
    ENROLLED,
    Enroller,
    FolderEnrolment,
    Source,
    Task,
    count_photographs,
    folder_people,
    people,
)
from facesvc.cli.opening import open_backend


def enrol(
    context: typer.Context,
    photographs: Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Photographs of the person, or -.")],
    gallery: options.Gallery,
    subject: Annotated[str, typer.Option("--subject", "-s", metavar="ID", help="Your identifier of the person.")],
    face: options.Face = "only",
    allow_low_quality: options.AllowLowQuality = False,
    as_json: options.AsJson = False,
    server: options.Server = None,
) -> None:
    """Enrol photographs of one person. The gallery and the subject are made if they are new.

    Exit code: 0 all enrolled, 1 some were rejected, 2 error.

    Example: facesvc enrol ada-1.jpg ada-2.jpg --gallery staff --subject ada
    """
    with open_backend(context.obj, server) as backend:
        enroller = Enroller(backend, gallery, face, not allow_low_quality, context.obj.max_image_bytes)
        enroller.ensure_gallery()
        results = [enroller.enrol(Task(subject, Source.file(path))) for path in photographs]
    enrolled = sum(result.status == ENROLLED for result in results)
    if as_json:
        told = [result.as_json() for result in results]
        answer_json({"gallery": gallery, "subject": subject, "enrolled": enrolled, "results": told})
    else:
        for result in results:
            answer(str(result))
    raise typer.Exit(0 if enrolled == len(results) else 1)


def enrol_folder(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Folder of DIR/<subject>/<photographs>.")
    ],
    gallery: options.Gallery,
    face: options.Face = "only",
    allow_low_quality: options.AllowLowQuality = False,
    workers: options.Workers = None,
    engine: options.Engine = "local",
    ray_address: options.RayAddress = None,
    as_json: options.AsJson = False,
    server: options.Server = None,
) -> None:
    """Enrol a folder of people: each folder in DIR is a subject, named like it. The gallery is made if it is new.

    Photographs that are enrolled already are passed over, so an interrupted run is continued by running it again.
    Exit code: 0 all enrolled, 1 some photographs were rejected, 2 error.

    Example: facesvc enrol-folder people/ --gallery staff

    Example: facesvc enrol-folder people/ --gallery staff --engine ray --ray-address 10.0.0.1:6379
    """
    cluster = options.cluster(engine, ray_address, workers, server, context.obj)
    people(folder)  # refuses a folder without people before anything is opened
    settings = context.obj.model_copy(update={"workers": workers} if workers else {})
    with open_backend(settings, server, cluster) as backend:
        enroller = Enroller(backend, gallery, face, not allow_low_quality, settings.max_image_bytes)
        enroller.ensure_gallery()
        run = FolderEnrolment(enroller)
        with progress("enrol", count=partial(count_photographs, folder)) as advance:
            run.run(folder_people(folder), backend.workers, advance)
    if as_json:
        answer_json(run.summary)
    else:
        for result in sorted(run.rejected, key=lambda result: result.code):
            answer(str(result))
    say(str(run))
    raise typer.Exit(1 if run.rejected else 0)
