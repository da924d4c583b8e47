"""Seconds of full-batch training steps in PyTorch, for bench/training_step.cpp, which runs it.

    training_step.py ROWS FEATURES WIDTH STEPS THREADS

Half mean square loss, relu, two hidden layers, float32, SGD. Prints one JSON object: version, seconds of a step
(the median of STEPS, after two that are not counted).
"""

import json
import statistics
import sys
import time

import torch

rows, features, width, steps, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)
torch.manual_seed(1)
X, y = torch.randn(rows, features), torch.randn(rows, 1)
model = torch.nn.Sequential(torch.nn.Linear(features, width), torch.nn.ReLU(), torch.nn.Linear(width, width),
                            torch.nn.ReLU(), torch.nn.Linear(width, 1))
optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
seconds = []
for _ in range(steps + 2):
    start = time.perf_counter()
    optimiser.zero_grad()
    (0.5 * torch.nn.functional.mse_loss(model(X), y)).backward()
    optimiser.step()
    seconds.append(time.perf_counter() - start)
print(json.dumps({"version": torch.__version__, "seconds": statistics.median(seconds[2:])}))
