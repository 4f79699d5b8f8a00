"""The same unrolled hypergradient in plain PyTorch: what a user would write without this tool.

The plain form builds the training set from clean and poison rows in the loss, as code does that passes the poison
as a hyperparameter (hypertorch's `fp_map`), and writes a linear model as x @ w. The tuned form builds the set once,
ahead of the loop, and writes x @ w as a matrix product: the fastest that we found without leaving autograd.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from benchmarks.problem import Arrays


def hypergradient(
    arrays: Arrays, hidden: tuple[int, ...], rate: float, steps: int, tuned: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Validation loss, and its gradients for the free rows and log_lambda."""
    x, y, free_x, free_y, val_x, val_y = (torch.from_numpy(a) for a in arrays)
    free = free_x.clone().requires_grad_()
    log_lambda = torch.tensor(1.0, requires_grad=True)
    params = start(hidden, x.shape[1])
    labels, n = torch.cat([y, free_y]), len(y) + len(free_y)
    joined = torch.cat([x, free])
    for _ in range(steps):
        rows = joined if tuned else torch.cat([x, free])
        penalty = torch.exp(log_lambda) / n * 0.5 * sum((w**2).sum() for w in params[::2])
        loss = F.binary_cross_entropy_with_logits(network(params, rows, tuned), labels) + penalty
        grads = torch.autograd.grad(loss, params, create_graph=True)
        params = [p - rate * g for p, g in zip(params, grads, strict=True)]
    outer = F.binary_cross_entropy_with_logits(network(params, val_x, tuned), val_y)
    return outer.detach(), *torch.autograd.grad(outer, (free, log_lambda))


def start(hidden: tuple[int, ...], m: int) -> list[torch.Tensor]:
    """Zeros for a linear model, and else Xavier uniform weights and biases 0.01."""
    torch.manual_seed(0)
    params = []
    for inputs, outputs in zip((m, *hidden), (*hidden, 1), strict=True):
        weight = torch.zeros(outputs, inputs)
        params += [
            torch.nn.init.xavier_uniform_(weight) if hidden else weight,
            torch.full((outputs,), 0.01 * bool(hidden)),
        ]
    return [p.requires_grad_() for p in params]


def network(params: list[torch.Tensor], x: torch.Tensor, tuned: bool) -> torch.Tensor:
    """Logits of a linear model, or of a network with leaky ReLU."""
    if len(params) == 2 and not tuned:
        return x @ params[0][0] + params[1]
    for k in range(0, len(params) - 2, 2):
        x = F.leaky_relu(F.linear(x, params[k], params[k + 1]))
    return F.linear(x, params[-2], params[-1])[:, 0]
