"""Small mails in the form of the processed Enron data, and quick attacks on them."""

import numpy as np
import scipy.io
import scipy.sparse as sp

from poisoncli.runs import defaults
from poisoncli.runs.description import Choice, Run

FILTERS = defaults.all_defenses("binary")
SMALL = {"repeats": (1, 5), "quantiles": (0.2, 0.4)}
QUICK = {
    "kkt": {**SMALL, "splits": 3},
    "minmax": {**SMALL, "burn_in": 0.5},
    "minmax-basic": {"burn_in": 0.5},
    "influence": {"starts": 1, "steps": 6},
    "influence-basic": {"steps": 3},
    "alfa": {},
}


def small(name, **changes):
    options = {**QUICK[name], **changes.pop("options", {})}
    return Run(dataset="enron", model="svm", lambda_=0.05, fraction=0.05, attack=Choice(name, options), **changes)  # type: ignore[arg-type]


def write(path, x, y):
    if path.suffix == ".npz":
        np.savez(path, x=x, y=y)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"X": sp.csr_matrix(x), "y": y[:, None]})
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            file["x"], file["y"] = x, y
    else:
        header = ",".join([*(f"w{i}" for i in range(x.shape[1])), "y"])
        np.savetxt(path, np.column_stack([x, y]), delimiter=",", header=header, comments="")
    return str(path)
