"""Scores with identity effects whose true error rates are known in closed form.

impostor_ij = v_a + v_b + dyad_ab + noise        genuine_ij = mu + u_g + 2 k v_g + noise
All effects are normal and independent of the number of pictures, so marginally both are normal.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from crossface.evaluation import scores as room
from crossface.evaluation.pair_scores import PairScores

N = NormalDist()


class World:
    def __init__(self, *, people=150, lamb=0.35, dyad=0.5, goat=0.5, mu=4.0, coupling=0.5):
        self.people, self.lamb, self.dyad, self.goat = people, lamb, dyad, goat
        self.mu, self.coupling = mu, coupling
        self.imp_sd = float(np.sqrt(2 * lamb**2 + dyad**2 + 1))
        self.gen_sd = float(np.sqrt(goat**2 + (2 * coupling * lamb) ** 2 + 1))

    def fnmr_at_fmr(self, fmr):
        return N.cdf((self.imp_sd * N.inv_cdf(1 - fmr) - self.mu) / self.gen_sd)

    def fmr_at(self, threshold):
        return 1 - N.cdf(threshold / self.imp_sd)

    def auc(self):
        return N.cdf(self.mu / np.hypot(self.imp_sd, self.gen_sd))

    def eer(self):
        return N.cdf(-self.mu / (self.imp_sd + self.gen_sd))

    def sizes(self, rng):
        sizes = rng.geometric(0.35, self.people)
        sizes[:5] = np.maximum(sizes[:5], 2)
        return sizes.astype(np.int64)

    def draw(self, rng, *, models=1, shared=0.8):
        """ScoreTables of ``models`` models on the same people, effects shared by a share."""
        sizes = self.sizes(rng)
        owner = np.repeat(np.arange(self.people), sizes)
        i, j = np.triu_indices(len(owner), 1)
        a, b = owner[i], owner[j]
        same = a == b

        def mixed(count):
            base = rng.normal(size=count)
            return [
                np.sqrt(shared) * base + np.sqrt(1 - shared) * rng.normal(size=count)
                for _ in range(models)
            ]

        lambs, goats, noise = mixed(self.people), mixed(self.people), mixed(len(i))
        dyads = mixed((self.people, self.people))
        tables = []
        for lamb, goat, own, dyad in zip(lambs, goats, noise, dyads, strict=True):
            v = self.lamb * lamb
            impostor = v[a] + v[b] + self.dyad * dyad[a, b] + own
            genuine = self.mu + self.goat * goat[a] + 2 * self.coupling * v[a] + own
            tables.append(table(sizes, np.where(same, genuine, impostor) / 20, a, b))
        return tables


def table(sizes, score, a, b):
    """A ScoreTable of given scores in (-1, 1) instead of embeddings."""
    score = score.astype(np.float32)
    same = a == b
    order = np.argsort(score[same], kind="stable")
    genuine, owner = score[same][order], a[same][order].astype(np.int32)
    tail = room._Tail(float("-inf"), room._share_above(genuine), len(sizes))
    tail.add(room._Block(score[~same], a[~same], b[~same]))
    scores, tail_a, tail_b = tail.sorted()
    below = room._share_below(tail.histogram)[room._bins(genuine)]
    return room.ScoreTable(
        identities=tuple(f"p{i}" for i in range(len(sizes))),
        sizes=sizes,
        genuine=genuine,
        genuine_identity=owner,
        n_impostor=int(np.sum(~same)),
        tail=scores,
        tail_a=tail_a,
        tail_b=tail_b,
        auc_genuine=np.bincount(owner, weights=below, minlength=len(sizes)),
        auc_impostor=tail.above_by_identity,
    )


def pair_list(world, rng, *, folds=10, people=40, per_fold=60):
    """PairScores in identity-disjoint folds, as many genuine as impostor pairs."""
    a, b, fold = [], [], []
    for number in range(folds):
        who = number * people + rng.integers(0, people, (2, 4 * per_fold))
        differ = np.flatnonzero(who[0] != who[1])[:per_fold]
        own = who[0][-per_fold:]
        a += [own, who[0][differ]]
        b += [own, who[1][differ]]
        fold += [number] * (2 * per_fold)
    a, b = np.concatenate(a), np.concatenate(b)
    total = folds * people
    v = world.lamb * rng.normal(size=total)
    u = world.goat * rng.normal(size=total)
    dyad = world.dyad * rng.normal(size=(total, total))
    same = a == b
    own = rng.normal(size=len(a))
    genuine = world.mu + u[a] + 2 * world.coupling * v[a]
    impostor = v[a] + v[b] + dyad[np.minimum(a, b), np.maximum(a, b)]
    scores = ((np.where(same, genuine, impostor) + own) / 20).astype(np.float32)
    return PairScores(scores, same, np.array(fold), a, b, 0)
