"""Arrays in the HDF5 of a run file: their axes are named, their units said, their compression chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from poisoncli.core.data import Sparse

UNITS = {"loss": "nats", "test_loss": "nats", "val_loss": "nats", "test_error": "1", "val_error": "1"}
AXES = {
    "x": ("repetition", "point", "feature"),
    "y": ("repetition", "point"),
    "replaced": ("repetition", "point"),
    "counts": ("stage",),
    "log_lambda": ("repetition", "stage", "lambda"),
    "loss": ("repetition", "stage", "outer_step"),
    "train": ("repetition", "row"),
    "val": ("repetition", "row"),
    "test": ("repetition", "row"),
    "weight": ("repetition", "stage", "row"),
    "score": ("repetition", "stage", "row"),
    "scales": ("repetition", "stage", "objective"),
    "memory": ("repetition", "vector", "number"),
    "trail": ("repetition", "stage", "outer_step", "coordinate"),
    "timeline": ("step", "seconds and error"),
    "data": ("entry",),
    "indices": ("entry",),
    "indptr": ("row",),
    "y_shift": (),
    "y_scale": (),
    "shift": (),
    "scale": (),
    "norm": ("repetition", "stage", "layer"),
    "recall": ("repetition", "stage", "class"),
}


def put(group: Any, arrays: Mapping[str, Any]) -> None:
    """Write arrays with their axes named and their units."""
    for name, value in arrays.items():
        if isinstance(value, Sparse):
            _put_sparse(group.create_group(name), value)
            continue
        array = np.asarray(value)
        compress = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if array.size > 4096 else {}
        item = group.create_dataset(name, data=array, **compress)
        for axis, label in zip(item.dims, AXES.get(name, ("repetition", "stage")), strict=False):
            axis.label = label
        if name in UNITS:
            item.attrs["unit"] = UNITS[name]


def _put_sparse(group: Any, rows: Sparse) -> None:
    """CSR arrays of every repetition, in groups 0, 1, ..."""
    for number, part in enumerate(rows):
        place = group.create_group(str(number))
        place.attrs["shape"] = part.shape
        put(place, {"data": part.data, "indices": part.indices, "indptr": part.indptr})


def read(item: Any, name: str) -> np.ndarray:
    """The numbers of a data set. Raises `ValueError` if it is none, or has other axes."""
    axes = AXES.get(name)
    if item.dtype.kind not in "biuf" or (axes and item.ndim != len(axes)):
        raise ValueError(name)
    return item[()]


def read_sparse(group: Any) -> Sparse:
    """The sparse rows of every repetition. Raises `ValueError` if there are none, or they do not go together."""
    import scipy.sparse as sp

    found = Sparse()
    if not len(group):
        raise ValueError("no rows")
    for number in range(len(group)):
        part = group[str(number)]
        arrays = tuple(read(part[name], name) for name in ("data", "indices", "indptr"))
        rows: Any = sp.csr_matrix(arrays, shape=tuple(int(size) for size in part.attrs["shape"]))
        rows.check_format(full_check=True)
        found.append(rows)
    return found


def scale_stages(file: Any, counts: Any) -> None:
    """Make the poison rows at each stage the scale of every stage axis, so that other tools can plot them."""
    import h5py

    counts.make_scale("poison rows")

    def attach(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            for axis in item.dims:
                if axis.label == "stage" and item != counts:
                    axis.attach_scale(counts)

    file.visititems(attach)


def links(file: Any) -> Iterator[tuple[str, Any]]:
    """Every link in the file with its path. Raises `ValueError` for a group with two links: it may have no end."""
    import h5py
    from h5py import h5o  # pyright: ignore[reportAttributeAccessIssue]

    waiting, seen = [("", file)], set()
    while waiting:
        prefix, group = waiting.pop()
        address = h5o.get_info(group.id).addr
        if address in seen:
            raise ValueError(f"{prefix} is linked twice")
        seen.add(address)
        for name in group:
            link = group.get(name, getlink=True)
            yield f"{prefix}{name}", link
            if isinstance(link, h5py.HardLink) and isinstance(group[name], h5py.Group):
                waiting.append((f"{prefix}{name}/", group[name]))
