"""Compares requests with AWS's published models, as botocore carries them.

Reads what the gateway kept (a list of requests, as JSON) on standard input and writes what is wrong on standard output,
one line each: members that don't exist, that are missing or of another type, values outside their enums, lengths, ranges
and patterns. Exits with 1 if anything is wrong. The number of requests by operation goes to standard error.
"""

import base64
import collections
import functools
import json
import sys
import urllib.parse
import xml.etree.ElementTree as xml

import botocore.session
import botocore.validate
import regex

# Signing names that aren't the models' names.
MODELS = {"monitoring": "cloudwatch", "elasticloadbalancing": "elbv2", "servicequotas": "service-quotas"}
# Query parameters and elements that belong to a protocol and to no member.
PROTOCOL_KEYS = {"Action", "Version"}
NUMBERS = {"integer": int, "long": int, "float": float, "double": float}


@functools.cache
def model(service):
    return botocore.session.get_session().get_service_model(MODELS.get(service, service))


def form(shape, keys, prefix, ec2):
    """The value at a prefix of a query form, by its shape; takes the keys that it has used."""
    if shape.type_name == "structure":
        members = {}
        for name, member in shape.members.items():
            value = form(member, keys, dotted(prefix, wire_name(name, member, ec2)), ec2)
            if value is not None:
                members[name] = value
        return members if members or prefix == "" or keys.pop(prefix, None) is not None else None
    if shape.type_name == "list":
        if not (ec2 or shape.serialization.get("flattened")):
            prefix = dotted(prefix, shape.member.serialization.get("name", "member"))
        elif not ec2 and shape.member.serialization.get("name"):
            prefix = dotted(prefix.rpartition(".")[0], shape.member.serialization["name"])
        return collect(lambda at: form(shape.member, keys, at, ec2), prefix, keys)
    if shape.type_name == "map":
        entry = prefix if shape.serialization.get("flattened") else dotted(prefix, "entry")
        key, value = (part.serialization.get("name", name) for part, name in ((shape.key, "key"), (shape.value, "value")))
        pairs = collect(lambda at: (keys.pop(f"{at}.{key}", None), form(shape.value, keys, f"{at}.{value}", ec2)), entry, keys)
        return dict(pairs) if pairs else None
    text = keys.pop(prefix, None)
    return text if text is None else scalar(shape, text)


def collect(read, prefix, keys):
    items, number = [], 1
    while any(key == f"{prefix}.{number}" or key.startswith(f"{prefix}.{number}.") for key in keys):
        items.append(read(f"{prefix}.{number}"))
        number += 1
    # An empty list is the bare name.
    return items or ([] if keys.pop(prefix, None) is not None else None)


def dotted(prefix, name):
    return f"{prefix}.{name}" if prefix else name


def wire_name(name, shape, ec2):
    if not ec2:
        return shape.serialization.get("name", name)
    told = shape.serialization.get("queryName")
    plain = shape.serialization.get("name", name)
    return told or plain[0].upper() + plain[1:]


def scalar(shape, text):
    """A text as its shape's type; a text that isn't of that type stays one, and is then told."""
    if shape.type_name == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if shape.type_name in NUMBERS:
        try:
            return NUMBERS[shape.type_name](text)
        except ValueError:
            return text
    if shape.type_name == "blob":
        return base64.b64decode(text)
    return text


def element(shape, node, unknown):
    """The value of an XML element, by its shape; adds what no member stands for."""
    if shape.type_name == "structure":
        members, known = {}, set()
        for name, member in shape.members.items():
            tag = member.serialization.get("name", name)
            known.add(tag)
            if member.serialization.get("xmlAttribute"):
                continue
            if member.type_name == "list" and member.serialization.get("flattened"):
                found = [child for child in node if plain(child) == tag]
                if found:
                    members[name] = [element(member.member, child, unknown) for child in found]
            else:
                for child in (child for child in node if plain(child) == tag):
                    members[name] = element(member, child, unknown)
        unknown.extend(f"{plain(node)}.{plain(child)}" for child in node if plain(child) not in known)
        return members
    if shape.type_name == "list":
        tag = shape.member.serialization.get("name", "member")
        unknown.extend(f"{plain(node)}.{plain(child)}" for child in node if plain(child) != tag)
        return [element(shape.member, child, unknown) for child in node if plain(child) == tag]
    return scalar(shape, node.text or "")


def plain(node):
    return node.tag.rpartition("}")[2]


def rest(operation, request, unknown):
    """The members of a REST request: from its path, its query, its headers and its XML body."""
    shape = operation.input_shape
    members = {}
    query = dict(urllib.parse.parse_qsl(request["query"], keep_blank_values=True))
    fixed = urllib.parse.urlsplit(operation.http["requestUri"]).query
    for marker in [*(part.split("=")[0] for part in fixed.split("&") if part), "x-id"]:
        query.pop(marker, None)
    path = [urllib.parse.unquote(part) for part in request["path"].lstrip("/").split("/", 1)]
    for name, member in shape.members.items():
        wire, where = member.serialization.get("name", name), member.serialization.get("location")
        if where == "uri":
            index = 0 if name == "Bucket" else 1
            if len(path) > index and path[index]:
                members[name] = path[index]
        elif where == "querystring" and wire in query:
            members[name] = scalar(member, query.pop(wire))
        elif where == "header" and wire.lower() in request["headers"]:
            members[name] = scalar(member, request["headers"][wire.lower()])
    unknown.extend(f"?{name}" for name in query)
    payload, body = shape.serialization.get("payload"), base64.b64decode(request["body"])
    if payload and body:
        member = shape.members[payload]
        read = {"structure": lambda: element(member, xml.fromstring(body), unknown), "string": body.decode}
        members[payload] = read.get(member.type_name, lambda: body)()
    return members


def check(shape, value, at, wrong):
    """What the shape's own words forbid: enums, lengths, ranges, patterns. Types and members are botocore's to check."""
    bounds = shape.metadata
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, member in value.items():
            if name in shape.members:
                check(shape.members[name], member, f"{at}.{name}", wrong)
        return
    if shape.type_name == "list" and isinstance(value, list):
        for number, member in enumerate(value):
            check(shape.member, member, f"{at}[{number}]", wrong)
    if shape.type_name == "map" and isinstance(value, dict):
        for key, member in value.items():
            check(shape.key, key, f"{at} key {key}", wrong)
            check(shape.value, member, f"{at}[{key}]", wrong)
    size = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if isinstance(value, (str, bytes, list, dict)) and shape.type_name not in NUMBERS:
        size = len(value)
    if size is not None and size < bounds.get("min", size):
        wrong.append(f"{at}: {size} is below the least, {bounds['min']}")
    if size is not None and size > bounds.get("max", size):
        wrong.append(f"{at}: {size} is above the most, {bounds['max']}")
    if isinstance(value, str) and getattr(shape, "enum", None) and value not in shape.enum:
        wrong.append(f"{at}: {value!r} is none of {', '.join(shape.enum[:12])}")
    if isinstance(value, str) and "pattern" in bounds and not matches(bounds["pattern"], value):
        wrong.append(f"{at}: {value[:80]!r} doesn't match {bounds['pattern']}")


# Patterns for Java, with surrogate pairs, that Python can't read: nothing is held against them.
UNREADABLE = {r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*"}


@functools.cache
def compiled(pattern):
    return regex.compile(pattern)


def matches(pattern, value):
    return pattern in UNREADABLE or compiled(pattern).fullmatch(value)


def judge(request):
    """What is wrong with one request."""
    service = model(request["service"])
    try:
        operation = service.operation_model(request["operation"])
    except botocore.model.OperationNotFoundError:
        return ["the service has no such operation"]
    shape, unknown = operation.input_shape, []
    if shape is None:
        return []
    if request["protocol"] == "form":
        text = base64.b64decode(request["body"]).decode() or request["query"]
        keys = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
        members = form(shape, keys, "", service.metadata["protocol"] == "ec2") or {}
        unknown += [key for key in keys if key not in PROTOCOL_KEYS]
    elif request["protocol"] == "json":
        members = json.loads(base64.b64decode(request["body"]) or b"{}")
    else:
        members = rest(operation, request, unknown)
    wrong = [f"{name} is no member" for name in unknown]
    report = botocore.validate.ParamValidator().validate(members, shape)
    if report.has_errors():
        wrong += report.generate_report().splitlines()
    check(shape, members, "", wrong)
    return wrong


def main():
    requests = json.load(sys.stdin)
    counts, told = collections.Counter(), set()
    for request in requests:
        name = f"{request['service']}:{request['operation']}"
        counts[name] += 1
        told |= {f"{name}: {wrong}" for wrong in judge(request)}
    print(*(f"{count:6} {name}" for name, count in sorted(counts.items())), sep="\n", file=sys.stderr)
    print(*sorted(told), sep="\n", end="\n" if told else "")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
