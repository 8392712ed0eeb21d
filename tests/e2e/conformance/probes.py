"""Probes of every implemented operation, generated from its model.

An operation passes when each of its probes does:
- *minimal*: the required members alone: answered, or refused with an error of AWS's shape that is not "not implemented";
- *member*: an optional member besides: the same; a member that Pileus does not implement is refused by name;
- *violation*: a required member left out, or a constraint of the model broken: refused with a 4xx of AWS's shape.
Every successful answer is parsed by botocore without loss.
"""

import dataclasses

import botocore.exceptions
from botocore.config import Config

import loss
from model import constraint_violations, operations, service_model
from samples import Samples

# An implemented operation never says one of these.
NOT_THERE = {"InternalFailure", "InternalError", "NotImplemented", "UnknownOperationException", "InvalidAction",
             "ServiceUnavailable"}
# What takes things away goes last, so that the others find them.
LAST = ("Delete", "Detach", "Deregister", "Revoke", "Remove", "Release", "Disassociate", "Untag", "Stop", "Batch", "Cancel")
FIRST = ("Create", "Put", "Register", "Allocate", "Request", "Import")


@dataclasses.dataclass
class Failure:
    operation: str
    probe: str
    why: str

    def __str__(self):
        return f"{self.operation} [{self.probe}]: {self.why}"


@dataclasses.dataclass
class Row:
    """A line of the table: operations in the model, implemented, probed, passing; and how many probes that were."""
    service: str
    in_model: int = 0
    implemented: int = 0
    probed: int = 0
    passing: int = 0
    probes: int = 0
    answered: int = 0
    failures: list = dataclasses.field(default_factory=list)


class Prober:
    def __init__(self, engine, service, world):
        config = Config(parameter_validation=False, retries={"total_max_attempts": 1}, inject_host_prefix=False,
                        s3={"addressing_style": "path"})
        self.client = engine.client(service, config=config)
        self.service, self.samples = service, Samples(service, world)
        self.model = service_model(service)
        self.body = None
        self.client.meta.events.register("before-parse.*", self.note)

    def note(self, response_dict, **_):
        self.body = response_dict["body"]

    def send(self, operation, parameters):
        """(status, code, message, what was lost). The code of a success is None."""
        try:
            response = self.client._make_api_call(operation.name, parameters)
        except botocore.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return status, error.response["Error"].get("Code", ""), error.response["Error"].get("Message", ""), []
        status = response["ResponseMetadata"]["HTTPStatusCode"]
        body = self.body if isinstance(self.body, bytes) else b""
        streaming = operation.model.has_streaming_output
        return status, None, "", [] if streaming else loss.lost(self.client.meta.service_model, operation.model, body)

    def probes(self, operation):
        """(name, parameters, verdict): what to send, and what the answer must be."""
        shape = operation.model.input_shape
        if shape is None:
            yield "minimal", {}, self.answered
            return
        def minimal():
            return self.samples.structure(shape, operation.name)
        for name in operation.required:
            lacking = {key: value for key, value in minimal().items() if key != name}
            if shape.members[name].serialization.get("location") != "uri":
                yield f"without {name}", lacking, self.refused
        for name, member in shape.members.items():
            if operation.implements(name):
                for constraint, value in constraint_violations(member):
                    if member.serialization.get("location") != "uri":
                        yield f"{constraint} of {name}", minimal() | {name: value}, self.refused
        for name, member in shape.members.items():
            if name not in operation.required:
                value = self.samples.value(member, name, operation.name)
                if value == {} and member.type_name == "structure":
                    # The query protocols have no empty structure.
                    value = self.samples.first_member(member, operation.name)
                verdict = self.answered if operation.implements(name) else self.refused_by_name(name)
                yield f"with {name}", minimal() | {name: value}, verdict
        yield "minimal", minimal(), self.answered

    def answered(self, status, code, message):
        if status >= 500 or code in NOT_THERE:
            return f"{status} {code}: {message}"
        return None if code is None or (code and message) else f"an error without code or message: {status} {code!r}"

    def refused(self, status, code, message):
        if not 400 <= status < 500:
            return f"taken: {status} {code or ''} {message}"
        return self.answered(status, code, message)

    def refused_by_name(self, name):
        def verdict(status, code, message):
            if not 400 <= status < 500:
                return f"{status}: not implemented, and yet taken"
            # EC2 says a list without its plural, as it is on the wire.
            named = name.lower() in message.lower() or name.lower().removesuffix("s") in message.lower()
            return None if named else f"the refusal does not name {name}: {code}: {message}"
        return verdict

    def run(self, operation, row):
        failures = []
        for name, parameters, verdict in self.probes(operation):
            row.probes += 1
            try:
                status, code, message, lost = self.send(operation, parameters)
            except Exception as error:  # a client that cannot read the answer is what this looks for
                failures.append(Failure(f"{self.service}:{operation.name}", name, f"{type(error).__name__}: {error}"))
                continue
            row.answered += code is None
            why = verdict(status, code, message) or (f"lost by botocore: {lost[:5]}" if lost else None)
            if why:
                failures.append(Failure(f"{self.service}:{operation.name}", name, why[:300]))
        return failures


def order(name):
    return (2 if name.startswith(LAST) else 0 if name.startswith(FIRST) else 1, name)


def probe_service(engine, service, world, only=None):
    row = Row(service, in_model=len(service_model(service).operation_names))
    implemented = operations(service)
    row.implemented = len(implemented)
    prober = Prober(engine, service, world)
    for name in sorted(implemented, key=order):
        if only and name not in only:
            continue
        failures = prober.run(implemented[name], row)
        row.probed += 1
        row.passing += not failures
        row.failures += failures
    return row


def table(rows):
    """The rows as Markdown."""
    lines = ["| service | operations in the model | implemented | probed | passing | probes |", "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        cells = [row.service, row.in_model, row.implemented, row.probed, row.passing, row.probes]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"
