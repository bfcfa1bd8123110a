"""The one error of this room."""


class ExportError(ValueError):
    """An export or a value that cannot be used: what was found, and what to do."""
