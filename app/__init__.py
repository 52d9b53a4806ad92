"""The service: prediction, durable retraining, the command line."""

from importlib.metadata import version
from typing import Final

__version__: Final = version("offsetnet")
