"""How routes reach what the application keeps in its state."""

from typing import Annotated

from fastapi import Depends, Request

from facesvc.config import Settings
from facesvc.service import FaceService
from facesvc.web.metrics import Metrics


def _settings(request: Request) -> Settings:
    return request.app.state.settings


def _service(request: Request) -> FaceService:
    return request.app.state.service


def _metrics(request: Request) -> Metrics:
    return request.app.state.metrics


SettingsDep = Annotated[Settings, Depends(_settings)]
ServiceDep = Annotated[FaceService, Depends(_service)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
