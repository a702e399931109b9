"""What a comparison is about: its tables and seeds, and what the trainings of each method read."""

from dataclasses import dataclass, field
from pathlib import Path

from darkaction.core.errors import UserError
from darkaction.experiments import plan
from darkaction.experiments.plan import Method, Table
from darkaction.jobs.inputs import Inputs, inputs_for
from darkaction.params import Params


@dataclass(kw_only=True)
class Comparisons:
    """Everything a comparison is about. `fingerprint` identifies the settings of a run, see `plan.fingerprint`."""

    tables: list[Table]
    seeds: list[int]
    profile: str
    runs_file: Path
    problems: dict[str, str] = field(default_factory=dict)  # fingerprint -> why its runs cannot be had
    inputs: dict[str, Inputs] = field(default_factory=dict)  # fingerprint -> what its runs read

    def variants(self) -> dict[str, tuple[Method, Params]]:
        """Every setting that is to be trained, once, with the first method it belongs to.

        Raises:
            UserError: when methods differ in `prepare` alone, which the record does not tell apart.
        """
        found: dict[str, tuple[Method, Params]] = {}
        for table in self.tables:
            for method in table.methods:
                for params in method.variants:
                    first, same = found.setdefault(plan.fingerprint(params), (method, params))
                    if same.prepare != params.prepare:
                        raise UserError(
                            f"methods {first.key} and {method.key} differ in `prepare` alone; keep them apart, each in "
                            "a file for --experiments"
                        )
        return found

    def prepare(self, *, make: bool) -> None:
        """Finds or makes what every setting needs. What cannot be had is noted as a problem of that setting.

        Raises:
            UserError: when the target itself cannot be had.
        """
        for fingerprint, (method, params) in self.variants().items():
            try:
                self.inputs[fingerprint] = inputs_for(params, make=make)
            except UserError as error:
                if method.is_reference:
                    raise
                self.problems[fingerprint] = str(error)
                print(f"{method.name}: cannot run: {error}")
