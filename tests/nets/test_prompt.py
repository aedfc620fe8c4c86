import pytest
import torch

from crossface.nets.checkpoint import model_digest
from crossface.nets.prompt import PromptedSwin
from crossface.nets.swin import Swin


def make_swin():
    """Grids 14 (padded to 15, shifted), 7 (padded to 9, shifted)."""
    torch.manual_seed(0)
    return Swin(
        patch_px=8,
        embed_dim=8,
        depths=(2, 2),
        heads=(2, 2),
        window=3,
        drop_path=0.2,
        embedding_dim=16,
    )


def faces(count, seed=0):
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_prompts_of_the_last_stage_follow_the_image_tokens():
    net = PromptedSwin(make_swin(), prompts=5)
    embedding, features = net.forward_both(faces(2))
    assert features.tokens.shape == (2, 49 + 5, 16)
    assert (features.grid_hw, features.extra) == ((7, 7), 5)
    assert embedding.shape == (2, 16)
    assert [tuple(p.shape) for p in net.prompts] == [(5, 8), (5, 16)]


def test_without_prompts_it_is_the_network_itself():
    swin = make_swin().eval()
    with torch.no_grad():
        embedding, features = swin.forward_both(faces(3))
        prompted_embedding, prompted = PromptedSwin(swin, prompts=0).forward_both(faces(3))
    assert torch.equal(embedding, prompted_embedding)
    assert torch.equal(features.tokens, prompted.tokens)
    assert prompted.extra == 0


def test_an_image_does_not_see_the_other_images_of_its_batch():
    """VPT lays prompts out window by window: from the second block on, images would mix."""
    net = PromptedSwin(make_swin(), prompts=4)
    with torch.no_grad():
        for prompt in net.prompts:
            prompt.normal_(0, 2)
        embedding, features = net.forward_both(faces(2))
        other = torch.cat([faces(1), faces(1, seed=5)])
        other[0] = faces(2)[0]
        embedding_other, features_other = net.forward_both(other)
    torch.testing.assert_close(features.tokens[0], features_other.tokens[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(embedding[0], embedding_other[0], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(features.tokens[1], features_other.tokens[1], atol=1e-3)


def test_the_embedding_gives_a_gradient_to_the_prompts_of_every_stage_and_nothing_else():
    net = PromptedSwin(make_swin(), prompts=3).train()
    net(faces(2)).square().sum().backward()
    for prompt in net.prompts:
        assert bool((prompt.grad.abs().sum(1) > 0).all())
    assert all(p.grad is None for p in net.swin.parameters())
    learnable = [name for name, p in net.named_parameters() if p.requires_grad]
    assert learnable == ["prompts.0", "prompts.1"]


def test_the_backbone_is_bit_for_bit_the_same_after_a_step():
    net = PromptedSwin(make_swin(), prompts=3)
    net.train(True).requires_grad_(True)
    before = model_digest(net.swin)
    prompts = [p.detach().clone() for p in net.prompts]
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.5)
    embedding, features = net.forward_both(faces(4))
    (embedding.square().mean() + features.tokens.square().mean()).backward()
    optimiser.step()
    assert model_digest(net.swin) == before
    assert all(not torch.equal(old, new) for old, new in zip(prompts, net.prompts, strict=True))


def test_the_backbone_stays_in_eval_and_deterministic():
    net = PromptedSwin(make_swin(), prompts=2).train()
    assert net.training
    assert not any(module.training for module in net.swin.modules())
    with torch.no_grad():
        assert torch.equal(net(faces(2)), net(faces(2)))
    assert not net.requires_grad_(False).prompts[0].requires_grad


def test_prompts_steer_the_embedding():
    net = PromptedSwin(make_swin(), prompts=2)
    with torch.no_grad():
        before = net(faces(1))
        net.prompts[1].normal_()
        change = (net(faces(1)) - before).norm() / before.norm()
    assert change > 1e-4


def test_prompts_start_within_the_bound_of_visual_prompt_tuning():
    net = PromptedSwin(make_swin(), prompts=50)
    bound = (6 / (3 * 64 + 8)) ** 0.5
    for prompt in net.prompts:
        assert 0.9 * bound < float(prompt.detach().abs().max()) <= bound


def test_a_negative_number_of_prompts_is_refused():
    with pytest.raises(ValueError, match="0 or more, got -1"):
        PromptedSwin(make_swin(), prompts=-1)
