"""Values that fit a shape: what the world has under a member's name, else the simplest that the model allows."""

import datetime
import itertools

from model import matches, unsupported

CANDIDATES = [
    "a", "probe", "Probe1", "probe-1", "12", "1", "/probe", "/", "10.0.0.0/16", "000000000000", "us-east-1", "us-east-1a",
    "arn:aws:iam::000000000000:role/probe", "arn:aws:ecs:us-east-1:000000000000:cluster/probe", "{}", "probe.example.com",
    "0" * 32, "sha256:" + "0" * 64, "AKIA0000000000000000", "2026-11-22T00:00:00Z", "key=value", "probe@example.com",
    "a" * 8, "a" * 16, "a" * 20, "a" * 32, "a" * 64,
]
# A structure that contains itself ends here.
DEEPEST = 6


class Samples:
    def __init__(self, service, world):
        self.service = service
        self.fresh = itertools.count()
        self.world = {name.lower(): value for name, value in world.items()}

    def known(self, *names):
        for name in names:
            if (value := self.world.get(f"{self.service}.{name}".lower(), self.world.get(name.lower()))) is not None:
                return value
        return None

    def value(self, shape, name, operation="", depth=0):
        if shape.type_name == "string" and names_what_is_made(operation, name):
            return f"probe-{next(self.fresh)}"
        known = self.known(f"{operation}.{name}", name)
        if known is not None and fits(shape, known):
            return known
        kind = shape.type_name
        if kind == "structure":
            return self.structure(shape, operation, depth + 1)
        if kind == "list":
            if shape.member.type_name == "structure" and not shape.member.required_members and depth < DEEPEST:
                return [self.first_member(shape.member, operation)]
            if known is not None and fits(shape.member, known):
                return [known]
            return [self.value(shape.member, singular(name), operation, depth + 1)] if depth < DEEPEST else []
        if kind == "map":
            return {self.value(shape.key, "key", operation, depth + 1): self.value(shape.value, "value", operation, depth + 1)}
        return scalar(shape)

    def structure(self, shape, operation="", depth=0):
        """The required members; of a union the first one that is not refused."""
        members = list(shape.required_members)
        if getattr(shape, "is_tagged_union", False) and not members:
            refused = unsupported(self.service, shape.name)
            members = [name for name in shape.members if name not in refused][:1]
        if depth > DEEPEST:
            return {}
        return {name: self.value(shape.members[name], name, operation, depth) for name in members}

    def first_member(self, shape, operation=""):
        """The structure with one member that is not refused, where it has any."""
        refused = unsupported(self.service, shape.name)
        names = [name for name in shape.members if name not in refused] or list(shape.members)
        return {name: self.value(shape.members[name], name, operation, 1) for name in names[:1]}


def names_what_is_made(operation, member):
    """Whether a member is the name of what the operation creates, which must be another one each time."""
    made = operation.removeprefix("Create").lower()
    return operation.startswith("Create") and member.lower() in (f"{made}name", "name", "groupname" if made == "securitygroup" else "name")


def fits(shape, value):
    if shape.type_name == "string":
        return isinstance(value, str)
    if shape.type_name == "list":
        return isinstance(value, list)
    if shape.type_name in ("structure", "map"):
        return isinstance(value, dict)
    if shape.type_name in ("integer", "long", "float", "double"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if shape.type_name == "boolean":
        return isinstance(value, bool)
    return False


def singular(name):
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name.removesuffix("s")


def scalar(shape):
    bounds = shape.metadata
    match shape.type_name:
        case "string":
            return text(shape)
        case "integer" | "long":
            return min(max(1, bounds.get("min", 1)), bounds.get("max", 2**31))
        case "float" | "double":
            return float(max(1, bounds.get("min", 1)))
        case "boolean":
            return False
        case "timestamp":
            return datetime.datetime(2026, 11, 22, tzinfo=datetime.timezone.utc)
        case "blob":
            return b"probe"
        case other:
            raise AssertionError(f"no sample of a {other}")


def text(shape):
    bounds = shape.metadata
    if shape.enum:
        return shape.enum[0]
    shortest, longest = bounds.get("min", 0), bounds.get("max", 1 << 20)
    fitting = [c for c in CANDIDATES if shortest <= len(c) <= longest]
    if pattern := bounds.get("pattern"):
        fitting = [c for c in fitting if matches(pattern, c)] or fitting
    return fitting[0] if fitting else "a" * max(shortest, 1)
