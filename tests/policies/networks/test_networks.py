import copy
import json
from dataclasses import asdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from segue.errors import SpecError, UnknownNameError
from segue.policies.networks import (
    NETWORKS,
    Network,
    build_network,
    network_config,
)
from segue.policies.networks.features import SinCos, Sizes, position_time
from segue.strategies.flow import interpolant, source

SMALL = {
    "mlp": {"width": 32, "depth": 2},
    "mixer": {"width": 16, "depth": 2, "token_width": 8, "channel_width": 32},
    "unet": {"width": 16, "levels": 2, "condition_width": 16},
    "transformer": {"width": 16, "depth": 2, "heads": 2},
}
CONTEXT = 5
Inputs = tuple[Tensor, Tensor, Tensor, Tensor]

every_network = pytest.mark.parametrize("name", sorted(NETWORKS))


def inputs(batch: int, horizon: int, action: int) -> Inputs:
    w = torch.rand(batch, horizon)
    w[:, 0], w[:, -1] = 1, 0
    return torch.randn(batch, horizon, action), torch.rand(batch), w, torch.randn(batch, CONTEXT)


def small(name: str, horizon: int = 8, action: int = 3):
    """A small network that no zero-initialised layer hides: all parameters are moved, but for the weights' input."""
    network = build_network(name, SMALL[name], horizon=horizon, action=action, context=CONTEXT)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if not key.startswith("weights_input"):
                parameter.add_(0.2 * torch.randn(parameter.shape))
    return network


def with_random_weights_input(network: nn.Module) -> nn.Module:
    moved = copy.deepcopy(network)
    nn.init.normal_(moved.get_parameter("weights_input.weight"))
    return moved


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@every_network
@pytest.mark.parametrize(("batch", "horizon", "action"), [(1, 2, 1), (3, 8, 3), (2, 32, 28)])
def test_output_has_the_shape_of_the_chunk(name: str, batch: int, horizon: int, action: int) -> None:
    network: Network = small(name, horizon, action)
    output = network.forward(*inputs(batch, horizon, action))
    assert output.shape == (batch, horizon, action)
    assert output.isfinite().all()


@every_network
def test_without_weights_it_is_the_plain_network_bit_for_bit(name: str) -> None:
    plain = small(name)
    scheduled = with_random_weights_input(plain)
    x, t, w, context = inputs(4, 8, 3)
    assert torch.equal(scheduled(x, t, torch.zeros_like(w), context), plain(x, t, torch.zeros_like(w), context))
    assert not torch.allclose(scheduled(x, t, w, context), plain(x, t, w, context))


@every_network
def test_weights_input_starts_at_zero_without_bias(name: str) -> None:
    network = build_network(name, SMALL[name], horizon=8, action=3, context=CONTEXT)
    parameters = dict(network.weights_input.named_parameters())
    assert parameters.keys() == {"weight"}
    assert not parameters["weight"].any()


@every_network
def test_fresh_weights_input_leaves_only_the_time_of_a_position(name: str) -> None:
    network = small(name)
    x, t, w, context = inputs(4, 8, 3)
    end = torch.ones_like(t)  # where every position's time is 1, whatever its weight
    assert torch.equal(network(x, end, w, context), network(x, end, torch.zeros_like(w), context))
    assert not torch.allclose(network(x, t, w, context), network(x, t, torch.zeros_like(w), context))


@pytest.mark.parametrize("name", ["mlp", "mixer", "transformer"])
def test_equal_weights_are_a_later_flow_time(name: str) -> None:
    network = small(name)
    x, t, w, context = inputs(4, 8, 3)
    half, three_quarters = torch.full_like(t, 0.5), torch.full_like(t, 0.75)
    ramped = network(x, half, torch.full_like(w, 0.5), context)
    assert torch.equal(ramped, network(x, three_quarters, torch.zeros_like(w), context))


@every_network
def test_gradient_of_flow_state_equals_finite_differences(name: str) -> None:
    network = with_random_weights_input(small(name, 4, 2)).double()
    x, t, w, context = (tensor.double() for tensor in inputs(2, 4, 2))
    assert torch.autograd.gradcheck(lambda x: network(x, t, w, context), x.requires_grad_())


@every_network
def test_functional_vjp_equals_autograd(name: str) -> None:
    network = small(name).double()
    x, t, w, context = (tensor.double() for tensor in inputs(2, 8, 3))
    cotangent = torch.randn_like(x)
    pull_back = torch.func.vjp(lambda x: network(x, t, w, context), x)[1]
    x.requires_grad_()
    (expected,) = torch.autograd.grad(network(x, t, w, context), x, cotangent)
    torch.testing.assert_close(pull_back(cotangent)[0], expected)


@every_network
def test_every_parameter_learns(name: str) -> None:
    network = small(name)
    network(*inputs(4, 8, 3)).square().mean().backward()
    silent = [
        key for key, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert silent == []


@every_network
def test_batch_order_does_not_matter(name: str) -> None:
    network = with_random_weights_input(small(name)).double()
    values = tuple(tensor.double() for tensor in inputs(5, 8, 3))
    order = torch.tensor([3, 0, 4, 1, 2])
    permuted = network(*(tensor[order] for tensor in values))
    torch.testing.assert_close(permuted, network(*values)[order], rtol=1e-10, atol=1e-10)


@every_network
def test_precision_and_device_are_the_caller_s(name: str) -> None:
    network = small(name)
    values = inputs(2, 8, 3)
    single = network(*values)
    double = copy.deepcopy(network).double()(*(tensor.double() for tensor in values))
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        half = network(*values)
    assert (half.float() - single).norm() < 0.1 * single.norm()
    assert copy.deepcopy(network).to("meta")(*(tensor.to("meta") for tensor in values)).device.type == "meta"


@every_network
def test_overfits_a_tiny_batch(name: str) -> None:
    network = build_network(name, SMALL[name], horizon=8, action=3, context=CONTEXT)
    values, target = inputs(4, 8, 3), torch.randn(4, 8, 3)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(100):
        loss = (network(*values) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10


@every_network
def test_initialisation_comes_from_the_global_generator(name: str) -> None:
    def build(seed: int) -> Tensor:
        torch.manual_seed(seed)
        network = build_network(name, SMALL[name], horizon=8, action=3, context=CONTEXT)
        return torch.nn.utils.parameters_to_vector(network.parameters())

    assert torch.equal(build(1), build(1))
    assert not torch.equal(build(1), build(2))


@every_network
def test_config_survives_json(name: str) -> None:
    config = network_config(name, SMALL[name])
    again = network_config(name, json.loads(json.dumps(asdict(config))))
    assert again == config
    assert config != network_config(name)
    sizes = Sizes(8, 3, CONTEXT, 3)
    network = NETWORKS[name][1](again, sizes)
    network.load_state_dict(NETWORKS[name][1](config, sizes).state_dict())


@every_network
@pytest.mark.parametrize("wrong", range(4))
def test_inputs_of_other_sizes_are_refused(name: str, wrong: int) -> None:
    network = small(name)
    values = list(inputs(2, 8, 3))
    values[wrong] = torch.zeros(*values[wrong].shape[:-1], values[wrong].shape[-1] + 1)
    with pytest.raises(SpecError):
        network(*values)


def test_unknown_names_and_settings_teach() -> None:
    with pytest.raises(UnknownNameError, match="transformer"):
        network_config("transfomer")
    with pytest.raises(SpecError, match="did you mean 'width'"):
        network_config("mlp", {"witdh": 64})
    for value in (0, -1, 2.0, True, "64"):
        with pytest.raises(SpecError, match="width"):
            network_config("mlp", {"width": value})


def test_sizes_that_make_no_network_are_refused() -> None:
    with pytest.raises(SpecError, match="12, or set levels to 2"):
        build_network("unet", {"levels": 3}, horizon=10, action=2, context=CONTEXT)
    with pytest.raises(SpecError, match="set width to 16"):
        build_network("unet", {"width": 12}, horizon=8, action=2, context=CONTEXT)
    with pytest.raises(SpecError, match="set width to 32"):
        build_network("transformer", {"width": 30, "heads": 4}, horizon=8, action=2, context=CONTEXT)
    with pytest.raises(SpecError, match="even"):
        build_network("mixer", {"width": 15}, horizon=8, action=2, context=CONTEXT)
    with pytest.raises(SpecError, match="horizon 0"):
        build_network("mlp", horizon=0, action=2, context=CONTEXT)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_unet_takes_the_smallest_horizon_of_its_levels(levels: int) -> None:
    horizon = 2 ** (levels - 1)
    settings = {"width": 8, "levels": levels, "condition_width": 8}
    network = build_network("unet", settings, horizon=horizon, action=2, context=CONTEXT)
    assert network(*inputs(2, horizon, 2)).shape == (2, horizon, 2)


def test_transformer_knows_order_only_from_its_positions() -> None:
    network = small("transformer").double()
    x, t, w, context = (tensor.double() for tensor in inputs(2, 8, 3))
    order = torch.randperm(8)
    aware = network(x, t, w, context)[:, order]
    assert not torch.allclose(network(x[:, order], t, w[:, order], context), aware)
    nn.init.zeros_(network.get_parameter("positions"))
    blind = network(x, t, w, context)[:, order]
    torch.testing.assert_close(network(x[:, order], t, w[:, order], context), blind)


@given(t=st.floats(0, 1), w=st.floats(0, 1))
def test_position_time_is_the_interpolant_s_own_time(t: float, w: float) -> None:
    noise, actions = torch.randn(2, 1, 1, 3, dtype=torch.float64)
    weights, time = torch.tensor([[w]], dtype=torch.float64), torch.tensor([t], dtype=torch.float64)
    tau = position_time(time, weights)[..., None]
    seen = interpolant(actions, source(noise, weights, actions), time)
    torch.testing.assert_close(seen, (1 - tau) * noise + tau * actions)
    assert torch.equal(position_time(time, torch.zeros_like(weights)), time[:, None])


def test_sines_and_cosines_lie_on_the_circle_and_tell_times_apart() -> None:
    features = SinCos(16)(torch.linspace(0, 1, 101))
    torch.testing.assert_close(features[:, :8].square() + features[:, 8:].square(), torch.ones(101, 8))
    distance = torch.cdist(features, features) + torch.diag(torch.full((101,), torch.inf))
    assert distance.min() > 0.1
