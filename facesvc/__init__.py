"""facesvc: self-hosted face verification. Photographs in; a decision with its error rate out."""

import os
import sys

__version__ = "0.1.0"


def _keep_dependencies_silent() -> None:
    """Turn off the telemetry of ONNX Runtime, OpenVINO and Ray, which look up their makers' hosts at every start.

    Runs before anything imports them, since each decides at its import; Ray's nodes inherit the environment.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO then takes its own stub


_keep_dependencies_silent()
