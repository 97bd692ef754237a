"""Object stores for tests: ``python -m tests.object_store s3`` (or gs, az) prints its address.

It lives until its standard input ends, which is when whoever started it is gone.
"""

import base64
import hashlib
import hmac
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import urllib.request
import uuid
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

BUCKET = "results"
# That of everybody's Azurite.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
# Credentials of the requests. The S3 server checks them only if told to (check_credentials).
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "no-secret-at-all",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AZURE_STORAGE_KEY": KEY,
}


class ObjectStore:
    """An S3-compatible server of its own on a free port of the loopback interface."""

    scheme = "s3"

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, self.scheme],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.endpoint = self.process.stdout.readline().strip()
        self.make_bucket()

    def make_bucket(self):
        self._ask("PUT", f"/{BUCKET}")

    @property
    def query(self):
        """The options of an address on this server."""
        return f"endpoint_override={self.endpoint}"

    def new(self):
        """The address of results that are not there yet."""
        return f"{self.scheme}://{BUCKET}/of tests/{uuid.uuid4().hex}?{self.query}"

    def copy(self, url, to):
        """All objects below an address as files, by another client than the package's."""
        prefix = urlsplit(url).path.strip("/") + "/"
        for name in self.names(prefix):
            file = to / name.removeprefix(prefix)
            if not name.endswith("/"):  # Nor the empty objects that stand for folders.
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(self.content(name))
        return to

    def names(self, prefix):
        pages = self._client().get_paginator("list_objects_v2")
        pages = pages.paginate(Bucket=BUCKET, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def content(self, name):
        return self._client().get_object(Bucket=BUCKET, Key=name)["Body"].read()

    def check_credentials(self, check):
        """Refuse unknown credentials (all are), or accept any."""
        self._ask("POST", "/moto-api/reset-auth", b"0" if check else b"inf")

    def stop(self):
        self.process.kill()
        self.process.communicate()

    def _client(self):
        from botocore.session import Session

        return Session().create_client("s3", "us-east-1", endpoint_url=self.endpoint)

    def _ask(self, method, path, body=None, kind="text/plain"):
        # By default not a form, which the server would take apart.
        headers = {"Content-Type": kind}
        request = urllib.request.Request(self.endpoint + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return answer.read()


class GoogleStore(ObjectStore):
    """A server that is asked as Google Cloud Storage is."""

    scheme = "gs"

    def make_bucket(self):
        self._ask(
            "POST", "/storage/v1/b", json.dumps({"name": BUCKET}).encode(), "application/json"
        )

    def names(self, prefix):
        page = json.loads(self._ask("GET", f"/storage/v1/b/{BUCKET}/o?prefix={quote(prefix)}"))
        assert "nextPageToken" not in page
        return [each["name"] for each in page.get("items", [])]

    def content(self, name):
        return self._ask("GET", f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}?alt=media")

    def check_credentials(self, check):
        self._ask("GET", f"/refuse/{int(check)}")


class AzureStore(ObjectStore):
    """Azurite, Microsoft's own emulator of Azure Blob Storage: ``npm install --global azurite``."""

    scheme = "az"
    missing = shutil.which("azurite-blob") is None

    @property
    def query(self):
        return f"account={ACCOUNT}&{super().query}"

    def make_bucket(self):
        self._ask_signed("PUT", f"/{BUCKET}", restype="container")

    def names(self, prefix):
        page = ET.fromstring(
            self._ask_signed("GET", f"/{BUCKET}", restype="container", comp="list", prefix=prefix)
        )
        assert not page.findtext("NextMarker")
        return [each.text for each in page.iterfind("Blobs/Blob/Name")]

    def content(self, name):
        return self._ask_signed("GET", f"/{BUCKET}/{quote(name)}")

    def check_credentials(self, check):
        """Use another key than the one that Azurite knows."""
        from orchestrator.results.store import object_stores

        os.environ["AZURE_STORAGE_KEY"] = "AAAA" + KEY[4:] if check else KEY
        object_stores.connect.cache_clear()

    def stop(self):
        self.process.communicate()  # By the end of its input, so that it ends node.

    def _ask_signed(self, method, path, **query):
        return self._ask(method, f"/{ACCOUNT}{path}?{urlencode(query)}&{sas_token()}")


def sas_token():
    """A token for everything in the account of Azurite."""
    fields = {"sv": "2019-12-12", "ss": "b", "srt": "sco", "sp": "rwdlc", "se": "2099-01-01"}
    order = ("sp", "ss", "srt", "st", "se", "ip", "spr", "sv")
    signed = "\n".join([ACCOUNT, *(fields.get(name, "") for name in order), ""])
    digest = hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)
    return urlencode({**fields, "sig": base64.b64encode(digest).decode()})


def serve_s3():
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # Not each request.
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    print(f"http://127.0.0.1:{server.get_host_and_port()[1]}", flush=True)
    sys.stdin.read()
    server.stop()


def serve_gs():
    import threading
    from http.server import HTTPServer

    from gcp_storage_emulator.server import RequestHandler
    from gcp_storage_emulator.storage import Storage

    logging.disable()

    class Handler(RequestHandler):
        refuses = False

        def parse_request(self):
            parsed = super().parse_request()
            if parsed and self.path.startswith("/refuse/"):
                Handler.refuses = self.path == "/refuse/1"
                self.send_error(200)
            elif parsed and Handler.refuses:
                self.send_error(403)
            else:
                return parsed
            return False

    class Server(HTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), partial(Handler, Storage(use_memory_fs=True)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


def serve_az():
    # It does not know each version of the protocol that a client may speak.
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    azurite = subprocess.Popen(
        ["azurite-blob", "--blobPort", "0", "--silent", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    listens = (re.search(r"listens on (http://\S+)", line) for line in azurite.stdout)
    print(next(found[1] for found in listens if found), flush=True)
    sys.stdin.read()
    azurite.kill()
    azurite.wait()


if __name__ == "__main__":
    {"s3": serve_s3, "gs": serve_gs, "az": serve_az}[sys.argv[1]]()
