"""LocalStack in host mode, on 127.0.0.1 alone: by itself it listens on every address, whatever GATEWAY_LISTEN says.

It ends, with all that it has started, when its standard input does: when the test that holds the other end is gone."""

import functools
import os
import signal
import sys
import threading

from twisted.internet import endpoints


def watch():
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


threading.Thread(target=watch, daemon=True).start()
endpoints.TCP4ServerEndpoint = functools.partial(endpoints.TCP4ServerEndpoint, interface="127.0.0.1")

from localstack.runtime.main import main  # noqa: E402: it reads the settings and the endpoint when it is imported

main()
