"""Weights of a backbone from a file: tensors only, nothing in it is run."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from facesvc.errors import RequestError


def load_weights(network: nn.Module, file: Path) -> None:
    """Fills every tensor of the network from a safetensors file of the same names and shapes.

    Raises RequestError where the file can't be read or is of another network.
    """
    try:
        network.load_state_dict(load_file(file))
    except (OSError, SafetensorError) as error:
        raise RequestError(f"{file} can't be read as safetensors: {error}") from error
    except RuntimeError as error:  # load_state_dict lists what is missing, left over or of another shape
        raise RequestError(f"{file} holds the weights of another network: {error}") from error
