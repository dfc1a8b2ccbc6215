"""One method's pretraining from the pool to the files: what each stage pretrain_METHOD does."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from zeroshot_al.base.files import replaced_directory, write_csv
from zeroshot_al.base.pool import load_pool
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.engine.checkpoint import checkpoint_root, discard, fingerprint
from zeroshot_al.engine.runtime import initial_weights
from zeroshot_al.selfsup.encoders import READY_MADE, EncoderParams, save_encoder
from zeroshot_al.selfsup.pretrain import HISTORY_HEADER, PretrainParams, fit_batch_size, pretrain


def run_pretraining(
    name: str,
    make_method: Callable[[EncoderParams, PretrainParams], nn.Module],
    encoder: EncoderParams,
    params: PretrainParams,
    pool_dir: str,
    model_dir: str,
    history_file: str,
    ranks: Ranks,
) -> None:
    """Pretrain one method's encoder on a pool, from its checkpoint where there is one.

    Writes `model_dir`/`name`.safetensors and the history of the training. Where the method is not
    active, or the pool's embeddings or an existing model stand in for pretraining, the directory
    is empty and the history a header alone: DVC demands that both exist.

    Parameters
    ----------
    name
        Of the method; the stage is called pretrain_`name`.
    make_method
        Makes the `ContrastiveMethod` to train.
    """
    history: list[tuple[int, float, float]] = []
    checkpoints, trained = None, None
    replaced = encoder.replaces_pretraining or Path(pool_dir, READY_MADE).exists()
    if params.active and not replaced:
        images = load_pool(pool_dir).train_images
        params = fit_batch_size(params, len(images))
        code = fingerprint(encoder.name, encoder.width, params, images)
        checkpoints = checkpoint_root() / f"pretrain_{name}" / code
        initial_weights(params.seed)
        method = make_method(encoder, params)
        history = pretrain(method, images, params, checkpoints, ranks)
        trained = method.encoder
    if not ranks.is_first:
        return
    write_csv(history_file, HISTORY_HEADER, history)
    with replaced_directory(model_dir) as directory:
        directory.mkdir(parents=True)
        if trained is not None:
            save_encoder(directory / f"{name}.safetensors", trained)
    if checkpoints is not None:
        discard(checkpoints)
