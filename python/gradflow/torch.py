"""The training operator of a PyTorch network, and when to stop training it.

    H = gradflow.torch.jacobian_operator(model, X)
    gradflow.score_test(H, y, f0=H.output)            is training this network on these data warranted?
    gradflow.stopping_time(H, y, f0=H.output, learning_rate=0.01, loss="mse", no_intercept=True)

    stopper = gradflow.torch.REMLStopper(model, X, y, learning_rate=0.01)
    while not stopper.done():
        ...                                           one full-batch step
        stopper.step()

Of squared-error regression with one output, trained by full-batch gradient descent with a small learning
rate.
Needs torch 1.13 or newer; importing gradflow does not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from gradflow._functions import stopping_time
from gradflow._warnings import warn

__all__ = ["JacobianOperator", "REMLStopper", "jacobian_operator"]


class JacobianOperator:
    """H = J J'/n of a network with one output, J (n x P) its Jacobian at the weights as they are now.

    Has scipy's LinearOperator interface (shape, dtype, matvec, matmat, @) with numpy arrays, `diagonal`, and
    `matrix`. Rows are taken in batches; J is never kept except by `matrix`, and there in row blocks.

    Attributes
    ----------
    output : array of shape (n,), the network's outputs at these weights.
    parameters : int, P.
    """

    def __init__(self, model: torch.nn.Module, X: Any, batch_size: int = 256):
        self.model = model
        self.X = X if isinstance(X, torch.Tensor) else torch.as_tensor(np.asarray(X))
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        if not self._parameters:
            raise ValueError("the model has no parameter that requires a gradient")
        first = self._parameters[0]
        if self.X.is_floating_point():
            self.X = self.X.to(first.dtype)
        self.X = self.X.to(first.device)
        if batch_size < 1:
            raise ValueError(f"batch_size = {batch_size}: must be >= 1")
        self.batch_size = int(batch_size)
        self.dtype = np.dtype(np.float64)
        self.parameters = sum(p.numel() for p in self._parameters)
        self._was_training = model.training
        self.output = self._output()
        self.shape = (len(self.output), len(self.output))

    def _batches(self):
        for begin in range(0, len(self.X), self.batch_size):
            yield slice(begin, min(begin + self.batch_size, len(self.X)))

    def _forward(self, rows):
        """Outputs of a batch, one number a row, in the mode of use: no dropout, batch norms as they are."""
        mode = self.model.training
        self.model.eval()
        try:
            output = self.model(self.X[rows])
        finally:
            self.model.train(mode)
        count = rows.stop - rows.start
        if output.numel() != count:
            raise ValueError(
                f"the model's output for {count} rows has shape {tuple(output.shape)}: must be one "
                "number a row"
            )
        return output.reshape(count)

    def _output(self):
        with torch.no_grad():
            parts = [self._forward(rows) for rows in self._batches()]
        return torch.cat(parts).double().cpu().numpy()

    def _flat(self, gradients, lead=()):
        """Gradients of every parameter side by side; a parameter the output does not read has zeros."""
        flat = [
            (
                torch.zeros(*lead, p.numel(), dtype=p.dtype, device=p.device)
                if g is None
                else g.reshape(*lead, p.numel())
            )
            for g, p in zip(gradients, self._parameters)
        ]
        return torch.cat(flat, dim=-1)

    def _jacobian(self, rows):
        """J of a batch, count x P: a backward sweep for every row, all at once where autograd can."""
        output = self._forward(rows)
        count = len(output)
        unit = torch.eye(count, dtype=output.dtype, device=output.device)
        return self._pull_back(output, unit)

    def _pull_back(self, output, cotangents):
        """cotangents (b x count) times J, b x P."""
        try:
            gradients = torch.autograd.grad(
                output,
                self._parameters,
                cotangents,
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=True,
            )
            return self._flat(gradients, (len(cotangents),))
        except RuntimeError:  # an operation of the model that torch cannot batch
            each = [
                self._flat(
                    torch.autograd.grad(output, self._parameters, c, retain_graph=True, allow_unused=True)
                )
                for c in cotangents
            ]
            return torch.stack(each)

    def _push_forward(self, rows, tangents):
        """J of a batch times tangents (P x b): the derivative of J'c, which is linear in c, by c."""
        output = self._forward(rows)
        dummy = torch.zeros_like(output, requires_grad=True)
        gradients = torch.autograd.grad(output, self._parameters, dummy, create_graph=True, allow_unused=True)
        flat = self._flat(gradients)
        columns = [
            torch.autograd.grad(flat, dummy, tangents[:, j], retain_graph=True)[0]
            for j in range(tangents.shape[1])
        ]
        return torch.stack(columns, dim=1)

    def matmat(self, block: Any) -> np.ndarray:
        """H times n x b columns: J'V over the batches, then J of that. Two sweeps over the data."""
        block = np.asarray(block, dtype=np.float64)
        if block.ndim != 2 or len(block) != self.shape[0]:
            raise ValueError(f"a block of shape {block.shape}: must be ({self.shape[0]}, b)")
        first = self._parameters[0]
        columns = torch.as_tensor(np.ascontiguousarray(block)).to(device=first.device, dtype=first.dtype)
        pulled = torch.zeros(self.parameters, block.shape[1], dtype=first.dtype, device=first.device)
        for rows in self._batches():
            output = self._forward(rows)
            pulled += self._pull_back(output, columns[rows].T.contiguous()).T
        pushed = [self._push_forward(rows, pulled).detach() for rows in self._batches()]
        return torch.cat(pushed).double().cpu().numpy() / self.shape[0]

    def matvec(self, vector: Any) -> np.ndarray:
        vector = np.asarray(vector)
        return self.matmat(vector.reshape(-1, 1)).reshape(vector.shape)

    def __matmul__(self, other):
        return self.matvec(other) if np.ndim(other) == 1 else self.matmat(other)

    def diagonal(self) -> np.ndarray:
        """Of H: the squared norms of the rows of J, over n."""
        parts = [self._jacobian(rows).double().square().sum(dim=1) for rows in self._batches()]
        return torch.cat(parts).cpu().numpy() / self.shape[0]

    def matrix(self) -> np.ndarray:
        """H, n x n, its sums in float64. J is kept where it takes less than a gigabyte, else made again."""
        n = self.shape[0]
        keep = n * self.parameters * 8 <= 10**9
        kept = {rows.start: self._jacobian(rows).double() for rows in self._batches()} if keep else {}
        H = np.empty((n, n))
        for left in self._batches():
            one = kept.get(left.start)
            one = self._jacobian(left).double() if one is None else one
            for right in self._batches():
                if right.start > left.start:
                    break
                other = one if right == left else kept.get(right.start)
                other = self._jacobian(right).double() if other is None else other
                product = (one @ other.T).cpu().numpy() / n
                H[left, right] = product
                H[right, left] = product.T
        return H


def jacobian_operator(model: torch.nn.Module, X: Any, batch_size: int = 256) -> JacobianOperator:
    """The training operator H = J J'/n of a torch.nn.Module with one output at the rows of X.

    At the weights as they are, in eval mode; matrix-free, in batches, by autograd. Give it to
    `gradflow.score_test`, `stopping_time` and `spectrum`, with f0=operator.output.

    Parameters
    ----------
    model : torch.nn.Module, one number a row.
    X : tensor or array of shape (n, ...), moved to the parameters' type and device.
    batch_size : int, rows at once.
    """
    return JacobianOperator(model, X, batch_size)


class REMLStopper:
    """How many full-batch steps to train, from the data and the untrained network: no validation set.

    The time is that of `gradflow.stopping_time` at the model's weights as they are when this is made, so make
    it before training. It is the time of the network linearised there: right for wide networks and small
    learning rates, an approximation for others.

    Parameters
    ----------
    model : torch.nn.Module, one number a row.
    X, y : tensors or arrays, all the training rows.
    learning_rate : float, of plain gradient descent on the full batch. For batches of b rows with rate r it
        is r for each step: an epoch is n/b steps.
    loss : {"mse", "half-mse"}, default "mse" (torch.nn.MSELoss)
    intercept : bool, default False. True where a constant is fitted beside the network, as in y - y.mean().
    batch_size : int, rows at once when the operator is applied.
    options : further ones of `gradflow.stopping_time`, as rule="reml-flow".

    Attributes
    ----------
    steps : int, how many; 0 where training is not warranted.
    time, interval, steps_interval : of the rule; steps_interval in steps.
    pvalue : of "training is not warranted".
    largest_learning_rate : from which on plain gradient descent diverges.
    result : the StoppingTime, with every rule.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        X: Any,
        y: Any,
        learning_rate: float,
        loss: str = "mse",
        intercept: bool = False,
        batch_size: int = 256,
        **options: Any,
    ):
        operator = jacobian_operator(model, X, batch_size)
        response = y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
        self.result = stopping_time(
            operator,
            response.astype(np.float64).reshape(-1),
            f0=operator.output,
            learning_rate=learning_rate,
            loss=loss,
            no_intercept=not intercept,
            **options,
        )
        self.time, self.interval, self.pvalue = (
            self.result.time,
            self.result.interval,
            self.result.test.pvalue,
        )
        if not math.isfinite(self.result.steps):
            raise ValueError(
                f"rule {self.result.rule} gave no finite time ({self.result.reason}); "
                "rule='reml-flow' or 'gcv' may"
            )
        factor = (2.0 if loss == "mse" else 1.0) * learning_rate
        self.largest_learning_rate = 2.0 * learning_rate / (factor * float(np.max(self.result.eigenvalues)))
        if learning_rate >= self.largest_learning_rate:
            warn(
                [
                    f"learning_rate = {learning_rate:g}: gradient descent diverges from about "
                    f"{self.largest_learning_rate:.3g} on; take a tenth of that."
                ]
            )
        self.steps_interval = tuple(time / factor for time in self.interval)
        self.steps = round(self.result.steps)
        self.taken = 0

    def step(self, count: int = 1) -> bool:
        """Says that steps were taken; True when it is time to stop."""
        self.taken += count
        return self.done()

    def done(self) -> bool:
        """Whether the time has come."""
        return self.taken >= self.steps

    def remaining(self) -> int:
        """Steps still to take."""
        return max(0, self.steps - self.taken)

    def __repr__(self):
        return (
            f"REMLStopper(steps={self.steps}, taken={self.taken}, time={self.time:.6g}, "
            f"pvalue={self.pvalue:.3g})"
        )
