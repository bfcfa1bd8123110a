"""Files in a store that speaks as Azure does: Azurite, where it is installed (`npm install -g azurite`)."""

from __future__ import annotations

import hashlib
import io
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flambeau.core.errors import DataError, RunError
from flambeau.data import clouds
from flambeau.deployment import Address, fetch

pytest.importorskip("adlfs")
AZURITE = shutil.which("azurite-blob")
pytestmark = pytest.mark.skipif(AZURITE is None, reason="azurite-blob is not installed")
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that every Azurite has, and its published key."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A container's client; who asks is said by the environment, as anywhere."""
    from azure.storage.blob import BlobServiceClient

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    assert AZURITE is not None
    command = [AZURITE, "--blobHost", "127.0.0.1", "--blobPort", port, "--inMemoryPersistence", "--skipApiVersionCheck",
               "--disableTelemetry"]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path_factory.mktemp("azurite"))
    assert server.stdout is not None
    assert any("successfully listens" in line for line in server.stdout)  # until then, or its end
    said = (f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};")  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", said)
        yield BlobServiceClient.from_connection_string(said).create_container("box")
    server.terminate()
    server.wait()


def test_a_folder_is_read_from_there_and_anew_where_it_has_changed(store: Any, tmp_path: Path) -> None:
    store.upload_blob("texts/a/1.txt", b"one")
    store.upload_blob("texts/b/2.txt", b"two")
    first = clouds.fetched(Path("az://box/texts"), tmp_path)
    assert {file.relative_to(first).as_posix(): file.read_text() for file in first.rglob("*.txt")} == {
        "a/1.txt": "one", "b/2.txt": "two",
    }  # fmt: skip
    assert clouds.fetched("abfs://box/texts", tmp_path) == first
    store.upload_blob("texts/a/1.txt", b"uno", overwrite=True)
    second = clouds.fetched("az://box/texts", tmp_path)
    assert second != first and (second / "a/1.txt").read_text() == "uno"


def test_a_folder_is_copied_there_without_what_is_hidden(store: Any, tmp_path: Path) -> None:
    for name in ("recipe.yaml", "checkpoints/1.safetensors", ".flambeau/lock"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text(name)
    clouds.send(tmp_path / "run", "az://box/runs/one")
    there = {blob.name.removeprefix("runs/one/") for blob in store.list_blobs("runs/one/")}
    assert {"recipe.yaml", "checkpoints/1.safetensors"} <= there and not any(".flambeau" in name for name in there)
    back = clouds.fetched("az://box/runs/one", tmp_path / "cache")
    assert (back / "checkpoints" / "1.safetensors").read_text() == "checkpoints/1.safetensors"


@pytest.mark.parametrize("address", ["az://box/nothing.csv", "az://nowhere/x.csv"])
def test_what_is_not_there_is_told(store: Any, tmp_path: Path, address: str) -> None:
    with pytest.raises(DataError, match=address):
        clouds.fetched(address, tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_model_that_is_served_is_fetched_from_there(store: Any, tmp_path: Path) -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        told = tarfile.TarInfo("small/recipe.yaml")
        told.size = 4
        archive.addfile(told, io.BytesIO(b"a: 1"))
    store.upload_blob("small.tar.gz", held.getvalue())
    digest = hashlib.sha256(held.getvalue()).hexdigest()
    address = Address.of(f"az://box/small.tar.gz#sha256={digest}")
    assert address is not None and address.name == "small"
    assert [file.name for file in fetch(address, tmp_path).rglob("*.yaml")] == ["recipe.yaml"]
    other = Address.of(f"az://box/none.tar#sha256={digest}")
    assert other is not None
    with pytest.raises(RunError, match="cannot be fetched"):
        fetch(other, tmp_path)
