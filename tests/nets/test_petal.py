"""PETALface against plain networks whose weights hold the adapters, one picture at a time."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from crossface.nets import create_model
from crossface.nets.checkpoint import model_digest
from crossface.nets.petal import PetalFace, sharpness_score
from crossface.nets.vit import Vit
from crossface.pipeline.quality import HALF_SHARP, laplacian_variance, to_grey
from crossface.training.ema import WeightAverage
from face_files import pattern

DIM = 16


def swin():
    return create_model("swin_micro", embedding_dim=DIM)


def vit():
    return Vit(dim=32, depth=3, heads=4, patch_px=16, embedding_dim=DIM)


def shifted_swin():
    """Two stages, windows that are shifted and grids that are padded."""
    from crossface.nets.swin import Swin

    return Swin(patch_px=8, embed_dim=24, depths=(2, 2), heads=(2, 4), window=4, drop_path=0.3,
                embedding_dim=DIM)  # fmt: skip


NETS = [swin, vit, shifted_swin]


def faces(count=4, seed=0):
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def base(make):
    torch.manual_seed(0)
    net = make()
    with torch.no_grad():
        net.train()(faces(8, seed=9))
    return net.eval()


def by_place(images):
    """A score in the hands of the test: 0.2, 0.4, ... by the place in the batch."""
    return torch.arange(1, len(images) + 1) * 0.2


def adapted(net, **options):
    """An adapted copy with adapters that say something."""
    made = PetalFace(copy.deepcopy(net), rank=3, scale=0.7, **options)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for adapter in made.adapters:
            adapter.up.weight.normal_(0, 0.3, generator=generator)
    return made


def merged(net, petal, alpha):
    """The plain network with every adapter written into its weights for one alpha."""
    plain = copy.deepcopy(net)
    names = dict(plain.named_modules())
    for name, module in petal.net.named_modules():
        if not hasattr(module, "linear"):
            continue
        target = names[name]
        if hasattr(module, "only"):
            parts = [(1.0, module.only)]
        else:
            parts = [(1 - alpha, module.low), (alpha, module.high)]
        with torch.no_grad():
            for weight, part in parts:
                target.weight.add_(weight * 0.7 * part.up.weight @ part.down.weight)
    return plain


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("threshold", [0.5, 0.1, 0.9])
def test_each_picture_is_embedded_as_by_a_network_with_its_own_merged_weights(make, threshold):
    net, x = base(make), faces()
    petal = adapted(net, threshold=threshold, score=by_place).eval()
    with torch.no_grad():
        got = petal(x)
        for n in range(len(x)):
            alpha = min(max(0.5 + 0.2 * (n + 1) - threshold, 0.0), 1.0)
            expected = merged(net, petal, alpha)(x[n : n + 1])
            torch.testing.assert_close(got[n : n + 1], expected, rtol=1e-4, atol=1e-4)
        assert (got - net(x)).abs().max() > 0.01


@pytest.mark.parametrize("make", NETS)
def test_a_fresh_one_is_the_frozen_network_even_while_training(make):
    net, x = base(make), faces()
    petal = PetalFace(copy.deepcopy(net)).train()
    with torch.no_grad():
        torch.testing.assert_close(petal(x), net(x), rtol=0, atol=0)


@pytest.mark.parametrize("make", NETS)
def test_only_the_adapters_learn_and_the_loss_falls(make):
    net, x = base(make), faces()
    petal = PetalFace(copy.deepcopy(net))
    learning = [p for p in petal.parameters() if p.requires_grad]
    assert {id(p) for p in learning} == {id(p) for a in petal.adapters for p in a.parameters()}
    optimizer = torch.optim.AdamW(learning, lr=1e-2)
    target = torch.randn(4, DIM, generator=torch.Generator().manual_seed(5))
    history = []
    for _ in range(10):
        loss = (1 - nn.functional.cosine_similarity(petal.train()(x), target)).mean()
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in learning)
        optimizer.step()
        history.append(float(loss.detach()))
    assert history[-1] < history[0]
    for adapter in petal.adapters:  # taken away again, what is left is what came
        nn.init.zeros_(adapter.up.weight)
    with torch.no_grad():
        torch.testing.assert_close(petal.eval()(x), net(x), rtol=0, atol=0)


def test_poor_pictures_teach_one_adapter_and_good_ones_the_other():
    net, x = base(swin), faces(2)
    for score, silent in ((0.0, "high"), (1.0, "low")):
        petal = PetalFace(copy.deepcopy(net), score=lambda images, s=score: torch.full((2,), s))
        petal(x).square().sum().backward()
        for module in petal.net.modules():
            if hasattr(module, "blend"):
                spoken = module.low if silent == "high" else module.high
                assert getattr(module, silent).up.weight.grad.eq(0).all()
                assert spoken.up.weight.grad.abs().sum() > 0


def test_the_score_is_the_sharpness_of_the_pipeline():
    crops = np.stack([pattern(n) for n in range(4)] + [np.full((112, 112, 3), 90, np.uint8)])
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).double() / 127.5 - 1
    expected = []
    for crop in crops:
        v = laplacian_variance(to_grey(crop)[28:108, 18:94])
        expected.append(v / (v + HALF_SHARP))
    assert sharpness_score(images).tolist() == pytest.approx(expected, rel=1e-9)
    blurred = nn.functional.avg_pool2d(images, 5, 1, 2)
    assert (sharpness_score(blurred)[:4] < sharpness_score(images)[:4]).all()


def test_as_few_parameters_learn_as_the_ranks_say():
    with torch.device("meta"):
        petal = PetalFace(create_model("swin_s"))
    learning = sum(p.numel() for p in petal.parameters() if p.requires_grad)
    blocks = sum(n * c for n, c in ((2, 96), (2, 192), (18, 384), (2, 768)))
    assert learning == 2 * 8 * (1 + 3) * blocks + 8 * (25 * 768 + 768)
    share = learning / sum(p.numel() for p in petal.parameters())
    assert 0.01 < share < 0.02


def test_a_copy_blends_by_itself():
    petal = adapted(base(swin), score=by_place).eval()
    average = WeightAverage(petal, 0.5)
    assert average.net.blend is not petal.blend
    assert all(m.blend is average.net.blend for m in average.net.net.modules() if hasattr(m, "low"))
    with torch.no_grad():
        torch.testing.assert_close(average.net(faces()), petal(faces()))
    average.update(petal)
    assert model_digest(average.net) == model_digest(petal)


def test_it_is_finite_under_autocast():
    petal, x = adapted(base(swin)).train(), faces()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = petal(x)
    out.float().square().sum().backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for a in petal.adapters for p in a.parameters())


def test_what_cannot_be_adapted_is_refused():
    with pytest.raises(TypeError, match="a Swin or a ViT of ours, got MobileFaceNet"):
        PetalFace(create_model("mobilefacenet", width=0.1))
    with pytest.raises(ValueError, match="rank must be at least 1"):
        PetalFace(swin(), rank=0)
    with pytest.raises(RuntimeError, match="inside PetalFace's forward only"):
        PetalFace(swin()).net(faces(1))
