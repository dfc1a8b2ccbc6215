"""What the gallery tells of the picks: how they cover the pool, a map, and clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroshot_al.base.params import Rule
from zeroshot_al.base.pool import Pool
from zeroshot_al.gallery.annotation import AnnotateParams
from zeroshot_al.gallery.curve import RadiusCurve, measure_curve
from zeroshot_al.gallery.exports import Pick
from zeroshot_al.gallery.pool_map import Clusters, PoolMap, count_clusters, map_pool
from zeroshot_al.sources.image_files import ImageFiles
from zeroshot_al.sources.left_out import LeftOut

N_TYPICAL = 3  # images shown of each cluster


@dataclass(frozen=True, eq=False)
class Overview:
    """Everything that the templates of the gallery know, each field under its name.

    Parameters
    ----------
    method : str
        How the order's method is called.
    rule : {"zero_shot", "kcenter"}
    pool : Pool
    picks : sequence of Pick, length budget
    n_known : int
        Images that are labelled or were given out before.
    left_out : LeftOut
    curve : RadiusCurve
    pool_map : PoolMap
    clusters : Clusters
    folder : Path or None
        Where the images lie, for the commands; None if there are no files.
    awaits_labels : bool
        Whether the images have files and no labels: a classifier can be trained once they have.
    classes : sequence of str
        Names known so far.
    """

    method: str
    rule: Rule
    pool: Pool
    picks: Sequence[Pick]
    n_known: int
    left_out: LeftOut
    curve: RadiusCurve
    pool_map: PoolMap
    clusters: Clusters
    folder: Path | None
    awaits_labels: bool
    classes: Sequence[str]


def make_overview(
    method: str,
    rule: Rule,
    pool: Pool,
    rows: np.ndarray,
    picks: Sequence[Pick],
    known: np.ndarray,
    left_out: LeftOut,
    params: AnnotateParams,
    files: ImageFiles | None,
    classes: Sequence[str] = (),
) -> Overview:
    """Measure what the gallery shows of an order's first picks.

    Parameters
    ----------
    method : str
        How the order's method is called.
    rule : {"zero_shot", "kcenter"}
    pool : Pool
    rows : ndarray of shape (n_train, n_dims), float32
        Canonical rows of the pool's train images.
    picks : sequence of Pick, length budget
        The first of the order.
    known : ndarray of shape (n_known,), int64
        Pool indices of what is labelled or was given out before.
    left_out : LeftOut
    params : AnnotateParams
    files : ImageFiles or None
        The files of the pool's images; None if they have none.
    classes : sequence of str
        Names known so far.
    """
    indices = [pick.index for pick in picks]
    if files is not None:
        folder = files.folder
    else:
        folder = Path("data/annotate") if params.write_images else None
    return Overview(
        method=method,
        rule=rule,
        pool=pool,
        picks=picks,
        n_known=len(known),
        left_out=left_out,
        curve=measure_curve(rows, indices, known, params.n_random, params.seed),
        pool_map=map_pool(rows, indices, params.map_points, params.seed),
        clusters=count_clusters(rows, indices, params.n_clusters, N_TYPICAL, params.seed),
        folder=folder,
        awaits_labels=files is not None and not pool.is_labelled,
        classes=classes,
    )
