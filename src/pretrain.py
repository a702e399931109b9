"""Pretrains the network on synthetic clips: -> models/pretraining, the start for train.init_from: models/pretraining.

Off (pretrain.enabled: false) it leaves an empty folder. Every pretraining is a run of MLflow's experiment
darkaction-pretraining. Stopped, it goes on where it was, unless settings, enhancement or code are others now.
"""

from darkaction.core import cli

EMPTY = "Empty: pretrain.enabled is false in params.yaml.\n"


def main() -> None:
    arguments = cli.stage_arguments(__doc__, ray=True)

    from darkaction.core.folders import new_folder
    from darkaction.core.paths import Paths
    from darkaction.params import settings_of

    params, paths = settings_of(arguments)
    target = paths.write(Paths.PRETRAINING)
    if params.pretrain.enabled:
        # A stage that is off need not wait for torch.
        from darkaction.jobs.recognizer.pretrain import pretrain

        pretrain(params, paths, target, ray_address=arguments.ray_address)
        return
    with new_folder(target) as folder:
        (folder / "README.md").write_text(EMPTY)


if __name__ == "__main__":
    cli.run(main)
