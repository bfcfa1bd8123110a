"""Models in files of llama.cpp (GGUF), made plain folders of transformers once: weights in float32 as safetensors, the
tokeniser, and the template of chats. Both the model and its tokens are then read as from any other folder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, first_line, needed
from flambeau.core.files import check_regular, disk_full_named

CACHE = Path(".cache", "flambeau", "gguf")  # in the home folder


def gguf_file(source: str) -> Path | None:
    """The file that `source` names: itself, or the only one of a folder that holds no model of another form; None where
    it names none.

    Raises:
        DataError: the folder has several.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() == ".gguf":
        return path
    if not path.is_dir() or (path / "config.json").exists():
        return None
    files = sorted(path.glob("*.gguf"))
    if len(files) > 1:
        raise DataError(f"the folder has {len(files)} files of llama.cpp", where=path,
                        fix=f"name one of them: {files[0]}")  # fmt: skip
    return files[0] if files else None


def plain_folder(source: str) -> str:
    """`source` itself; of a file of llama.cpp the folder that is made of it, once: about 4 bytes a weight.

    Raises:
        DataError: it cannot be read.
        MissingExtra: gguf, accelerate or transformers is not installed.
    """
    file = gguf_file(source)
    if file is None:
        return source
    check_regular(file)
    needed("gguf", "llm", "a file of llama.cpp")
    transformers = needed("transformers", "llm", "a file of llama.cpp")
    facts = file.stat()
    told = f"{file.resolve()}\n{facts.st_size}\n{facts.st_mtime_ns}\n{transformers.__version__}"
    dest = Path.home() / CACHE / f"{file.stem}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    if not dest.is_dir():
        dest.parent.mkdir(parents=True, exist_ok=True)
        with disk_full_named(dest), tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}-") as temporary:
            fresh = Path(temporary) / "model"
            try:
                _write(transformers, file, fresh)
            except (RuntimeError, ValueError, KeyError, TypeError, ImportError, IndexError, AttributeError) as error:
                raise DataError(f"it cannot be read ({first_line(error)})", where=file,
                                expected="a model of llama.cpp that transformers knows") from error  # fmt: skip
            try:
                fresh.rename(dest)
            except OSError:
                if not dest.is_dir():  # another process was faster
                    raise
    return os.fspath(dest)


def _write(transformers: Any, file: Path, folder: Path) -> None:
    read = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype="float32")
    told = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
    # What was read is marked as quantised, and refuses to be moved to another dtype.
    plain = type(read)(type(read.config).from_dict(told))
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
