"""Measures the recognizer on the test clips: -> reports/metrics.json, details.json, predictions.csv and plots.

metrics.json holds the headline figures, for `dvc metrics` and for git; details.json holds all. Each clip is seen in
sampling.test_draws draws, fixed by the seed, whose probabilities are averaged. With two folds each model predicts its
own test clips, and all are pooled. The figures also join the MLflow run of the training.
"""

from darkaction.core import cli


def main() -> None:
    arguments = cli.stage_arguments(__doc__, ray=True)
    from darkaction.params import settings_of

    params, paths = settings_of(arguments)
    from darkaction.jobs.recognizer.evaluation import evaluate

    print(evaluate(params, paths, ray_address=arguments.ray_address))


if __name__ == "__main__":
    cli.run(main)
