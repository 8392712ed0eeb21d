"""What the API models promise, and which part of it Pileus implements."""

import dataclasses
import functools
import pathlib
import re
import tomllib

import botocore.session

ROOT = pathlib.Path(__file__).resolve().parents[3]


@dataclasses.dataclass(frozen=True)
class Operation:
    service: str
    model: object
    allowed: frozenset | None
    without_effect: frozenset

    @property
    def name(self):
        return self.model.name

    @property
    def members(self):
        shape = self.model.input_shape
        return shape.members if shape else {}

    @property
    def required(self):
        return self.model.input_shape.required_members if self.model.input_shape else []

    def implements(self, member):
        return self.allowed is None or member in self.allowed or member in self.without_effect


@functools.cache
def allow_list():
    return tomllib.loads((ROOT / "crates" / "base" / "aws" / "operations.toml").read_text())


@functools.cache
def service_model(service):
    return botocore.session.get_session().get_service_model(service)


def services():
    return sorted(allow_list())


def operations(service):
    """The implemented operations of a service, by name."""
    model = service_model(service)
    table = allow_list()[service]
    common = frozenset(table["service"].get("router", []))
    found = {}
    for name, row in table.items():
        if name in ("service", "shapes"):
            continue
        allowed = frozenset(row["members"]) | common if "members" in row else None
        found[name] = Operation(service, model.operation_model(name), allowed, frozenset(row.get("no_effect", {})))
    return found


def unsupported(service, structure):
    """The members of a structure inside requests that are refused by name."""
    return frozenset(allow_list().get(service, {}).get("shapes", {}).get(structure, {}).get("unsupported", []))


def constraint_violations(shape):
    """(what is violated, a value that violates it) for each constraint of a scalar or list shape."""
    bounds = shape.metadata
    if shape.type_name == "string":
        if shape.enum:
            yield "enum", "not-a-value-of-this-enum"
        if bounds.get("min", 0) > 0:
            yield "min", ""
        if 0 < bounds.get("max", 0) <= 4096:
            yield "max", "a" * (bounds["max"] + 1)
        if (pattern := bounds.get("pattern")) and not matches(pattern, "\u0007 \u0007"):
            yield "pattern", "\u0007 \u0007"
    elif shape.type_name in ("integer", "long"):
        if "min" in bounds and bounds["min"] > -(2**31):
            yield "min", bounds["min"] - 1
        if "max" in bounds and bounds["max"] < 2**31 - 1:
            yield "max", bounds["max"] + 1
    elif shape.type_name == "list" and 0 < bounds.get("max", 0) <= 200 and shape.member.type_name == "string":
        yield "max", ["a"] * (bounds["max"] + 1)


def matches(pattern, text):
    """Whether the model's pattern allows a text; a pattern that Python cannot read allows everything."""
    translated = pattern.replace("\\p{L}", "a-zA-Z").replace("\\p{Z}", " ").replace("\\p{N}", "0-9")
    translated = translated.replace("\\p{P}", "!-/").replace("\\p{S}", "+").replace("\\p{M}", "").replace("[[:print:]]", "[ -~]")
    try:
        return re.fullmatch(translated, text) is not None
    except re.error:
        return True
