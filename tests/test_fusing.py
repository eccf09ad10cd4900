"""Fewer passes over the maps of a network give the same numbers."""

import pytest

from datasette_imgsim.models import fusing


class Parts:
    """Networks whose parts stand in an order; `forward` may use them in another."""

    @staticmethod
    def make(straight, dtype="float32"):
        import torch

        class Network(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = torch.nn.Conv2d(3, 3, 3)
                self.norm = torch.nn.BatchNorm2d(3)
                self.act = torch.nn.ReLU()
                self.other = torch.nn.Conv2d(3, 4, 3)
                self.other_norm = torch.nn.BatchNorm2d(5)
                self.last = torch.nn.Conv2d(3, 4, 3)
                self.six = torch.nn.ReLU6()

            def forward(self, pixels):
                if straight:
                    return [self.six(self.last(self.act(self.norm(self.conv(pixels)))))]
                return [self.last(self.conv(self.norm(self.six(self.act(pixels)))))]

        torch.manual_seed(0)
        module = Network().eval()
        module.norm.running_var.uniform_(0.5, 2)
        module.norm.running_mean.normal_()
        return module.to(getattr(torch, dtype))


@pytest.mark.parametrize("straight", [True, False])
def test_fewer_passes_give_the_same_numbers(straight):
    import torch

    module, same = Parts.make(straight), Parts.make(straight)
    fusing.fold_batch_norms(module, 16)
    assert isinstance(module.norm, torch.nn.BatchNorm2d) is not straight
    fusing.fuse_activations(module, 16, "float32")
    assert isinstance(module.six, torch.nn.Identity) is straight
    pixels = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(module(pixels)[0], same(pixels)[0], rtol=1e-4, atol=1e-4)


def test_without_the_operator_of_torch_all_is_as_it_was(monkeypatch):
    import torch

    module = Parts.make(True)
    monkeypatch.delattr(torch.ops.mkldnn, "_convolution_pointwise")
    monkeypatch.setattr(type(torch.ops.mkldnn), "__getattr__", missing_operator)
    fusing.fuse_activations(module, 16, "float32")
    assert isinstance(module.six, torch.nn.ReLU6)


def missing_operator(namespace, name):
    raise AttributeError(name)


class TestPaddings:
    """Convolutions as TensorFlow pads them: the odd pixel is at the right and at the bottom."""

    CASES = [(3, 2, 16), (3, 2, 15), (5, 2, 16), (5, 2, 15), (3, 1, 16), (5, 3, 17), (1, 2, 16)]

    @pytest.mark.parametrize("kernel,stride,size", CASES)
    @pytest.mark.parametrize("groups", [1, 3])
    def test_the_numbers_stay_the_same(self, kernel, stride, size, groups):
        import torch
        from timm.layers import Conv2dSame

        torch.manual_seed(0)
        conv = Conv2dSame(3, 6, kernel, stride, groups=groups)
        module = torch.nn.Sequential(conv)
        pixels = torch.randn(2, 3, size, size)
        with torch.inference_mode():
            expected = module(pixels)
        fusing.fold_paddings(module.eval(), size)
        assert type(module[0]) is torch.nn.Conv2d
        with torch.inference_mode():
            torch.testing.assert_close(module(pixels), expected, rtol=1e-4, atol=1e-5)

    def test_the_bundled_network_has_none_left(self):
        import torch
        from timm.layers import Conv2dSame

        from datasette_imgsim.models import registry
        from datasette_imgsim.models.network import Network

        model = registry.get("efficientnet-lite")
        network = Network(model, ["stage3"], "avg", model.description.normalise, 96)
        parts = [type(part) for part in network.runner.module.modules()]
        assert torch.nn.Conv2d in parts and Conv2dSame not in parts
