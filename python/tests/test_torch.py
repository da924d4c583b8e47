"""A PyTorch network's operator against the fixtures, and the stopper against training itself."""

import json

import numpy as np
import pytest
from conftest import CASES, ORACLE, case_arrays

torch = pytest.importorskip("torch", reason="no torch here: the tests of gradflow.torch were left out")

import gradflow  # noqa: E402
import gradflow.torch  # noqa: E402


def network_of(arrays, layers, dtype):
    """The fixture's ReLU network as torch modules with its weights."""
    modules = []
    for layer in range(layers):
        weight, bias = arrays[f"W{layer}"], arrays[f"b{layer}"]
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0]).to(dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.as_tensor(weight))
            linear.bias.copy_(torch.as_tensor(bias))
        modules += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])


@pytest.fixture(params=CASES)
def case(request):
    arrays = case_arrays(request.param)
    return arrays, json.loads((ORACLE / request.param / "expected.json").read_text())


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
def test_the_fixtures_operator_p_and_time_come_out(case, dtype, tolerance):
    arrays, expected = case
    model = network_of(arrays, expected["layers"], getattr(torch, dtype))
    operator = gradflow.torch.jacobian_operator(model, arrays["X_train"], batch_size=64)
    H = arrays["H"]

    assert np.abs(operator.matrix() - H).max() <= tolerance * np.abs(H).max()
    assert np.abs(operator.diagonal() - np.diag(H)).max() <= tolerance * np.abs(H).max()
    np.testing.assert_allclose(operator.output, arrays["f0_train"], atol=max(tolerance, 1e-12))
    found = gradflow.stopping_time(operator, arrays["y_train"], f0=operator.output, paper=True)
    assert found.time == pytest.approx(expected["t_reml_bisect"], rel=tolerance, abs=1e-12)
    p = found.result["test"]["p_value_satterthwaite"]
    assert p == pytest.approx(expected["p_value_sf"], rel=tolerance)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
def test_products_are_those_of_the_matrix(case, dtype, tolerance):
    arrays, expected = case
    model = network_of(arrays, expected["layers"], getattr(torch, dtype))
    operator = gradflow.torch.jacobian_operator(model, arrays["X_train"], batch_size=77)
    block = np.random.default_rng(0).standard_normal((200, 3))

    expected_product = operator.matrix() @ block
    assert (
        np.abs(operator.matmat(block) - expected_product).max() <= tolerance * np.abs(expected_product).max()
    )
    np.testing.assert_allclose(operator @ block[:, 0], operator.matvec(block[:, 0]))


def test_the_krylov_engine_takes_the_operator_by_its_products():
    arrays = case_arrays("simple")
    model = network_of(
        arrays, json.loads((ORACLE / "simple" / "expected.json").read_text())["layers"], torch.float64
    )
    operator = gradflow.torch.jacobian_operator(model, arrays["X_train"])
    dense = gradflow.stopping_time(operator, arrays["y_train"], f0=operator.output, rule="reml-flow")
    krylov = gradflow.stopping_time(
        operator, arrays["y_train"], f0=operator.output, rule="reml-flow", engine="krylov", rules="chosen"
    )

    assert krylov.time == pytest.approx(dense.time, rel=1e-6)


def test_models_of_other_shapes_are_taken_or_refused():
    X = torch.randn(12, 1, 8, 8)
    convolution = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3),
        torch.nn.Tanh(),
        torch.nn.Dropout(),
        torch.nn.Flatten(),
        torch.nn.Linear(72, 1),
    )
    operator = gradflow.torch.jacobian_operator(convolution, X, batch_size=5)

    assert operator.shape == (12, 12) and convolution.training
    np.testing.assert_allclose(operator.matrix(), operator.matmat(np.eye(12)), atol=1e-4)
    with pytest.raises(ValueError, match="one number a row"):
        gradflow.torch.jacobian_operator(torch.nn.Linear(3, 2), torch.randn(5, 3))
    with pytest.raises(ValueError, match="requires a gradient"):
        gradflow.torch.jacobian_operator(torch.nn.Flatten(), torch.randn(5, 3))


def wide_network(inputs, width, seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, width), torch.nn.ReLU(), torch.nn.Linear(width, 1)
    ).double()


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
def test_training_for_the_stoppers_steps_follows_the_linearised_flow_and_beats_longer_training():
    random = np.random.default_rng(3)
    X, X_test = random.standard_normal((120, 4)), random.standard_normal((500, 4))
    truth, truth_test = np.sin(X[:, 0]) + X[:, 1], np.sin(X_test[:, 0]) + X_test[:, 1]
    y = truth + random.standard_normal(120)
    model = wide_network(4, 512)
    rate = 0.2 / np.linalg.eigvalsh(gradflow.torch.jacobian_operator(model, X).matrix())[-1]
    stopper = gradflow.torch.REMLStopper(model, X, y, learning_rate=rate)
    inputs, response = torch.as_tensor(X), torch.as_tensor(y)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)

    assert 0 < stopper.steps < 5000 and stopper.pvalue < 0.01
    assert stopper.steps == round(stopper.time / (2 * rate))
    operator = gradflow.torch.jacobian_operator(model, X)
    values, vectors = np.linalg.eigh(operator.matrix())
    residual = y - operator.output
    flow = operator.output + vectors @ ((1 - np.exp(-stopper.time * values)) * (vectors.T @ residual))

    def train(steps):
        for _ in range(steps):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(model(inputs).squeeze(1), response).backward()
            optimiser.step()
            stopper.step()

    def error():
        with torch.no_grad():
            return float(np.mean((model(torch.as_tensor(X_test)).squeeze(1).numpy() - truth_test) ** 2))

    untrained = error()
    while not stopper.done():
        train(1)
    at_stop = error()
    with torch.no_grad():
        trained = model(inputs).squeeze(1).numpy()
    assert stopper.remaining() == 0
    # Euler steps of 0.4 over the largest eigenvalue, and a network of width 512: a few percent.
    assert np.linalg.norm(trained - flow) < 0.05 * np.linalg.norm(flow - operator.output)
    train(20 * stopper.steps)
    assert at_stop < untrained and at_stop < error()


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
def test_noise_is_not_worth_many_steps():
    random = np.random.default_rng(8)
    stopper = gradflow.torch.REMLStopper(
        wide_network(4, 64),
        random.standard_normal((80, 4)),
        0.1 * random.standard_normal(80),
        learning_rate=0.01,
        rule="reml-flow",
    )
    assert "REMLStopper(steps=" in repr(stopper)
    assert np.isfinite(stopper.time)


@pytest.mark.filterwarnings("ignore:the|noise:gradflow.GradflowWarning")
def test_a_learning_rate_that_diverges_is_warned_of():
    random = np.random.default_rng(8)
    X = random.standard_normal((80, 4))
    with pytest.warns(gradflow.GradflowWarning, match="gradient descent diverges"):
        gradflow.torch.REMLStopper(wide_network(4, 64), X, X[:, 0], learning_rate=10.0)
