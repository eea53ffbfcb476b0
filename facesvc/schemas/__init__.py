"""Each JSON shape once: what HTTP answers and what the command line prints, made of the core's values."""
