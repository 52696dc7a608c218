"""Templates: texts of a state file in which variables are replaced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Final

from kvsync.desired.fields import VARIABLE_FORMS
from kvsync.desired.values import Value, ValueContext, read_value
from kvsync.util.values import dataclass
from kvsync.yaml.fields import Problems
from kvsync.yaml.nodes import Mapping as MappingNode
from kvsync.yaml.nodes import Node, Scalar
from kvsync.yaml.problems import at, found, inside
from kvsync.yaml.variables import VARIABLE_NAME, VariableError, expand, expanded_size, variables_in

_FORMS: Final = ", ".join(f"{{{form}: …}}" for form in VARIABLE_FORMS)


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables of a document: their texts, the names of those whose text is a secret, and of those that cannot be read."""

    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()

    def over(self, texts: Mapping[str, str], secrets: Iterable[str], broken: Iterable[str] = ()) -> Variables:
        """These variables with others over them, name by name."""
        return Variables(
            {**self.texts, **texts},
            (self.secrets - texts.keys()) | frozenset(secrets),
            (self.broken - texts.keys()) | frozenset(broken),
        )


def read_variables(node: Node, under: Variables, around: ValueContext, problems: Problems) -> Variables:
    """The variables that `vars:` of a document defines, over those of the configuration."""
    assert isinstance(node, MappingNode)
    texts: dict[str, str] = {}
    secrets: set[str] = set()
    for name, (key, member) in node.items.items():
        what = inside("vars", name)
        if not re.fullmatch(VARIABLE_NAME, name):
            hint = "use up to 64 letters, digits, _ and -, starting with a letter or _"
            problems.add(at(what, "not a valid name for a variable"), key, hint)
        elif (value := _variable(member, around, problems, what)) is not None:
            texts[name] = value.data.decode("utf-8", "surrogateescape")
            secrets |= {name} if value.secret else set()
    return under.over(texts, secrets, node.items.keys() - texts.keys())


def _variable(node: Node, around: ValueContext, problems: Problems, what: str) -> Value | None:
    if isinstance(node, Scalar) and not node.is_null:
        return Value(node.text.encode())
    if isinstance(node, MappingNode) and len(node.items) == 1:
        [(form, (_, member))] = node.items.items()
        if form in VARIABLE_FORMS:
            return read_value(form, member, around, problems, what)
    problems.add(at(what, f"expected text or {_FORMS}, found {found(node)}"), node)
    return None


def read_template(
    node: Node, variables: Variables, problems: Problems, what: str, take: Callable[[int], None]
) -> Value | None:
    """The value of a template; None with a problem noted. It is a secret when one of the variables in it is. `take` counts its
    size before it is built."""
    what = f"{what}.template"
    if not isinstance(node, Scalar) or node.is_null:
        problems.add(at(what, f"expected text, found {found(node)}"), node, 'such as "https://${domain}/"')
        return None
    if not variables.broken.isdisjoint(variables_in(node.text)):
        return None  # the variable has its own problem
    take(expanded_size(node.text, variables.texts))
    try:
        text = expand(node.text, variables.texts)
    except VariableError as error:
        problems.add(at(what, str(error)), node, error.hint)
        return None
    is_secret = not variables.secrets.isdisjoint(variables_in(node.text))
    return Value(text.encode("utf-8", "surrogateescape"), secret=is_secret)
