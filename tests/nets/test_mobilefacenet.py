import torch

from crossface.nets import create_model


def _by_hand(width, embedding, last=512):
    """Table 1 of arXiv:1804.07573, layer by layer."""
    conv_unit = lambda i, o, k, groups=1: i // groups * o * k * k + 2 * o + o  # noqa: E731
    linear_unit = lambda i, o, k, groups=1: i // groups * o * k * k + 2 * o  # noqa: E731
    c64, c128 = int(64 * width), int(128 * width)
    total = conv_unit(3, c64, 3) + conv_unit(c64, c64, 3, c64)
    inputs = c64
    for t, c, n in ((2, c64, 5), (4, c128, 1), (2, c128, 6), (4, c128, 1), (2, c128, 2)):
        for _ in range(n):
            middle = t * inputs
            total += conv_unit(inputs, middle, 1) + conv_unit(middle, middle, 3, middle)
            total += linear_unit(middle, c, 1)
            inputs = c
    total += conv_unit(inputs, last, 1) + linear_unit(last, last, 7, last)
    return total + last * embedding + 2 * embedding


def test_parameters_are_those_of_the_papers_table():
    for width, embedding in ((1.0, 512), (1.0, 128), (0.5, 512)):
        net = create_model("mobilefacenet", width=width, embedding_dim=embedding)
        assert sum(p.numel() for p in net.parameters()) == _by_hand(width, embedding)
    assert _by_hand(0.5, 512) == 549_056
    assert 0.985e6 < _by_hand(1.0, 128) < 1.005e6  # the paper: 0.99 M


def test_width_leaves_the_last_stage_alone():
    net = create_model("mobilefacenet", width=0.5)
    assert (net.feature_dim, net.embedding_dim, net.grid_hw) == (512, 512, (7, 7))


def test_channels_last_changes_nothing_and_stays():
    torch.manual_seed(0)
    net = create_model("mobilefacenet", width=0.5).eval()
    faces = torch.rand(2, 3, 112, 112) * 2 - 1
    with torch.no_grad():
        plain = net(faces)
        net.to(memory_format=torch.channels_last)
        faces = faces.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(net(faces), plain, rtol=1e-4, atol=1e-5)
        last = net.last(net.blocks(net.stem(faces)))
    assert last.is_contiguous(memory_format=torch.channels_last)
