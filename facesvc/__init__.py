"""facesvc: self-hosted face verification. Photographs in; a decision with its error rate out."""

__version__ = "0.1.0"
