"""Synthetic people, for trying the service without anybody's data.

Heights are normal and weights log-normal, correlated, men as one cluster and women
as two, with the parameters that Brainard & Burmaster fitted to the United States'
second National Health and Nutrition Examination Survey.

References:
    Brainard & Burmaster (1992), Bivariate distributions for height and weight of men
    and women in the United States, Risk Analysis 12(2), 267-275; the parameters as
    Kruschke (2014), Doing Bayesian Data Analysis, second edition, gives them.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

_CHUNK_ROWS: Final = 10_000


class _Cluster(NamedTuple):
    label: str
    share: float
    height_mean: float  # in
    height_std: float
    log_weight_mean: float  # ln lb
    log_weight_std: float
    correlation: float  # of height and ln weight


_CLUSTERS: Final = (
    _Cluster("M", 0.50, 69.18, 2.87, 5.14, 0.17, 0.42),
    _Cluster("F", 0.23, 63.11, 2.76, 5.06, 0.24, 0.41),
    _Cluster("F", 0.27, 64.36, 2.49, 4.86, 0.14, 0.44),
)


def sample_csv(rows: int, seed: int) -> Iterator[str]:
    """Yield the lines of a CSV of so many people, the header first.

    The same seed gives the same people; fewer rows give the first of them.
    """
    rng = np.random.default_rng(seed)
    yield "weight_lb,height_in,label\n"
    for start in range(0, rows, _CHUNK_ROWS):
        yield from _people(rng)[: rows - start]


def _people(rng: np.random.Generator) -> list[str]:
    shares = [cluster.share for cluster in _CLUSTERS]
    which = rng.choice(len(_CLUSTERS), size=_CHUNK_ROWS, p=shares)
    normals = rng.standard_normal((2, _CHUNK_ROWS))
    table = np.array([cluster[2:] for cluster in _CLUSTERS])[which].T
    height_mean, height_std, log_mean, log_std, correlation = table
    heights = height_mean + height_std * normals[0]
    across = np.sqrt(1 - correlation**2) * normals[1]
    weights = np.exp(log_mean + log_std * (correlation * normals[0] + across))
    return [
        f"{weight:.1f},{height:.1f},{_CLUSTERS[index].label}\n"
        for weight, height, index in zip(weights, heights, which, strict=True)
    ]
