"""One backward pass an example: the definition that everything else is held against."""

import torch

from rnn.privacy.engine import accumulate_clipped

CLIP = 0.3


def flat_sum(model):
    """The collected clipped sum as one vector."""
    zero = torch.zeros
    sums = [
        zero(p.numel(), dtype=p.dtype) if p.summed_grad is None else p.summed_grad.flatten()
        for p in model.parameters()
        if p.requires_grad
    ]
    return torch.cat(sums)


def forget(model):
    """Start a new logical batch."""
    for p in model.parameters():
        p.summed_grad = None


def gradients(model, losses, count):
    """Each example's gradient as a vector, float [B, parameters]; `losses(rows)` runs rows."""
    trained = [p for p in model.parameters() if p.requires_grad]
    out = []
    for i in range(count):
        loss = losses(torch.tensor([i])).sum()
        got = torch.autograd.grad(loss, trained, allow_unused=True)
        parts = [torch.zeros_like(p) if g is None else g for p, g in zip(trained, got, strict=True)]
        out.append(torch.cat([p.flatten() for p in parts]))
    return torch.stack(out)


def clipped(vectors, clip=CLIP):
    """Sum of vectors [B, n], each scaled down to a norm of at most `clip`."""
    return (vectors * (clip / vectors.norm(dim=1)).clamp(max=1)[:, None]).sum(0)


def check(model, losses, count, units=None):
    """Norms and clipped sum equal the definition to 1e-10."""
    vectors = gradients(model, losses, count)
    if units is not None:
        whole = vectors.new_zeros(int(units.max()) + 1, vectors.shape[1])
        vectors = whole.index_add(0, units, vectors)
    forget(model)
    _, seen = accumulate_clipped(
        model,
        lambda: losses(torch.arange(count)),
        CLIP,
        **({} if units is None else {"units": units}),
    )
    torch.testing.assert_close(seen.norms, vectors.norm(dim=1), rtol=1e-10, atol=1e-14)
    expected = clipped(vectors)
    error = float((flat_sum(model) - expected).abs().max() / expected.abs().max())
    assert error < 1e-10
    assert float(vectors.norm(dim=1).max()) > CLIP
