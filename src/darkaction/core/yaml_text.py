"""The one reader of YAML: as strict as DVC about repeated keys; errors name the line."""

from collections.abc import Hashable
from typing import Any

import yaml

from darkaction.core.errors import UserError

MERGE = "tag:yaml.org,2002:merge"
"""Of the key `<<`, which brings the keys of another section along."""


def parse(text: str, *, origin: str) -> Any:
    """The value in a YAML text; None where it is empty.

    Args:
        text: one document.
        origin: what messages call it: a file or an argument.

    Raises:
        UserError: naming the origin, the line and what is wrong there: the syntax, a tab, a second document, a value
            of no known kind, or a repeated key of a section (plain YAML keeps the last).
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _refuse_repeated_keys(loader, node, "", origin)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise UserError(f"{origin}: {_explain(error)}") from None
    except (yaml.YAMLError, ValueError) as error:  # a character or a date that there is not
        raise UserError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{origin}: not valid YAML: nested too deeply, or an anchor holds itself") from None


def _refuse_repeated_keys(loader: yaml.SafeLoader, node: yaml.Node, prefix: str, origin: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _refuse_repeated_keys(loader, item, f"{prefix}{number}.", origin)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[Hashable, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = key.value if key.tag == MERGE else loader.construct_object(key, deep=True)
        if not isinstance(name, Hashable):
            raise UserError(f"{origin}: line {line}: a list or a section cannot be a key")
        if name in lines:
            raise UserError(
                f"{origin}: line {line}: key '{prefix}{name}' is repeated, first in line {lines[name]}; "
                "leave one of the two"
            )
        lines[name] = line
        _refuse_repeated_keys(loader, value, f"{prefix}{name}.", origin)


def _explain(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    if error.problem and r"'\t'" in error.problem:
        return f"{line}a tab; YAML is indented and spaced with spaces"
    if error.problem == "but found another document":
        return f"{line}a second document begins; expected one"
    return f"{line}not valid YAML: {error.problem or error.context}"
