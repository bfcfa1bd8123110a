"""The version of the package, and of the folder format that its runs are written in."""

__version__ = "0.1.0"

RUN_FORMAT = 2  # raised when a run written by this version cannot be read by an earlier one
