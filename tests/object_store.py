"""An S3-compatible server for tests: ``python -m tests.object_store`` prints its port.

It lives until its standard input ends, which is when whoever started it is gone.
"""

import logging
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import urlsplit

BUCKET = "results"
# What the server is asked with; it takes any, unless it is told to look closer.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "no-secret-at-all",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class ObjectStore:
    """A server of its own on a free port of the loopback interface."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.endpoint = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self._ask("PUT", f"/{BUCKET}")

    def new(self):
        """The address of results that are not there yet."""
        return f"s3://{BUCKET}/of tests/{uuid.uuid4().hex}?endpoint_override={self.endpoint}"

    def copy(self, url, to):
        """All objects below an address as files, by another client than the package's."""
        from botocore.session import Session

        client = Session().create_client("s3", "us-east-1", endpoint_url=self.endpoint)
        prefix = urlsplit(url).path.strip("/") + "/"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        for found in (each for page in pages for each in page.get("Contents", [])):
            file = to / found["Key"].removeprefix(prefix)
            if not found["Key"].endswith("/"):
                file.parent.mkdir(parents=True, exist_ok=True)
                body = client.get_object(Bucket=BUCKET, Key=found["Key"])["Body"]
                file.write_bytes(body.read())
        return to

    def look_at_credentials(self, look):
        """Refuse whom the server does not know (it knows nobody), or let everybody in."""
        self._ask("POST", "/moto-api/reset-auth", b"0" if look else b"inf")

    def stop(self):
        self.process.kill()
        self.process.communicate()

    def _ask(self, method, path, body=None):
        plain = {"Content-Type": "text/plain"}  # Not a form, which the server would take apart.
        request = urllib.request.Request(self.endpoint + path, body, plain, method=method)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return answer.read()


def serve():
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # Not each request.
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.read()
    server.stop()


if __name__ == "__main__":
    serve()
