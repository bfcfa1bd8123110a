"""What a user sees of the package."""

from __future__ import annotations

import flambeau as fb


def test_the_public_names_are_shown_and_no_others() -> None:
    from flambeau.data.dataset import Dataset  # imports submodules, which Python enters as attributes

    assert fb.Dataset is Dataset
    assert [name for name in dir(fb) if not name.startswith("__")] == sorted(set(fb.__all__) - {"__version__"})
