"""Optuna's sampler and pruner, as `tune.sampler` and `tune.pruner` name them."""

import warnings

import numpy as np
import optuna

from darkaction.search.settings import SearchParams


def make_sampler(params: SearchParams, *, extra: int) -> optuna.samplers.BaseSampler:
    """The sampler of `tune.sampler`. What it cannot sample jointly (a range that depends on another setting) it samples
    alone, which is no reason to warn."""
    seed = int(np.random.SeedSequence([params.seed, extra]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if params.tune.sampler == "tpe":
            return optuna.samplers.TPESampler(
                multivariate=True,
                group=any(dimension.when for dimension in params.tune.space),
                constant_liar=True,
                seed=seed,
            )
        if params.tune.sampler == "gp":
            return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)
        if params.tune.sampler == "qmc":
            return optuna.samplers.QMCSampler(seed=params.seed, warn_independent_sampling=False, scramble=True)
    return optuna.samplers.RandomSampler(seed=seed)


def make_pruner(params: SearchParams) -> optuna.pruners.BasePruner:
    """The pruner of `tune.pruner`."""
    tune, epochs = params.tune, params.train.epochs
    if tune.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(
            min_resource=min(tune.min_epochs, epochs), max_resource=epochs, reduction_factor=3
        )
    if tune.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=tune.min_epochs)
    if tune.pruner == "wilcoxon":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.pruners.WilcoxonPruner(p_threshold=0.1)
    return optuna.pruners.NopPruner()
