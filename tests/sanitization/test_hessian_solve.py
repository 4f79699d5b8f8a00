"""Inverse-Hessian-vector products against a dense solution."""

import numpy as np
import pytest

from poisoncli.sanitization import hessian_solve


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
