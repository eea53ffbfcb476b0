"""Training and calibration of the embedder. Imports the service's own stages; the service never imports this."""
