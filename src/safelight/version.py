"""The version of the package, which is nowhere else: the build and all that tells it read this."""

__all__ = ["__version__"]

__version__ = "0.2.0"
