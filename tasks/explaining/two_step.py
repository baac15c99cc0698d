"""Two-step rescaling: which steps matter, then which of their cells.

B people of one length, T steps, F features of the sequence, G static features.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.explaining.path import Shares, integrate
from tasks.explaining.question import Groups, Question

# Steps whose cells are looked at: the rest of a person's steps are less relevant than these.
_SHARE = 0.45
_TINY = 1e-12


def _change(before: Shares, after: Shares) -> Tensor:
    """float64 [B]: how much all shares together differ."""
    moved = (before.sequence - after.sequence).abs().flatten(1).sum(1)
    return moved + (before.static - after.static).abs().sum(1)


def two_step(
    question: Question, groups: Groups, window: NDArray[np.int64], n_steps: int, at_once: int
) -> tuple[Tensor, Tensor]:
    """Return rescaled Integrated Gradients: of cells float64 [B, T, F] and static ones [B, G].

    A step's relevance is how much all attributions change without it; of the most relevant
    steps, a cell's is how much they change without the cell. A cell's share is the product, with
    the sign that Integrated Gradients give it, and all shares of a sequence together are as large
    as theirs. Static features keep theirs. Gradients that saturate over time hide early causes;
    taking a step away does not.

    Args:
        question: about B people of one length.
        groups: the channels of each feature.
        window: int64 [T], steps that are taken away together; they share a relevance.
        n_steps: points of each path.
        at_once: rows in one pass.

    Source: Ismail, Gunady, Corrada Bravo, Feizi (2020), algorithm 1; the threshold is the
        quantile that the authors' code uses.
    """
    embedded, (features, fixed) = question.embedded, groups.sizes

    def without(gone: Tensor) -> Tensor:
        asked = replace(question, embedded=torch.where(gone, 0.0, embedded))
        return _change(base, integrate(asked, n_steps, n_steps, at_once))

    base = integrate(question, n_steps, n_steps, at_once)
    place = torch.from_numpy(window)
    windows = int(window.max()) + 1
    relevance = torch.stack([without((place == w)[None, :, None]) for w in range(windows)], 1)
    signs = torch.zeros(len(question), embedded.shape[1], features, dtype=torch.float64)
    signs.index_add_(2, groups.sequence, base.sequence)
    found = torch.zeros_like(signs)
    for top in relevance.topk(max(1, round(_SHARE * windows))).indices.T:
        here = top[:, None] == place
        step = relevance.gather(1, top[:, None])
        for feature in range(features):
            cell = here[..., None] & (groups.sequence == feature)
            found[..., feature] += here * step * without(cell)[:, None]
    size, wanted = (x.abs().sum((1, 2)) for x in (found, signs))
    found = signs.sign() * found * (wanted / size.clamp(min=_TINY))[:, None, None]
    alone = torch.zeros(len(question), fixed, dtype=torch.float64)
    return found, alone.index_add_(1, groups.static, base.static)
