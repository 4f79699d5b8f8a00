"""Inverse-Hessian-vector products against a dense solution."""

import numpy as np
import pytest
import scipy.sparse as sp

from poisoncli.sanitization import hessian_solve
from poisoncli.training.multiclass import MulticlassLinear


@pytest.mark.parametrize("bias", ["free", "penalized"])
def test_inverse_hessian_direct_and_iterated_agree(bias, monkeypatch):
    rng = np.random.default_rng(0)
    x, bend, w = rng.normal(size=(40, 6)), rng.random(40), rng.normal(size=6)
    direct = hessian_solve.solve(x, bend, 0.3, w, 0.4, bias)
    monkeypatch.setattr(hessian_solve, "DIRECT", 0)
    iterated = hessian_solve.solve(x, bend, 0.3, w, 0.4, bias, tol=1e-12)
    ones = np.concatenate([x, np.ones((40, 1))], axis=1)
    hessian = ones.T @ (bend[:, None] * ones) / 40
    hessian += np.diag([0.3] * 6 + [0.3 if bias == "penalized" else 1e-6])
    expected = np.linalg.solve(hessian, np.append(w, 0.4))
    for found in (direct, iterated):
        np.testing.assert_allclose(np.append(*found), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_inverse_hessian_of_several_classes_direct_and_iterated_agree(kind, monkeypatch):
    rng = np.random.default_rng(0)
    x, right = rng.normal(size=(40, 4)), MulticlassLinear(rng.normal(size=(3, 4)), rng.normal(size=3))
    chance = rng.dirichlet(np.ones(3), 40)
    chance[:5] = np.eye(3)[0]  # rows that do not bend
    direct = hessian_solve.solve_multiclass(kind(x), chance, 2.5, 0.3, right)
    monkeypatch.setattr(hessian_solve, "DIRECT", 0)
    iterated = hessian_solve.solve_multiclass(kind(x), chance, 2.5, 0.3, right, tol=1e-12)
    ones = np.concatenate([x, np.ones((40, 1))], axis=1)
    hessian = 0.3 * np.eye(15)
    for row, p in zip(ones, chance, strict=True):
        hessian += 2.5 / 40 * np.kron(np.diag(p) - np.outer(p, p), np.outer(row, row))
    expected = np.linalg.solve(hessian, np.hstack([right.w, right.b[:, None]]).ravel()).reshape(3, 5)
    for found in (direct, iterated):
        np.testing.assert_allclose(np.hstack([found.w, found.b[:, None]]), expected, rtol=1e-6)
