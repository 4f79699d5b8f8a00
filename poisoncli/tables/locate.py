"""Where data files lie: `--data-dir`, `$POISON_DATA_DIR`, the user's cache, and at last a download."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from poisoncli.core.errors import MissingDataError, PoisonError


def search_path(data_dir: str | None = None) -> list[Path]:
    """Folders in which data files are looked for, in order.

    Raises `PoisonError` if `data_dir` is given and is no folder: a typing error must not end in a download.
    """
    import pooch

    folders = []
    if data_dir:
        folders.append(Path(data_dir).expanduser())
        if not folders[0].is_dir():
            raise PoisonError(f"there is no folder {folders[0]}: create it, or name another with --data-dir")
    if os.environ.get("POISON_DATA_DIR"):
        folders.append(Path(os.environ["POISON_DATA_DIR"]).expanduser())
    return [*folders, Path(pooch.os_cache("poison"))]


def find(relative_name: str, data_dir: str | None = None) -> Path | None:
    """The first file of that name (such as "mnist/a.gz") in the folders of the search path."""
    candidates = (folder / relative_name for folder in search_path(data_dir))
    return next((path for path in candidates if path.is_file()), None)


def obtain(name: str, urls: Sequence[str], known_hash: str, data_dir: str | None = None) -> Path:
    """Find the file, or else download it into the user's cache.

    name: path of the file within a data folder.
    urls: where to get it, tried in order.
    known_hash: of the file as downloaded, as "sha256:..." or "md5:..."; files found are not held against it,
    because a repacked file may carry the same content.

    Raises `PoisonError` if it is neither at hand nor to be had.
    """
    found = find(name, data_dir)
    return found or _download(name, urls, known_hash, data_dir)


def place(name: str, data_dir: str | None = None) -> Path:
    """Where a user is told to put the file: within the first folder of the search path."""
    return search_path(data_dir)[0] / name


def where(names: Sequence[str], data_dir: str | None = None) -> str:
    """For listings: the folder that holds these files, or what to put where."""
    found = [find(name, data_dir) for name in names]
    missing = [Path(name).name for name, path in zip(names, found, strict=True) if path is None]
    if not missing and found[0]:
        return str(found[0].parent)
    return f"not found: put {', '.join(missing)} into {place(names[0], data_dir).parent}"


def _download(name: str, urls: Sequence[str], known_hash: str, data_dir: str | None) -> Path:
    import pooch

    pooch.get_logger().setLevel("ERROR")  # it announces each download otherwise
    target = Path(pooch.os_cache("poison")) / name
    for url in urls:
        try:
            return Path(pooch.retrieve(url, known_hash, fname=target.name, path=target.parent))
        except (OSError, ValueError):  # no network (an OSError in requests), or a wrong file
            continue
    raise MissingDataError(
        f"{target.name} was not found and could not be downloaded from {urls[0]}: put it "
        f"into {place(name, data_dir).parent}, or name the folder that holds {name} with --data-dir or "
        "POISON_DATA_DIR"
    )
