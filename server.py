"""`uvicorn server:app`: the service over the settings of the environment."""

from functools import partial

from facesvc.bootstrap import open_tenants
from facesvc.config import Settings
from facesvc.web.app import create_app

settings = Settings()
app = create_app(settings, partial(open_tenants, settings, serving=True))
