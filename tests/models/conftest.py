"""Skips what needs the extra `vision` where it is not installed."""

from __future__ import annotations

import importlib.util

import pytest


@pytest.fixture(scope="session")
def timm_installed() -> None:
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")


@pytest.fixture(scope="session")
def torchvision_installed() -> None:
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
