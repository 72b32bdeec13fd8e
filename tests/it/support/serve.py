"""moto on a free port of 127.0.0.1, whose state can be kept and come back to: the process forks, and the parent keeps it.

Commands are single bytes on standard input: `k` keeps the state, `b` goes back to what was kept. Each is answered by a
line, the first line of all being the port. It ends with its standard input: when the test that holds the other end is gone.
"""

import os
import select
import sys
import threading
import time

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

WENT_BACK = 3

app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
server.timeout = 0
# moto calls itself in some operations.
os.environ["MOTO_PORT"] = str(server.port)


def say(text):
    os.write(1, f"{text}\n".encode())


def next_command():
    """Serves until a command comes; empty at the end of the input."""
    while True:
        readable, _, _ = select.select([0, server], [], [])
        if 0 in readable:
            return os.read(0, 1)
        server.handle_request()


def keep():
    """Returns in a child, with the state of now, and again in a new one each time that a child goes back."""
    # A thread that answers a request holds locks that the child would never see released.
    while threading.active_count() > 1:
        time.sleep(0.01)
    while os.fork():
        _, status = os.wait()
        if os.waitstatus_to_exitcode(status) != WENT_BACK:
            sys.exit()
    say("as kept")


say(server.port)
while command := next_command():
    if command == b"k":
        keep()
    else:
        os._exit(WENT_BACK)
