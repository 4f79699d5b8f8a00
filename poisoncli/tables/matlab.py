"""MATLAB files, read by a process of their own: SciPy's reader can be brought to crash by a damaged one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from poisoncli.core.errors import PoisonError
from poisoncli.tables import memory
from poisoncli.tables.archives import check_arrays

SECONDS = 120  # that reading may take


def read(path: Path) -> dict[str, Any]:
    """The arrays of a MATLAB file by name, dense or CSR.

    Raises `PoisonError` if the file is damaged, or needs more memory than the limit, or too much time.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "arrays.npz"
        # the reader's own limit is what keeps a file from unpacking to more than it says
        command = [sys.executable, "-c", _CHILD, str(path.resolve()), str(out), str(memory.limit())]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise PoisonError(f"{path} takes more than {SECONDS} s to read: store it as .npz") from None
        if done.returncode:
            said = done.stderr.strip().splitlines()
            reason = said[-1] if done.returncode == 1 and said else "its reader crashed"
            raise PoisonError(f"{path} cannot be read as .mat ({reason}): check the file, or store it as .npz")
        check_arrays(out)
        with np.load(out, allow_pickle=False) as arrays:
            return _joined({name: arrays[name] for name in arrays.files})


def _joined(parts: dict[str, np.ndarray]) -> dict[str, Any]:
    """The arrays, with the parts of sparse ones put together."""
    found: dict[str, Any] = {}
    for name, part in parts.items():
        key, _, which = name.rpartition("/")
        if which == "dense":
            found[key] = part
        elif which == "data":
            shape = tuple(int(size) for size in parts[f"{key}/shape"])
            matrix: Any = sp.csc_matrix((part, parts[f"{key}/indices"], parts[f"{key}/indptr"]), shape=shape)
            matrix.check_format(full_check=True)
            found[key] = matrix.tocsr()
    return found


# Not a module: its arguments are a .mat file, the .npz file to write, and the bytes that it may fill.
_CHILD = """
import sys
path, out, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
try:
    import numpy, scipy.io, scipy.sparse
    try:
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        used = [int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmData")]
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        soft = most + sum(used)
        resource.setrlimit(resource.RLIMIT_DATA, (soft if hard < 0 else min(soft, hard), hard))
    except (ImportError, OSError, ValueError):
        pass
    parts = {}
    for name, value in scipy.io.loadmat(path).items():
        if scipy.sparse.issparse(value):
            value = value.tocsc()
            for part in ("data", "indices", "indptr", "shape"):
                parts[f"{name}/{part}"] = numpy.asarray(getattr(value, part))
        elif isinstance(value, numpy.ndarray) and value.dtype.kind in "biufU":
            parts[f"{name}/dense"] = value
    numpy.savez(out, **parts)
except BaseException as error:
    print(str(error).splitlines()[0] if str(error) else type(error).__name__, file=sys.stderr)
    sys.exit(1)
"""
