"""Whether botocore, which knows the model, would lose something of a response: a member that the model does not have."""

import io
import json
import xml.etree.ElementTree as ElementTree

from botocore.parsers import RpcV2CBORParser


def lost(service_model, operation, body):
    """The paths of what is in a successful response and not in the model."""
    shape = operation.output_shape
    protocol = service_model.resolved_protocol
    if not body:
        return []
    if "cbor" in protocol:
        return list(of_document(RpcV2CBORParser().parse_data_item(io.BufferedReader(io.BytesIO(body))), shape, "$"))
    if protocol in ("json", "rest-json"):
        return list(of_document(json.loads(body), shape, "$"))
    return list(of_xml(ElementTree.fromstring(body), operation, protocol))


def of_document(value, shape, path):
    if value is None or shape is None:
        return
    match shape.type_name:
        case "structure":
            names = {member.serialization.get("name", name): member for name, member in shape.members.items()}
            for key, inner in value.items():
                if key not in names:
                    yield f"{path}.{key}"
                else:
                    yield from of_document(inner, names[key], f"{path}.{key}")
        case "list":
            for index, inner in enumerate(value):
                yield from of_document(inner, shape.member, f"{path}[{index}]")
        case "map":
            for key, inner in value.items():
                yield from of_document(inner, shape.value, f"{path}.{key}")


def local(element):
    return element.tag.rpartition("}")[2]


def of_xml(root, operation, protocol):
    shape = operation.output_shape
    # EC2 says `<return>true</return>` also where its model has no output.
    metadata = {"ResponseMetadata", "requestId", "RequestId", "return"}
    if protocol == "query":
        wrapper = shape and shape.serialization.get("resultWrapper")
        extra = [local(child) for child in root if local(child) not in metadata | {wrapper}]
        yield from (f"$.{name}" for name in extra)
        result = next((child for child in root if local(child) == wrapper), None)
        if result is not None:
            yield from of_structure(list(result), shape, "$")
    else:
        yield from of_structure([child for child in root if local(child) not in metadata], shape, "$")


def of_structure(children, shape, path):
    names = {}
    for name, member in (shape.members if shape else {}).items():
        key = member.serialization.get("name", name)
        if member.type_name == "list" and member.serialization.get("flattened"):
            key = member.member.serialization.get("name", key)
        names[key] = member
    for child in children:
        member = names.get(local(child))
        inner = f"{path}.{local(child)}"
        if member is None:
            yield inner
        else:
            yield from of_element(child, member, inner)


def of_element(element, shape, path):
    match shape.type_name:
        case "structure":
            yield from of_structure(list(element), shape, path)
        case "list" if shape.serialization.get("flattened"):
            yield from of_element(element, shape.member, path)
        case "list":
            name = shape.member.serialization.get("name", "member")
            for child in element:
                if local(child) != name:
                    yield f"{path}.{local(child)}"
                else:
                    yield from of_element(child, shape.member, f"{path}[]")
        case "map":
            for entry in element:
                if local(entry) != "entry":
                    yield f"{path}.{local(entry)}"
        case _:
            if len(element):
                yield f"{path}.{local(element[0])}"
