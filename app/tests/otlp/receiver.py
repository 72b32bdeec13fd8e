"""A receiver of traces for the tests: OTLP over HTTP, decoded by OpenTelemetry's own definitions.

Usage: receiver.py PORT FILE. Writes each span as a line of JSON to FILE, with its resource's service name.
"""

import http.server
import json
import sys

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse


def value(attribute):
    return next(iter(attribute["value"].values()))


def flat(attributes):
    return {attribute["key"]: value(attribute) for attribute in attributes}


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path != "/v1/traces" or self.headers["content-type"] != "application/x-protobuf":
            self.send_error(400, f"{self.path} {self.headers['content-type']}")
            return
        with open(sys.argv[2], "a", encoding="utf-8") as file:
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = flat(MessageToDict(group.resource)["attributes"])["service.name"]
                for span in (span for scope in group.scope_spans for span in scope.spans):
                    # Identifiers are bytes, which JSON has no form for.
                    line = {
                        "service": service,
                        "name": span.name,
                        "kind": span.kind,
                        "trace": span.trace_id.hex(),
                        "id": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "nanoseconds": span.end_time_unix_nano - span.start_time_unix_nano,
                        "attributes": flat(MessageToDict(span).get("attributes", [])),
                    }
                    file.write(json.dumps(line) + "\n")
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(ExportTraceServiceResponse().SerializeToString())

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
